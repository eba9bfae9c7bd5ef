"""The embedded store's files as files: what rows they hold, and writing them anew without what was removed.

LMDB keeps the bytes of a row that was removed until it needs their page for another, and a key for longer, where its
tree is divided by it. `mdb_copy -c` would copy such keys along; compaction here puts the live rows one by one into new
files, and so leaves nothing else behind. It needs the store to itself, since a process that has the old file open would
go on writing to it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb

from rewrite_service.errors import StoreError
from rewrite_service.exchange import sync
from rewrite_service.store.embedded_layout import DATABASES

_ROWS = 10_000
"""Written at a time."""
_DRAFT = ".compact-"
DATA, LOCK = "data.mdb", "lock.mdb"


@dataclass(frozen=True, slots=True)
class Compaction:
    """Bytes of the data file before and after."""

    before: int
    after: int


def has_store(path: Path) -> bool:
    """Whether an embedded store lies in the folder."""
    return (path / DATA).is_file()


def live_rows(path: Path, *, lock: bool = True) -> Iterator[tuple[str, bytes, bytes]]:
    """Database, key and row of all that the store in `path` holds, as of one moment; others may have it open, unless
    `lock` is False. Raises StoreError."""
    try:
        with (
            lmdb.open(str(path), readonly=True, max_dbs=len(DATABASES), create=False, lock=lock) as files,
            files.begin() as transaction,
        ):
            for name in DATABASES:
                try:
                    database = files.open_db(name.encode(), transaction, create=False)
                except lmdb.NotFoundError:  # an older layout
                    continue
                yield from ((name, key, row) for key, row in transaction.cursor(db=database))
    except (lmdb.Error, OSError) as error:
        raise StoreError(f"cannot read the store in {path}: {error}") from error


def compact(path: Path) -> Compaction:
    """Writes the store in `path` anew with its live rows alone. Killed at any moment, it leaves the old files or the
    new. Raises StoreError, also where another process has the store open."""
    if not has_store(path):
        raise StoreError(f"{path}: no store there")
    data = path / DATA
    before = data.stat().st_size
    with _alone(path):
        for left in path.glob(f"{_DRAFT}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=path))
        try:
            _copy(path, draft)
            made = draft / DATA
            made.chmod(0o600)
            sync(made)
            os.replace(made, data)
            sync(path)
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"cannot compact the store in {path}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Compaction(before, data.stat().st_size)


def _copy(path: Path, draft: Path) -> None:
    size = (path / DATA).stat().st_size
    rows = live_rows(path, lock=False)
    with lmdb.open(str(draft), map_size=2 * size + (1 << 20), max_dbs=len(DATABASES), lock=False, sync=False) as files:
        made = {name: files.open_db(name.encode()) for name in DATABASES}
        while batch := list(islice(rows, _ROWS)):
            with files.begin(write=True) as transaction:
                for name, key, row in batch:
                    transaction.put(key, row, append=True, db=made[name])
        files.sync(True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock that LMDB takes, shared, for as long as a process has the store open: who opens it now waits."""
    with (path / LOCK).open("ab") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            raise StoreError(f"{path}: in use; stop the servers that have this state folder, and try again") from None
        yield
