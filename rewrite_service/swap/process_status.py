"""What each server process of a state folder serves, in a small file of its own that the admin service reads."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rewrite_service.admin.files import FOLDER, read_json, remove, write_json
from rewrite_service.errors import StoreError

_PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """`started`: of the process, in the kernel's ticks: with it a `pid` is never mistaken for an earlier process's.
    `version`, `path`, `since_ms`: the bundle served. `order`: id of the last order that was seen to. `refused_...`: the
    last bundle that could not be taken."""

    pid: int
    started: int
    version: str
    path: str
    since_ms: int
    order: str = ""
    loading_version: str = ""
    refused_version: str = ""
    refused_because: str = ""


def _started(pid: int) -> int | None:
    """When the process began, in ticks since the machine did; None where there is none that runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class StatusFile:
    """The file of this process."""

    def __init__(self, state_dir: Path, version: str, path: Path, since_ms: int) -> None:
        """Raises StoreError."""
        pid = os.getpid()
        self._path = state_dir / FOLDER / _PROCESSES / f"{pid}.json"
        self.status = ProcessStatus(pid, _started(pid) or 0, version, str(path), since_ms)
        self.tell()

    def tell(self, **changes: Any) -> None:
        """Raises StoreError."""
        self.status = replace(self.status, **changes)
        write_json(self._path, asdict(self.status))

    def remove(self) -> None:
        """Raises StoreError."""
        remove(self._path)


def processes(state_dir: Path) -> list[ProcessStatus]:
    """Of every process that runs, in order of their start. What those left behind that do not run is removed. Raises
    StoreError."""
    found = []
    for path in (state_dir / FOLDER / _PROCESSES).glob("*.json"):
        record = read_json(path)
        if record is None:
            continue
        try:
            status = ProcessStatus(**record)
        except TypeError as error:
            raise StoreError(f"{path}: says nothing of a server process; remove it") from error
        if _started(status.pid) == status.started:
            found.append(status)
        else:
            remove(path)
    return sorted(found, key=lambda status: (status.started, status.pid))
