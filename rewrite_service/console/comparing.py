"""Another bundle beside the one that is served, asked the same request: in a process of its own, which ends when nobody
has asked it anything for a while.

A native reader may crash on a bundle that is broken, and a bundle takes memory: neither is the servers' affair, nor the
console's. The process reads the same store, follows the same rules and bounds, and writes nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import orjson

from mining.child_process import end_with
from rewrite_service.console.guard import Refused
from rewrite_service.kept_bundles import kept_folder, kept_versions
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.settings import Settings

IDLE_S = 300.0
"""After so long without a question the process ends, and gives its memory back."""
_OPEN_S, _ANSWER_S = 120.0, 10.0
_MANIFEST = "manifest.json"
_MAX_PATH_CHARS = 4096
_OPEN, _ANSWER, _ERROR = b"O", b"A", b"E"


def bundles_at(place: Path) -> list[dict[str, str]]:
    """The bundles that can be compared with: the one in the server's place and those kept, the newest first."""
    found = [{"version": version, "path": str(kept_folder(place) / version)} for version in kept_versions(place)]
    try:
        version = orjson.loads((place / _MANIFEST).read_bytes())["version"]
    except (OSError, ValueError, KeyError):
        version = None  # it cannot be read; the log of whoever serves it says why
    if isinstance(version, str):
        found.append({"version": version, "path": str(place)})
    return found[::-1]


def bundle_path(place: Path, named: Any, any_folder: bool) -> Path:
    """The folder of the bundle that is named: by version, or where `any_folder`, by an absolute path. Raises
    `Refused`."""
    if not isinstance(named, str) or not 0 < len(named) <= _MAX_PATH_CHARS or "\x00" in named:
        raise Refused(400, "name a bundle to compare with: a version, or a folder on the server's machine")
    for known in bundles_at(place):
        if named == known["version"]:
            return Path(known["path"])
    if not named.startswith("/"):
        raise Refused(404, "no bundle of that version stands in the server's place or is kept beside it")
    if not any_folder:
        raise Refused(403, "the token may not open other folders; it needs the scope 'admin'")
    return Path(named)


class OtherBundle:
    """One bundle at a time. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        # What everybody's experience says is read anew with each question; caches need not be large.
        small = {"experience_every_s": 0.0, "user_cache_bytes": 16 << 20, "decision_cache_bytes": 0}
        self._settings = settings.model_copy(update=small | {"text_vector_cache_bytes": 4 << 20})
        self._lock = asyncio.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._path: Path | None = None

    async def explain(self, path: Path, message: pb.ExplainRequest) -> pb.ExplainResponse:
        """What the bundle in folder `path` makes of it. `message`: checked, its user's id the inner one. Raises
        `Refused` where the bundle cannot be used."""
        async with self._lock:
            if self._process is None or not self._process.is_alive() or self._path != path:
                await self._open(path)
            try:
                return pb.ExplainResponse.FromString(await self._ask(_ANSWER, message.SerializeToString(), _ANSWER_S))
            except EOFError:  # it had just grown tired of waiting
                await self._open(path)
                return pb.ExplainResponse.FromString(await self._ask(_ANSWER, message.SerializeToString(), _ANSWER_S))

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    async def _open(self, path: Path) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._path = path
        self._process = context.Process(target=_answer, args=(path, self._settings, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        try:
            await self._ask(_OPEN, b"", _OPEN_S)
        except EOFError:
            self.close()
            raise Refused(409, f"{path}: whoever opens it crashes; build the bundle anew") from None

    async def _ask(self, kind: bytes, message: bytes, seconds: float) -> bytes:
        """The answer. Raises EOFError where the process has ended, `Refused` with its words."""
        pipe = self._pipe
        assert pipe is not None

        def exchange() -> bytes:
            if kind == _ANSWER:
                pipe.send_bytes(message)
            if not pipe.poll(seconds):
                raise TimeoutError
            return pipe.recv_bytes()

        try:
            got = await asyncio.to_thread(exchange)
        except TimeoutError:
            self.close()
            raise Refused(504, f"the other bundle was not ready within {seconds:.0f} s; try again") from None
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError from None
        if got[:1] == _ERROR:
            self.close()
            raise Refused(409, got[1:].decode())
        return got[1:]


def _answer(path: Path, settings: Settings, pipe: Connection, parent: int) -> None:
    """The process: opens the bundle, then answers until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    os.nice(19)
    if not end_with(parent):
        return

    from rewrite_service import converters
    from rewrite_service.bundle import check_whole
    from rewrite_service.errors import RewriteError
    from rewrite_service.logs import configure_logging
    from rewrite_service.opening import open_pipeline
    from rewrite_service.swap.trial import be_humble

    configure_logging(settings)
    limits = converters.Limits(query_chars=settings.max_query_chars)
    try:
        be_humble(path)
        check_whole(path)
        pipeline = open_pipeline(path, settings)
    except RewriteError as error:  # of files, never of what anybody said
        pipe.send_bytes(_ERROR + str(error).encode())
        return
    pipe.send_bytes(_OPEN)
    while pipe.poll(IDLE_S):
        try:
            message = pb.ExplainRequest.FromString(pipe.recv_bytes())
        except EOFError:
            break
        try:
            request = converters.to_request(message.request, limits, "request.")
            earlier = converters.to_earlier(message, limits)
            pipeline.experience.refresh()
            decision = pipeline.rewrite(request, explain=True, earlier=earlier)
            pipe.send_bytes(_ANSWER + converters.from_explained(decision).SerializeToString())
        except RewriteError as error:
            pipe.send_bytes(_ERROR + str(error).encode())
            return
    pipeline.close()
