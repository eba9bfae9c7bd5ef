"""Users' revisions that are known to be current without reading anything: as of the store's latest transaction.

A store numbers its transactions. While its latest is the one that a revision was read in, or only others of this
process have come since, which say whose rows they changed, the revision still holds. After a transaction of somebody
else nothing is known any more: it may have changed anybody's.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

MOST_USERS = 8192
"""About 1 MB."""


class KnownRevisions:
    """Of one store, in one process. Thread-safe; told of transactions in any order. Numbers of transactions grow by
    one, whoever writes."""

    def __init__(self, most: int = MOST_USERS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._latest = -1
        self._revisions: dict[str, int] = {}

    def read(self, transaction: int, user_id: str, revision: int) -> None:
        """The user's revision, as seen when `transaction` was the latest."""
        with self._lock:
            if transaction > self._latest:  # there has been one that was not told of, or not yet
                self._revisions.clear()
                self._latest = transaction
            if transaction == self._latest:
                if len(self._revisions) >= self._most:
                    self._revisions.clear()
                self._revisions[user_id] = revision

    def wrote(self, transaction: int, users: Collection[str]) -> None:
        """This process has committed `transaction`, which changed nothing but of these users."""
        with self._lock:
            if transaction > self._latest + 1:
                self._revisions.clear()
            self._latest = max(self._latest, transaction)
            for user_id in users:
                self._revisions.pop(user_id, None)

    def of(self, user_id: str, latest: int) -> int | None:
        """The user's revision if it is known as of `latest`, the store's latest transaction; else None."""
        with self._lock:
            if latest == self._latest:
                return self._revisions.get(user_id)
            if latest > self._latest:
                self._revisions.clear()  # they will not be known again, and ids are not kept for nothing
            return None
