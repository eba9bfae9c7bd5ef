"""An LMDB environment whose memory map grows by itself, in this process and in others that hold the same files.

LMDB maps a fixed size and refuses to write beyond it; changing the size needs a moment without transactions in the
process. Here reads and writes pass a gate that such a change closes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import lmdb

from rewrite_service.errors import StoreError

T = TypeVar("T")

_MAX_ATTEMPTS = 40  # each doubles the map or takes over another's; far beyond any disk


def _open(path: Path, databases: int, map_bytes: int) -> lmdb.Environment:
    attempt = partial(
        lmdb.open, str(path), map_size=map_bytes, max_dbs=databases, mode=0o600, max_spare_txns=4, readahead=False
    )
    for _ in range(_MAX_ATTEMPTS - 1):
        # Another process may grow it between the look at its size and the first transaction.
        with suppress(lmdb.MapResizedError):
            return attempt()
    return attempt()


class GrowingMap:
    """The LMDB files in folder `path`, opened for reading and writing by any number of processes.

    `map_bytes`: size of the map to begin with; it doubles as needed, and only address space is taken in advance.
    A commit is on disk before it returns. `on_commit`: called with the number of each transaction that this process has
    committed, and with whose rows it was said to change.
    """

    def __init__(
        self,
        path: Path,
        databases: tuple[str, ...],
        map_bytes: int,
        on_commit: Callable[[int, Collection[str]], None] = lambda number, users: None,
    ) -> None:
        self._on_commit = on_commit
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = _open(path, len(databases), map_bytes)
            self._env.reader_check()  # places left by processes that were killed
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"cannot open the store in {path}: {error}") from error
        self._gate = threading.Condition()
        self._inside = 0
        self._resizing = False
        self._closed = False
        self._databases = {name: self._open_database(name.encode()) for name in databases}

    def __getitem__(self, name: str) -> lmdb._Database:
        return self._databases[name]

    def read(self, work: Callable[[lmdb.Transaction], T]) -> T:
        """Runs `work` on one consistent state. Raises `StoreError`."""

        def attempt() -> T:
            with self._env.begin() as transaction:
                return work(transaction)

        return self._retry(attempt)

    def write(self, work: Callable[[lmdb.Transaction], T], users: Collection[str] = ()) -> T:
        """Runs `work` and commits it durably, all or nothing. `work` may run more than once. `users`: whose rows it may
        change. Raises `StoreError`."""

        def attempt() -> T:
            with self._env.begin(write=True) as transaction:
                number = transaction.id()
                result = work(transaction)
            if self._env.info()["last_txnid"] >= number:  # else it changed nothing, and left its number to the next
                self._on_commit(number, users)
            return result

        return self._retry(attempt)

    def latest(self) -> int | None:
        """The number of the latest transaction, of any process: of its two first pages, which are always in memory.
        None where that could not be told at once."""
        with self._gate:
            return None if self._resizing or self._closed else self._env.info()["last_txnid"]

    def close(self) -> None:
        """Waits for what is under way, then closes the files. Closing twice is fine."""
        with self._alone():
            if not self._closed:
                self._closed = True
                self._env.close()

    def _open_database(self, name: bytes) -> lmdb._Database:
        return self._retry(lambda: self._env.open_db(name))

    def _retry(self, attempt: Callable[[], T]) -> T:
        try:
            for _ in range(_MAX_ATTEMPTS):
                size = 0
                try:
                    with self._among_others():
                        size = self._env.info()["map_size"]
                        return attempt()
                except lmdb.MapFullError:
                    self._grow(beyond=size)
                except lmdb.MapResizedError:
                    self._take_over()
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"the store failed: {error}") from error
        raise StoreError("the store cannot grow any further")

    def _grow(self, beyond: int) -> None:
        with self._alone():
            if self._env.info()["map_size"] <= beyond:  # else another thread has grown it meanwhile
                self._env.set_mapsize(2 * beyond)

    def _take_over(self) -> None:
        with self._alone():
            self._env.set_mapsize(0)  # 0: the size another process has given it

    @contextmanager
    def _among_others(self) -> Iterator[None]:
        with self._gate:
            while self._resizing:
                self._gate.wait()
            if self._closed:
                raise StoreError("the store is closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._gate:
                self._inside -= 1
                if self._resizing and not self._inside:
                    self._gate.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._gate:
            while self._resizing:
                self._gate.wait()
            self._resizing = True
            while self._inside:
                self._gate.wait()
        try:
            yield
        finally:
            with self._gate:
                self._resizing = False
                self._gate.notify_all()
