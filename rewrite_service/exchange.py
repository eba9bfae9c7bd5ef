"""Puts a directory in its place in one step: what stood there is swapped out with Linux renameat2 and RENAME_EXCHANGE,
so that a reader finds the old one or the new one, never neither."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def exchange(a: Path, b: Path) -> None:
    """Each gets the other's name. Both must exist, on one file system. Raises OSError.

    Where the file system cannot do it in one step, three renames do it, and a kill between them leaves what was at `b`
    beside it under the name of `a` with the ending `.was`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), str(a), None, str(b))
    by_renaming(a, b)


def by_renaming(a: Path, b: Path) -> None:
    """`exchange` in three steps. Where a step fails, `b` is what it was."""
    aside = a.with_name(f"{a.name}.was")
    os.rename(b, aside)
    try:
        os.rename(a, b)
    except BaseException:  # Ctrl-C as well: what was there goes back
        os.rename(aside, b)
        raise
    os.rename(aside, a)


def _remove(old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)


def put_in_place(draft: Path, place: Path, old: Callable[[Path], None] = _remove) -> None:
    """Gives the directory `draft` the name `place`, durably; `old` then gets what stood there, under the name `draft`,
    to remove it or to put it elsewhere. Raises OSError."""
    if place.exists():
        exchange(draft, place)
        sync(place.parent)
        old(draft)
    else:
        os.rename(draft, place)
        sync(place.parent)


@contextmanager
def drafted_folder(place: Path) -> Iterator[Path]:
    """A folder to write to, which gets the name `place` at the end, in one step. Where the writing fails, or
    is stopped by Ctrl-C, nothing is left of it and what stood there stays."""
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.draft-", dir=place.parent))
    try:
        yield draft
        put_in_place(draft, place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def sync(path: Path) -> None:
    """Writes a file's bytes, or a directory's names, to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
