"""Keeps a running server at the bundle that is wanted: the one in its place for bundles, or the one that was ordered.

A thread of its own looks from time to time at two small files. Another bundle is first tried out in another process,
then made ready here in small pieces with pauses, and takes its place between two requests: each request runs from
beginning to end on one pipeline, which holds one bundle. What was served before is freed. A bundle that cannot be
used is refused, and the one before goes on.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from rewrite_service.admin.files import Stamp, stamp
from rewrite_service.bundle import MANIFEST, read_manifest, version_of
from rewrite_service.errors import BundleError, StoreError
from rewrite_service.kept_bundles import kept_folder, kept_versions
from rewrite_service.logs import error_fields
from rewrite_service.settings import Settings
from rewrite_service.swap.order import order_stamp, read_order, wanted
from rewrite_service.swap.process_status import StatusFile
from rewrite_service.swap.trial import has_served, try_out

if TYPE_CHECKING:
    from rewrite_service.pipeline import Pipeline

_LOOK_S = 0.1
"""Between looks at the order, in seconds."""
_LEAST_PAUSE_S = 0.002
_FREED_S = 5.0

Take = Callable[["Pipeline"], None]


class Swapper:
    """`place`: the server's place for bundles (`--bundle`)."""

    def __init__(self, place: Path, settings: Settings) -> None:
        self._place, self._settings = place.absolute(), settings
        self._log = structlog.get_logger().bind()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: tuple[Stamp | None, Stamp | None] = None, None
        self._look_at_place_from = 0.0

    def open(self) -> Pipeline:
        """The pipeline to begin with: of the bundle that is wanted, or where that cannot be used, of the one in its
        place, or of the newest that is kept. A process that is started anew beside a bundle that the others refused
        serves what they serve. Raises BundleError where none can be used, StoreError."""
        from rewrite_service.opening import open_pipeline

        state_dir = self._settings.state_dir
        self._seen = self._stamps()
        order = read_order(state_dir)
        choice = [wanted(self._place, version_of(self._place), order), self._place]
        choice += [kept_folder(self._place) / version for version in reversed(kept_versions(self._place))]
        refused: BundleError | None = None
        for path in dict.fromkeys(choice):
            try:
                pipeline = open_pipeline(path, self._settings)
                break
            except BundleError as error:
                refused = refused or error
                self._log.error("bundle refused", path=str(path), message=str(error))
        else:
            assert refused is not None
            raise refused
        has_served(path, state_dir)
        self._current = pipeline
        self._status = StatusFile(state_dir, pipeline.bundle_version, path, _now_ms())
        self._status.tell(order=order.id if order else "", refused_because=str(refused or ""))
        return pipeline

    def start(self, take: Take) -> None:
        """Begins to look. `take`: puts a pipeline to work, called on the event loop's thread, which is this one."""
        loop = asyncio.get_running_loop()

        def put_to_work(pipeline: Pipeline) -> None:
            done = threading.Event()

            def put() -> None:
                take(pipeline)
                done.set()

            loop.call_soon_threadsafe(put)
            done.wait()

        self._thread = threading.Thread(target=self._watch, args=(put_to_work,), name="bundle", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Ends the looking; False where that took longer than `timeout_s`."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._status.remove()
        return True

    def _watch(self, put_to_work: Take) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self._look(put_to_work)
            except Exception as error:  # whatever it is, the bundle that serves goes on
                self._log.error("looking for a bundle failed", **error_fields(error, self._settings.log_texts))

    def _stamps(self) -> tuple[Stamp | None, Stamp | None]:
        """Of the order and of the bundle in its place, which is looked at less often, or never."""
        of_place = self._seen[1]
        now, every = time.monotonic(), self._settings.bundle_watch_s
        if every and now >= self._look_at_place_from:
            self._look_at_place_from = now + every
            of_place = stamp(self._place / MANIFEST) or of_place  # a moment without any is no news
        return order_stamp(self._settings.state_dir), of_place

    def _look(self, put_to_work: Take) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        order = read_order(self._settings.state_dir)
        path = wanted(self._place, version_of(self._place), order)
        version = ""
        try:
            version = str(read_manifest(path).get("version"))
            if version != self._current.bundle_version:
                self._swap(path, version, put_to_work)
        except Exception as error:
            # These two speak of files; what anything else says may hold what somebody said.
            why = str(error) if isinstance(error, BundleError | StoreError) else type(error).__name__
            if not self._stop.is_set():
                self._log.error("bundle refused", path=str(path), version=version, message=why)
            self._status.tell(loading_version="", refused_version=version, refused_because=why)
        finally:
            if order is not None:
                self._status.tell(order=order.id)

    def _swap(self, path: Path, version: str, put_to_work: Take) -> None:
        begun, memory = time.monotonic(), _resident_bytes()
        self._log.info("making a bundle ready", path=str(path), version=version)
        self._status.tell(loading_version=version)
        try_out(path, self._settings.state_dir, self._stop.is_set)
        tried = time.monotonic()
        pipeline = self._ready(path, version)
        before, self._current = self._current, pipeline
        put_to_work(pipeline)
        self._status.tell(version=version, path=str(path), since_ms=_now_ms(), loading_version="")
        taken = time.monotonic()
        before.retire()
        gone = weakref.ref(before)
        was = before.bundle_version
        del before, pipeline
        freed = self._wait_for(lambda: gone() is None)
        ctypes.CDLL(None).malloc_trim(0)
        self._log.info(
            "bundle swapped",
            version=version,
            before=was,
            trial_s=round(tried - begun, 3),
            ready_s=round(taken - tried, 3),
            freed=freed,
            memory_before=memory,
            memory_after=_resident_bytes(),
        )

    def _ready(self, path: Path, version: str) -> Pipeline:
        """The pipeline for the bundle, made in pieces: after each this thread sleeps for as long as it worked, so that
        requests wait for it seldom and never long."""
        from rewrite_service.opening import open_pipeline

        worked_since = time.monotonic()

        def pause() -> None:
            nonlocal worked_since
            if self._stop.wait(max(_LEAST_PAUSE_S, time.monotonic() - worked_since)):
                raise BundleError(f"{path}: the server is stopping")
            worked_since = time.monotonic()

        pipeline = open_pipeline(path, self._settings, self._current, pause)
        if pipeline.bundle_version != version:
            pipeline.retire()
            raise BundleError(f"{path}: another bundle took its place meanwhile")
        return pipeline

    def _wait_for(self, reached: Callable[[], bool]) -> bool:
        end = time.monotonic() + _FREED_S
        while not reached() and time.monotonic() < end:
            time.sleep(0.01)
        return reached()


def _resident_bytes() -> int:
    """Of this process, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _now_ms() -> int:
    return int(time.time() * 1000)
