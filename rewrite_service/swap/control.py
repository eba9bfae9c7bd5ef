"""An operator's hand on the bundles of a server: status, swap, roll back.

Blocking. Everything goes through files of the state folder, so that it reaches all server processes that share it,
whichever is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rewrite_service.admin.files import FOLDER, locked
from rewrite_service.bundle import check_whole, version_of
from rewrite_service.errors import BundleError, NotDone, NotFound, StillUnderWay
from rewrite_service.kept_bundles import kept_bundle, kept_versions
from rewrite_service.swap.order import Order, give_order, new_order
from rewrite_service.swap.process_status import ProcessStatus, processes

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class BundlesStatus:
    """`processes`: of the state folder. `standing`: the version in the server's place for bundles, None: none that can
    be read. `kept`: versions beside it, the oldest first."""

    processes: list[ProcessStatus]
    standing: str | None
    kept: list[str]


@dataclass(frozen=True, slots=True)
class Swapped:
    """The versions served now and before."""

    version: str
    before: str


class BundleControl:
    """`place`: the server's place for bundles. Deadlines are `time.monotonic()` seconds."""

    def __init__(self, place: Path, state_dir: Path) -> None:
        self._place, self._state_dir = place.absolute(), state_dir

    def status(self) -> BundlesStatus:
        """Raises StoreError."""
        return BundlesStatus(processes(self._state_dir), version_of(self._place), kept_versions(self._place))

    def swap(self, path: Path | None, version: str | None, deadline: float) -> Swapped:
        """Has all processes serve the bundle in the folder `path`, or the one of that `version`, or where neither is
        given the one in the server's place. Raises NotFound, NotDone where one of them refuses it (all then go on with
        the one before), StillUnderWay at the deadline, StoreError."""
        with self._alone():
            return self._order(path or self._folder_of(version), deadline)

    def roll_back(self, from_version: str | None, deadline: float) -> Swapped:
        """Has all processes serve the newest bundle at hand that is older than the one served. `from_version`: the one
        that must be served now. Raises as `swap`."""
        with self._alone():
            served = self._served().version
            if from_version is not None and from_version != served:
                raise NotDone(f"{served} is served, not {from_version}; nothing was done")
            standing = version_of(self._place)
            older = [v for v in {*kept_versions(self._place), *([standing] if standing else [])} if v < served]
            if not older:
                raise NotFound(f"no bundle older than {served} is kept; build with --keep to have one")
            return self._order(self._folder_of(max(older)), deadline)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with locked(self._state_dir / FOLDER, "swap.lock", wait=False):
                yield
        except BlockingIOError:
            raise NotDone("another swap is under way; see the status, and try again when it is done") from None

    def _folder_of(self, version: str | None) -> Path:
        if version is None or version == version_of(self._place):
            return self._place
        kept = kept_bundle(self._place, version)
        if kept is None:
            raise NotFound(f"no bundle {version} stands in {self._place} or is kept beside it")
        return kept

    def _served(self) -> ProcessStatus:
        """Of the process that took its bundle last: what all serve, unless a swap is under way."""
        found = processes(self._state_dir)
        if not found:
            raise NotDone("no server process serves yet; try again in a moment")
        return max(found, key=lambda status: status.since_ms)

    def _order(self, path: Path, deadline: float) -> Swapped:
        before = self._served()
        try:
            version = check_whole(path)
        except BundleError as error:
            raise NotDone(str(error)) from error
        standing = version_of(self._place)
        order = new_order(path, version, standing)
        give_order(self._state_dir, order)
        refused = self._await(order, deadline)
        if refused is not None:
            give_order(self._state_dir, new_order(Path(before.path), before.version, standing))
            raise NotDone(refused.refused_because or f"process {refused.pid} serves {refused.version}")
        return Swapped(version, before.version)

    def _await(self, order: Order, deadline: float) -> ProcessStatus | None:
        """Returns once every process has seen to the order: one that does not serve what was ordered, if any."""
        while True:
            found = processes(self._state_dir)
            if all(status.order == order.id for status in found):
                return next((status for status in found if status.version != order.version), None)
            if time.monotonic() > deadline:
                waiting = sum(status.order != order.id for status in found)
                raise StillUnderWay(f"{waiting} of {len(found)} processes make {order.version} ready still; they go on")
            time.sleep(_POLL_S)
