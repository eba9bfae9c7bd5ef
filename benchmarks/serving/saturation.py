"""How many answers a second a server gives when it never has to wait for a request: a closed loop.

For servers that keep no budget at any rate; `query-rewrite loadtest` says what a server bears within one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import uvloop

from benchmarks.serving.servers import METHOD, cpu_seconds
from retriever.interaction import Request
from rewrite_service.loadtest import Mix, as_sent, pick

IN_FLIGHT = 4
WARM_UP_S = 2.0
_DIFFERENT = 20_000


@dataclass(frozen=True, slots=True)
class Saturation:
    """`rate`: answers a second. `cpu_ms`: the server's CPU time an answer, which other work on the machine spares."""

    rate: float
    cpu_ms: float


def saturated(
    address: str, pid: int, requests: Sequence[Request], mix: Mix, seconds: float, seed: int = 1
) -> Saturation:
    """Over `seconds`, after a warm-up. `pid`: of the server. `requests`, `mix`: what is asked, as in a load test.
    Raises `grpc.aio.AioRpcError` where one fails."""
    rng = random.Random(seed)
    messages = as_sent(pick(requests, _DIFFERENT, rng), [0.0] * _DIFFERENT, mix, int(time.time() * 1000), rng)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask(address, pid, messages, seconds))


async def _ask(address: str, pid: int, messages: Sequence[bytes], seconds: float) -> Saturation:
    waiting = itertools.cycle(messages)
    answered = 0

    async def keep_asking(end: float) -> None:
        nonlocal answered
        while time.monotonic() < end:
            await call(next(waiting), timeout=30)
            answered += 1

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        for length in (WARM_UP_S, seconds):
            answered, began, cpu = 0, time.monotonic(), cpu_seconds(pid)
            await asyncio.gather(*(keep_asking(began + length) for _ in range(IN_FLIGHT)))
        took = time.monotonic() - began
        return Saturation(round(answered / took, 1), round(1000 * (cpu_seconds(pid) - cpu) / answered, 2))
