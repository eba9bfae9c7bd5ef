"""An open-loop load test: requests leave at their appointed times however slow the answers are, as users' requests do.

A closed loop would wait for a slow server and so hide its slowness; here latency counts from the time at which a
request was meant to leave. Who asks, and what, follows Zipf's law over the users and requests of a log. How much a
server can answer out of what it remembers is stated by the mix, and counted in the replies.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Any

import grpc
import uvloop
from rich.table import Table

from retriever.interaction import Request
from rewrite_service.client.messages import from_request
from rewrite_service.errors import RewriteError
from rewrite_service.pb import rewrite_pb2 as pb

_METHOD = f"/{pb.DESCRIPTOR.services_by_name['RewriteService'].full_name}/Rewrite"
MAX_REQUESTS = 1_000_000
MAX_SECONDS = 3600.0
NOT_SENT = "NOT_SENT"
"""Stands among the error codes for requests that did not leave because too many were under way here."""
TOO_LATE = "pass out_of_time"
"""The decision where there was no time for one."""

REPEATED = 100
"""Different requests of the mix of that name."""
_NOT_FOR_US = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
_WARM_UP = 200
_MAX_UNDER_WAY = 4000
_TIMER_S = 0.002  # event loops sleep in whole milliseconds; the rest is waited for by turning round


class LoadTestError(RewriteError):
    """The load test cannot run: a bound is crossed, nothing answers, or the target is not to be loaded."""


class Arrivals(StrEnum):
    """When requests leave. POISSON: at random, as from many users who know nothing of each other. FIXED: evenly."""

    POISSON = "poisson"
    FIXED = "fixed"


class Mix(StrEnum):
    """What is asked. USUAL: the log's requests, as of now. REPEATED: some few of them over and over within a moment, so
    that the server remembers its decisions. FRESH: each text misspelt in a way that was never heard, so that the server
    remembers nothing of it and, since it looks suspicious, goes the whole way."""

    USUAL = "usual"
    REPEATED = "repeated"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the appointed start to the reply, over the requests that were answered."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load test found.

    `rate`, `achieved_rate`: requests a second, wanted and answered. `seconds`: until the last answer, at least the
    time asked for. `latency`: None where nothing was answered. `send_lag_p99_ms`: by how much requests left late; where
    it is near the latencies, this machine and not the server is what was measured. `errors`: by gRPC code.
    `decisions`: rewrites by layer, passes by reason. `remembered`: of the answers, how many the server had at hand.
    `skipped`: stages that it left out.
    """

    target: str
    rate: float
    seconds: float
    sent: int
    answered: int
    achieved_rate: float
    latency: Latency | None
    send_lag_p99_ms: float
    errors: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)
    mix: Mix = Mix.USUAL
    remembered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def keeps(self, budget_ms: float) -> bool:
        """Whether the server kept up: nearly all were answered, at the rate wanted, and 99 of 100 in the budget. A pass
        for want of time is no answer here, however soon it came."""
        wanted = self.sent + self.errors.get(NOT_SENT, 0)
        decided = self.answered - self.decisions.get(TOO_LATE, 0)
        return (
            self.latency is not None
            and self.latency.p99_ms <= budget_ms
            and decided >= 0.99 * wanted
            and self.achieved_rate >= 0.93 * wanted / self.seconds
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def as_table(self) -> Table:
        """For people."""
        table = Table("", self.target, box=None)
        table.add_row("rate wanted / achieved", f"{self.rate:g} / {self.achieved_rate:.1f} a second")
        table.add_row("sent / answered", f"{self.sent} / {self.answered} in {self.seconds:.1f} s")
        if self.latency:
            for name, value in asdict(self.latency).items():
                table.add_row(name.removesuffix("_ms"), f"{value:.2f} ms")
        table.add_row("mix", f"{self.mix}, {100 * self.remembered / max(1, self.answered):.0f} % remembered")
        table.add_row("left late (p99)", f"{self.send_lag_p99_ms:.2f} ms")
        for kind, counts in (("error", self.errors), ("decision", self.decisions), ("skipped", self.skipped)):
            for name, count in sorted(counts.items(), key=lambda item: -item[1]):
                table.add_row(f"{kind} {name}", str(count))
        return table


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, which are in ascending order, that at least `share` (above 0 to 1) of them do not
    exceed (nearest rank, so always one that was measured). Raises `ValueError` where there is none."""
    if not ordered or not 0 < share <= 1:
        raise ValueError("percentile: needs a value, and a share above 0 and up to 1")
    return ordered[math.ceil(share * len(ordered)) - 1]


def schedule(rate: float, seconds: float, arrivals: Arrivals, rng: random.Random) -> list[float]:
    """When to send, in seconds from the start, ascending, from 0 and below `seconds`. Raises `LoadTestError`."""
    if not (rate > 0 and 0 < seconds <= MAX_SECONDS):
        raise LoadTestError(f"rate must be above 0, seconds above 0 and up to {MAX_SECONDS:g}")
    if rate * seconds > MAX_REQUESTS:
        raise LoadTestError(f"{rate * seconds:.0f} requests are more than {MAX_REQUESTS}; lower the rate or the time")
    if arrivals is Arrivals.FIXED:
        return [i / rate for i in range(math.ceil(rate * seconds)) if i / rate < seconds]
    times: list[float] = []
    now = rng.expovariate(rate)
    while now < seconds and len(times) < MAX_REQUESTS:
        times.append(now)
        now += rng.expovariate(rate)
    return times


def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


def pick(requests: Sequence[Request], count: int, rng: random.Random) -> list[Request]:
    """`count` requests: a user by Zipf's law over the users, then one of the user's requests by Zipf's law over these.

    Users rank by how much they ask in `requests`, their requests by how often they ask them. A request recurs as the
    same object.
    """
    if not requests:
        raise LoadTestError("no requests to send")
    by_user: dict[str, Counter[str]] = {}
    latest: dict[tuple[str, str], Request] = {}
    for request in requests:
        by_user.setdefault(request.user_id, Counter())[request.query] += 1
        latest[request.user_id, request.query] = request
    users = sorted(by_user, key=lambda user: (-by_user[user].total(), user))
    ranked = {user: [latest[user, query] for query, _ in by_user[user].most_common()] for user in users}
    weights = {size: _zipf(size) for size in {len(users), *(len(r) for r in ranked.values())}}
    chosen = rng.choices(users, cum_weights=weights[len(users)], k=count)
    return [rng.choices(ranked[user], cum_weights=weights[len(ranked[user])])[0] for user in chosen]


def as_sent(
    chosen: Sequence[Request], times: Sequence[float], mix: Mix, now_ms: int, rng: random.Random
) -> list[bytes]:
    """The messages of the requests `chosen`, to be sent `times` seconds from `now_ms`, milliseconds since 1970 UTC."""
    out = []
    for number, (request, offset) in enumerate(zip(chosen, times, strict=True)):
        stamp = now_ms if mix is Mix.REPEATED else now_ms + int(1000 * offset)
        query = misspelt(request.query, rng) if mix is Mix.FRESH else request.query
        sent = replace(request, interaction_id=f"load-{now_ms}-{number}", timestamp_ms=stamp, query=query)
        out.append(from_request(sent).SerializeToString())
    return out


def misspelt(text: str, rng: random.Random) -> str:
    """The text with two letters, at random places, replaced by others."""
    letters = list(text)
    places = [i for i, letter in enumerate(letters) if letter.isalpha()]
    for place in rng.sample(places, min(2, len(places))):
        letters[place] = rng.choice([c for c in "abcdefghijklmnopqrstuvwxyz" if c != letters[place]])
    return "".join(letters)


def is_loopback(target: str) -> bool:
    """Whether a gRPC target (`host:port`, `[::1]:port`, `unix:path`) certainly is on this machine."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_requests(log: Path | None) -> list[Request]:
    """The requests of an interaction log, or of a small sample log where `log` is None."""
    if log is None:
        from rewrite_service.sample.generate import turns

        return [turn.interaction.request for turn in turns(people=60, days=10)]
    from mining.reader import read_log

    return [turn.request for turn in read_log([log]).turns]


def run_loadtest(
    target: str,
    rate: float,
    seconds: float,
    requests: Sequence[Request],
    *,
    arrivals: Arrivals = Arrivals.POISSON,
    mix: Mix = Mix.USUAL,
    timeout_s: float | None = 1.0,
    connections: int = 2,
    seed: int = 1,
    allow_remote: bool = False,
    token: str | None = None,
    authority: Path | None = None,
) -> LoadReport:
    """Sends requests at `rate` a second for `seconds`, and reports. Raises `LoadTestError`.

    `requests`: what users ask, for instance those of a log; they are asked as of now. `timeout_s`: deadline of each, in
    seconds, > 0; None: the server's own. `connections`: 1 or more. `seed`: of the choice and of the times. Targets
    beyond this machine only with `allow_remote`. `token`: sent with each call. `authority`: PEM file of who signed the
    server's certificate; None: no TLS.
    """
    if not allow_remote and not is_loopback(target):
        raise LoadTestError(f"{target} is not on this machine; allow it with --allow-remote if it is yours to load")
    rng = random.Random(seed)
    times = schedule(rate, seconds, arrivals, rng)
    if mix is Mix.REPEATED:
        requests = pick(requests, REPEATED, rng)
    chosen = pick(requests, len(times), rng)
    now_ms = int(time.time() * 1000)
    # The same mix, but nothing of it comes again in the test unless the mix says so.
    earlier_ms = now_ms if mix is Mix.REPEATED else now_ms - 3_600_000
    warming = as_sent(chosen[:_WARM_UP], times[:_WARM_UP], mix, earlier_ms, rng)
    run = _Run(target, times, as_sent(chosen, times, mix, now_ms, rng), warming, timeout_s, mix, token, authority)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        elapsed_s = runner.run(run.go(max(1, connections)))
    return run.report(rate, max(seconds, elapsed_s))


class _Run:
    """The requests under way and what came of them."""

    def __init__(
        self,
        target: str,
        times: Sequence[float],
        messages: Sequence[bytes],
        warming: Sequence[bytes],
        timeout_s: float | None,
        mix: Mix,
        token: str | None,
        authority: Path | None,
    ) -> None:
        self._target, self._times, self._messages, self._timeout_s = target, times, messages, timeout_s
        self._warming = warming
        self._metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        self._credentials = None
        if authority is not None:
            self._credentials = grpc.ssl_channel_credentials(authority.read_bytes())
        self._mix, self._remembered = mix, 0
        self._skipped: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._lags: list[float] = []
        self._errors: Counter[str] = Counter()
        self._decisions: Counter[tuple[int, int, int]] = Counter()

    async def go(self, connections: int) -> float:
        """Sends everything, waits for what is under way, and returns the seconds that took."""
        # A pool of its own each: otherwise all channels to one target share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [self._channel(options) for _ in range(connections)]
        try:
            # The messages are bytes already: what they cost to make must not delay those that are due.
            reply = pb.RewriteResponse.FromString
            calls = [channel.unary_unary(_METHOD, lambda raw: raw, reply) for channel in channels]
            await self._warm_up(channels, calls)
            return await self._send_all(calls)
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))

    def _channel(self, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options=options)
        return grpc.aio.secure_channel(self._target, self._credentials, options=options)

    async def _warm_up(self, channels: Sequence[grpc.aio.Channel], calls: Sequence[Any]) -> None:
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
        except TimeoutError:
            raise LoadTestError(f"nothing answers at {self._target}") from None
        for number, message in enumerate(self._warming):
            try:
                await calls[number % len(calls)](message, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() in _NOT_FOR_US:
                    raise LoadTestError(f"{self._target} is not serving: {error.details()}") from None

    async def _send_all(self, calls: Sequence[Any]) -> float:
        under_way: set[asyncio.Task[None]] = set()
        start = time.perf_counter()
        for number, (offset, message) in enumerate(zip(self._times, self._messages, strict=True)):
            due = start + offset
            while (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait - _TIMER_S if wait > _TIMER_S else 0)
            self._lags.append(time.perf_counter() - due)
            if len(under_way) < _MAX_UNDER_WAY:
                task = asyncio.create_task(self._ask(calls[number % len(calls)], message, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                self._errors[NOT_SENT] += 1
            await asyncio.sleep(0)  # late as we may be, answers must come in
        if under_way:
            await asyncio.wait(under_way)
        return time.perf_counter() - start

    async def _ask(self, call: Any, message: bytes, due: float) -> None:
        try:
            reply = await call(message, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._errors[error.code().name] += 1
            return
        self._latencies.append(time.perf_counter() - due)
        self._decisions[reply.decision, reply.layer, reply.reason] += 1
        self._remembered += "remembered" in reply.stage_us
        self._skipped.update(reply.skipped_stages)

    def report(self, rate: float, seconds: float) -> LoadReport:
        """`rate`: as wanted, a second. `seconds`: that the test took."""
        latencies, lags = sorted(self._latencies), sorted(self._lags)
        decisions: Counter[str] = Counter()
        for (decision, layer, reason), count in self._decisions.items():
            rewritten = decision == pb.DECISION_REWRITE
            name = pb.Layer.Name(layer).removeprefix("LAYER_") if rewritten else pb.Reason.Name(reason)
            decisions[f"{'rewrite' if rewritten else 'pass'} {name.removeprefix('REASON_').lower()}"] += count
        return LoadReport(
            target=self._target,
            rate=rate,
            seconds=round(seconds, 3),
            sent=len(self._times) - self._errors[NOT_SENT],
            answered=len(latencies),
            achieved_rate=round(len(latencies) / seconds, 2),
            latency=Latency(*(round(1000 * percentile(latencies, share), 3) for share in (0.5, 0.9, 0.99, 1.0)))
            if latencies
            else None,
            send_lag_p99_ms=round(1000 * percentile(lags, 0.99), 3) if lags else 0.0,
            errors={code: count for code, count in self._errors.items() if count},
            decisions=dict(decisions),
            mix=self._mix,
            remembered=self._remembered,
            skipped=dict(self._skipped),
        )
