"""Workers that start together wait for each other, and for nobody in vain."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable

from rewrite_service.muster import Muster

LONG_S = 60.0


def muster(workers: int) -> Muster:
    return Muster(multiprocessing.get_context("spawn"), workers)


async def joining(place: Muster, number: int, most_s: float = LONG_S, stop: Callable[[], bool] = lambda: False):
    task = asyncio.create_task(place.join(number, most_s, stop))
    await asyncio.sleep(0)
    return task


def test_each_waits_until_the_last_is_there() -> None:
    async def test() -> None:
        place = muster(3)
        first, second = await joining(place, 0), await joining(place, 1)
        await asyncio.sleep(0.1)
        assert not first.done() and not second.done()
        await asyncio.wait_for(asyncio.gather(first, second, place.join(2, LONG_S, lambda: False)), LONG_S / 2)
        again = await joining(place, 1)
        assert again.done(), "who comes in another's place waits for nobody"

    asyncio.run(test())


def test_one_that_does_not_come_is_not_waited_for_long_nor_by_who_is_to_end() -> None:
    async def test() -> None:
        place = muster(2)
        await asyncio.wait_for(place.join(0, 0.05, lambda: False), LONG_S)
        ended = await joining(place, 0, stop=lambda: True)
        assert ended.done()

    asyncio.run(test())
