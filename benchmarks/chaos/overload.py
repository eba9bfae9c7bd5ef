"""Three times what a server bears: what it lets in is answered in time, the rest is refused at once, and a second
later all is well again. Meanwhile it goes on answering health checks.

The server has one core, the load another; open loop, latency from the appointed start. Every text is misspelt anew, so
that nothing is remembered. Clients give no deadline, so that the server's own holds (`default_deadline_ms`, 20 ms).

usage: python -m benchmarks.chaos.overload BUNDLE LOG
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.quality.tables import keep, show
from benchmarks.serving.servers import METHOD, bundle_and_log, pin_client, serving
from retriever.interaction import Request
from rewrite_service.loadtest import Arrivals, Mix, as_sent, percentile, pick, read_requests, schedule
from rewrite_service.pb import rewrite_pb2 as pb

CALM, TIMES = 0.5, 3.0
"""Rates as shares of the capacity."""
_IN_FLIGHT = 4
_TIMER_S = 0.002
_HEALTH_EVERY_S = 0.05
_TOO_LONG_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`due`: when it was meant to leave, seconds. `latency`: from then to the answer, seconds. `code`: gRPC's name."""

    due: float
    latency: float
    code: str
    out_of_time: bool = False


def measure(bundle: Path, log: Path | Sequence[Request], seconds: float = 10.0, **settings: object) -> dict[str, Any]:
    """Figures of one overload of `seconds` between two calm times; `settings`: of the server.

    `capacity`: answers a second that a few callers get who each ask again at once. `calm_p99_ms`, `admitted_p99_ms`:
    of the answers at half the capacity, and at `TIMES` the capacity. `shed_share`, `out_of_time_share`: of those asked
    in the overload, how many were refused, and let in but not decided in time. `wrong_codes`: neither OK nor
    RESOURCE_EXHAUSTED. `shed_p99_ms`: how long a refusal took. `recovery_s`: from the end of the overload until nothing
    more was refused or late. `health_*`: of the health checks meanwhile.
    """
    requests = read_requests(log)[-20_000:] if isinstance(log, Path) else log
    with serving(bundle, **settings) as (address, _), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Bench(address, requests).run(seconds))


