"""Runs synchronous work beside the event loop, one piece at a time, and answers in time even where it is late.

Why a thread and not the loop itself: the loop goes on answering health checks and shedding load, and a reply is on
time even when the work is not. Why one and not more: the work is bound to the processor, and one core is what it has.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rewrite_service.backlog import Backlog

T = TypeVar("T")


class Worker:
    """One thread with a queue, in order of arrival. `run` belongs to one event loop's thread. `backlog`: what waits,
    and for how long."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any], bool] | None] = queue.SimpleQueue()
        self.backlog = Backlog()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(
        self, work: Callable[[], T], *, deadline: float | None = None, late: Callable[[], T] | None = None
    ) -> T:
        """What `work` returns or raises.

        `deadline`: `time.monotonic()` seconds after which `late()` is the answer instead; work not yet begun by then,
        or whose caller is gone, is not done at all.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.backlog.join(future)
        self._jobs.put((future, work, deadline is not None))
        timer = None
        if deadline is not None and late is not None:
            timer = loop.call_later(max(0.0, deadline - time.monotonic()), _answer_late, future, late)
        try:
            return await future
        finally:
            self.backlog.leave(future)
            if timer is not None:
                timer.cancel()

    def close(self, timeout_s: float) -> bool:
        """Lets the thread end once what is queued is done; False where that took longer than `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work, has_deadline = job
            if future.done():
                continue
            self.backlog.begin(future)
            try:
                result, error = work(), None
            except Exception as raised:  # handed to whoever waits for it
                result, error = None, raised
            self.backlog.done(counts=has_deadline)  # loading a bundle says nothing of what a request takes
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed, so nobody waits any more
                return
            del job, future, work, result, error  # a turn's texts do not outlive it while the queue is empty


def _settle(future: asyncio.Future[T], result: T, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _answer_late(future: asyncio.Future[T], late: Callable[[], T]) -> None:
    if not future.done():
        future.set_result(late())
