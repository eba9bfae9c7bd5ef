"""Workers that start together begin to listen together.

Connections stay where they were dealt to. If the first worker to be ready listened alone, it would get the connections
of all clients that wait for the server, and keep them, while the others stood idle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewrite_service.console.inside import Inside

_LOOK_S = 0.02


class Muster:
    """Where workers tell each other that they are ready. Shared by the processes that it is handed to as they start.
    Who is started anew finds that all the others have been there, and waits for nobody."""

    def __init__(self, context: BaseContext, workers: int) -> None:
        self._ready = context.RawArray("b", workers)

    async def join(self, number: int, most_s: float, told_to_stop: Callable[[], bool]) -> None:
        """Says that worker `number` is ready; returns once all others have been, `most_s` seconds are over (one that
        cannot start keeps nobody from serving), or `told_to_stop`."""
        self._ready[number] = 1
        end = time.monotonic() + most_s
        while not all(self._ready) and time.monotonic() < end and not told_to_stop():
            await asyncio.sleep(_LOOK_S)


@dataclass(frozen=True)
class OneOfSeveral:
    """What a worker has from its supervisor, which tells their metrics and has the console. `cells`: where to count.
    `muster`, `number`: where it says that it is ready, and as which. `inside`: where the console asks this worker."""

    cells: memoryview[float]
    muster: Muster
    number: int
    inside: Inside | None
