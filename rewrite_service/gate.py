"""Counts what is under way, and refuses what would be too much: a bound on memory, whatever the requests are like.

How long a request would wait is another question, see `rewrite_service.backlog`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from rewrite_service.errors import Overloaded


class Gate:
    """Counts what is under way: `with gate:` around each request. Belongs to one event loop's thread.

    `most`: requests under way at the same time, at least 1. Entering raises `Overloaded` beyond that.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def inside(self) -> int:
        return self._inside

    def __enter__(self) -> None:
        if self._inside >= self._most:
            raise Overloaded(f"{self._most} requests are under way; go on without, or try again later")
        self._inside += 1
        self._empty.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def empty(self) -> None:
        """Returns once nothing is under way."""
        await self._empty.wait()
