"""Small files in the state folder by which an operator's word reaches every server process of that folder.

Each is written beside its place and renamed into it, so that a reader finds all of it or what was there before, and is
durable on return. Who changes one holds the folder's lock meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from rewrite_service.errors import StoreError
from rewrite_service.exchange import sync

FOLDER = "admin"
"""Within the state folder."""

Stamp = tuple[int, int, int]


def stamp(path: Path | str) -> Stamp | None:
    """Changes whenever the file at `path` is replaced; None where there is none. Microseconds."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_json(path: Path, value: Any) -> None:
    """Puts `value` at `path`, readable by its owner only. Raises StoreError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            os.rename(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
        sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """What is at `path`; None where nothing is. Raises StoreError."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; mend it, or remove it") from error


def remove(path: Path) -> None:
    """Removes what is at `path`, durably. Raises StoreError."""
    try:
        path.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be removed: {error.strerror}") from error


@contextmanager
def locked(folder: Path, name: str = "lock", *, wait: bool = True) -> Iterator[None]:
    """For one process at a time; given back by the system if the process dies. `wait`: else raises BlockingIOError
    where another has it. Raises StoreError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{folder / name}: cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)