class _Bench:
    def __init__(self, address: str, requests: Sequence[Request]) -> None:
        self._address, self._requests, self._rng = address, requests, random.Random(5)
        self._answers: list[Answer] = []

    async def run(self, seconds: float) -> dict[str, Any]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self._address, options=options) for _ in range(4)]
        self._calls = [c.unary_unary(METHOD, lambda raw: raw, pb.RewriteResponse.FromString) for c in channels[:3]]
        try:
            await self._saturate(min(3.0, seconds))  # users are loaded, as on any day but the first
            capacity = await self._saturate(min(4.0, seconds))
            calm_s = max(2.0, seconds / 4)
            await self._load(CALM * capacity, calm_s)
            calm, self._answers = self._answers, []
            checking = asyncio.create_task(self._check_health(channels[3]))
            begun = await self._load(TIMES * capacity, seconds)
            ended = begun + seconds
            await self._load(CALM * capacity, calm_s, ended)
            checking.cancel()
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))
        return self._figures(capacity, calm, ended)

    async def _saturate(self, seconds: float) -> float:
        """Answers a second to some callers that each ask again at once."""
        end = time.perf_counter() + seconds
        messages = self._messages(int(4000 * seconds))
        answered = 0

        async def caller() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                try:
                    await self._calls[answered % len(self._calls)](messages.pop(), timeout=5)
                    answered += 1
                except grpc.aio.AioRpcError as error:  # refused, where the machine stood still for a moment
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise

        await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
        if not answered:
            raise SystemExit(f"nothing was answered in {seconds} s: no capacity to speak of")
        return answered / seconds

    def _messages(self, count: int, times: Sequence[float] | None = None) -> list[bytes]:
        chosen = pick(self._requests, count, self._rng)
        return as_sent(chosen, times or [0.0] * count, Mix.FRESH, int(time.time() * 1000), self._rng)

    async def _load(self, rate: float, seconds: float, start: float | None = None) -> float:
        """Sends; the time at which it began. `start`: then, or as soon as may be."""
        times = schedule(rate, seconds, Arrivals.POISSON, self._rng)
        messages = self._messages(len(times), times)
        start = max(start or 0.0, time.perf_counter())
        under_way: set[asyncio.Task[None]] = set()
        for number, (offset, message) in enumerate(zip(times, messages, strict=True)):
            while (wait := start + offset - time.perf_counter()) > 0:
                await asyncio.sleep(wait - _TIMER_S if wait > _TIMER_S else 0)
            task = asyncio.create_task(self._ask(number, message, start + offset))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(0)
        if under_way:
            await asyncio.wait(under_way, timeout=_TOO_LONG_S)
        return start

    async def _ask(self, number: int, message: bytes, due: float) -> None:
        late = False
        try:
            reply = await self._calls[number % len(self._calls)](message)
            code, late = "OK", reply.reason == pb.REASON_OUT_OF_TIME
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        self._answers.append(Answer(due, time.perf_counter() - due, code, late))

    async def _check_health(self, channel: grpc.aio.Channel) -> None:
        self._health: list[float] = []
        self._unhealthy = 0
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            begun = time.perf_counter()
            try:
                status = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)).status
                self._unhealthy += status != health_pb2.HealthCheckResponse.SERVING
            except grpc.aio.AioRpcError:
                self._unhealthy += 1
            self._health.append(time.perf_counter() - begun)
            await asyncio.sleep(_HEALTH_EVERY_S)

    def _figures(self, capacity: float, calm: Sequence[Answer], ended: float) -> dict[str, Any]:
        during = [answer for answer in self._answers if answer.due < ended]
        after = [answer for answer in self._answers if answer.due >= ended]
        usual_s = _at([a.latency for a in calm if a.code == "OK"], 0.99)
        codes = Counter(answer.code for answer in during)
        troubled = [a.due - ended for a in after if a.code != "OK" or a.out_of_time or a.latency > 2 * usual_s]
        out_of_time = sum(answer.out_of_time for answer in during)
        return {
            "capacity": round(capacity, 1),
            "asked_a_second": round(TIMES * capacity, 1),
            "asked": len(during),
            "admitted": codes["OK"],
            "decided": codes["OK"] - out_of_time,
            "shed_share": round(codes["RESOURCE_EXHAUSTED"] / len(during), 4),
            "out_of_time_share": round(out_of_time / len(during), 4),
            "calm_p50_ms": _ms([a.latency for a in calm if a.code == "OK"], 0.5),
            "calm_p99_ms": round(1000 * usual_s, 2),
            "calm_shed_share": round(sum(a.code == "RESOURCE_EXHAUSTED" for a in calm) / len(calm), 4),
            "calm_out_of_time_share": round(sum(a.out_of_time for a in calm) / len(calm), 4),
            "admitted_p50_ms": _ms([a.latency for a in during if a.code == "OK"], 0.5),
            "admitted_p99_ms": _ms([a.latency for a in during if a.code == "OK"], 0.99),
            "shed_p99_ms": _ms([a.latency for a in during if a.code == "RESOURCE_EXHAUSTED"], 0.99),
            "wrong_codes": sum(count for code, count in codes.items() if code not in ("OK", "RESOURCE_EXHAUSTED")),
            "recovery_s": round(max(troubled, default=0.0), 3),
            "after_troubled": len(troubled),
            "after_asked": len(after),
            "health_checks": len(self._health),
            "health_failed": self._unhealthy,
            "health_p99_ms": _ms(self._health, 0.99),
        }


def _at(values: Sequence[float], share: float) -> float:
    return percentile(sorted(values), share) if values else float("nan")


def _ms(values: Sequence[float], share: float) -> float:
    return round(1000 * _at(values, share), 2)


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    figures = measure(asked.bundle, asked.log)
    show("overload", ("figure", "value"), list(figures.items()))
    keep("overload", figures)


if __name__ == "__main__":
    main()
