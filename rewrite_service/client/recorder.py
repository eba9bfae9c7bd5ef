"""Recording in the background: what came of turns is taken at once and sent by and by, in order, from a thread.

What waits is bounded in bytes. Nothing is kept over a crash of the client; whoever needs that calls `Client.record`,
which returns once all is durable.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from retriever.interaction import Interaction
from rewrite_service.client.core import TOO_LARGE
from rewrite_service.client.messages import from_interaction, from_turn_feedback
from rewrite_service.client.sync import Client
from rewrite_service.client.values import ClientError, Item

_log = logging.getLogger("rewrite_service.client")
_BATCH = 200
_AGAIN = frozenset({"unavailable", "deadline_exceeded", "resource_exhausted"})


@dataclass(frozen=True, slots=True)
class RecorderFigures:
    """Items since the start. `dropped`: the oldest, for want of room, or left at the end. `refused`: by the server, as
    bad or not allowed."""

    waiting: int
    recorded: int
    dropped: int
    refused: int


class Recorder:
    """Hands items to `client` in the background, at the latest `every_s` seconds after they came. Thread-safe.

    `most_bytes`: of what waits, as encoded; beyond, the oldest are dropped. Close it, or use it in a `with`, so that
    the last are sent.

        with Recorder(client) as recorder:
            recorder.add(answer.turn(Outcome.OK))
    """

    def __init__(self, client: Client, every_s: float = 0.5, most_bytes: int = 8 * 1024 * 1024) -> None:
        self._client, self._every_s, self._most_bytes = client, every_s, most_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._sending = 0
        self._recorded = self._dropped = self._refused = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="rewrite-recorder", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, items: Iterable[Item]) -> None:
        """Takes items; never waits, and raises only for what is no item."""
        sized = [(item, _size(item)) for item in items]
        with self._changed:
            for item, size in sized:
                if self._closing:
                    self._dropped += 1
                    continue
                self._items.append((item, size))
                self._bytes += size
            while self._bytes > self._most_bytes:
                self._bytes -= self._items.popleft()[1]
                self._dropped += 1
            if len(self._items) >= _BATCH:
                self._changed.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Waits until all that was added is recorded, refused or dropped; False where that took longer."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._items or self._sending:
                self._changed.notify_all()
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.05))
        return True

    def close(self, timeout_s: float = 5.0) -> RecorderFigures:
        """Sends what waits, for at most so long; what then still waits counts as dropped."""
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._dropped += len(self._items)
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return self.figures()

    def figures(self) -> RecorderFigures:
        with self._changed:
            return RecorderFigures(len(self._items) + self._sending, self._recorded, self._dropped, self._refused)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._closing and len(self._items) < _BATCH:
                    self._changed.wait(self._every_s)
                if self._closing:
                    return
                taken = [self._items.popleft() for _ in range(min(_BATCH, len(self._items)))]
                self._bytes -= sum(size for _, size in taken)
                self._sending = len(taken)
            sent = self._send([item for item, _ in taken]) if taken else True
            with self._changed:
                self._sending = 0
                if not sent and self._closing:
                    self._dropped += len(taken)
                elif not sent:
                    self._items.extendleft(reversed(taken))
                    self._bytes += sum(size for _, size in taken)
                self._changed.notify_all()

    def _send(self, items: list[Item]) -> bool:
        """False where nobody took them, and they should wait. A message is refused as a whole, so one that is refused
        is sent in halves, until what is bad is alone."""
        try:
            self._client.record(items)
        except ClientError as error:
            if error.code in _AGAIN:
                return False
            if error.code in ("invalid_argument", TOO_LARGE) and len(items) > 1:
                half = len(items) // 2
                return all([self._send(items[:half]), self._send(items[half:])])
            _log.error("%d items were not recorded: %s", len(items), error.code)
            with self._changed:
                self._refused += len(items)
            return True
        with self._changed:
            self._recorded += len(items)
        return True


def _size(item: Item) -> int:
    part = from_interaction(item) if isinstance(item, Interaction) else from_turn_feedback(item)
    return part.ByteSize()
