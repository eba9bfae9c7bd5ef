"""What the metrics' numbers were in the last minutes, second by second: for the page's charts.

Read from the memory in which the serving processes count, all of them together; none of them is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rewrite_service.decision import Reason
from rewrite_service.metrics import catalogue as c
from rewrite_service.metrics.cells import Counter, Gauge, Histogram

KEPT = 300
"""Seconds that are kept."""
WINDOW_S = 10
"""Latencies are those of so many seconds, since a single second may have next to no requests."""
_REWRITES = frozenset({Reason.CONFIDENT.value, Reason.TAUGHT.value, Reason.PINNED.value})
_FINE = Reason.QUERY_LOOKS_FINE.value


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals since the start, at `at_ms` (milliseconds since 1970 UTC). `reasons`: answers by reason. `latency`: calls
    of Rewrite by the bounds of their time. `stages`: sum (microseconds) and number of each. `caches`: hits and misses.
    `shed`: calls refused. `in_flight`, `serving`, `bundles`: now."""

    at_ms: int
    reasons: dict[str, float]
    latency: tuple[float, ...]
    stages: dict[str, tuple[float, float]]
    caches: dict[str, tuple[float, float]]
    shed: float
    in_flight: float
    serving: float
    bundles: dict[str, int]


def read(memories: Sequence[memoryview[float]]) -> Reading:
    """`memories`: the cells of each process that counts."""

    def total(metric: Counter | Gauge, *labels: str) -> float:
        at = metric.at(*labels)
        return sum(cells[at] for cells in memories)

    def row(metric: Histogram, *labels: str) -> list[float]:
        at = metric.at(*labels)
        return [sum(column) for column in zip(*(m[at : at + metric.width] for m in memories), strict=True)]

    stages = {stage: row(c.STAGE_SECONDS, stage) for stage in c.STAGES}
    return Reading(
        at_ms=time.time_ns() // 1_000_000,
        reasons={reason: sum(total(c.DECISIONS, layer, reason) for layer in c.LAYERS) for reason in c.REASONS},
        latency=tuple(row(c.REQUEST_SECONDS, "rewrite")[:-1]),
        stages={stage: (cells[-1], sum(cells[:-1])) for stage, cells in stages.items()},
        caches={cache: (total(c.CACHE_HITS, cache), total(c.CACHE_MISSES, cache)) for cache in c.CACHES},
        shed=sum(total(c.SHED, method) for method in c.METHODS),
        in_flight=sum(total(c.IN_FLIGHT, gate) for gate in c.GATES),
        serving=total(c.SERVING),
        bundles=dict(Tally(filter(None, (c.BUNDLE.read(cells) for cells in memories)))),
    )


def quantile(counts: Sequence[float], bounds: Sequence[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of what was counted lies, in the bounds' unit, by straight lines between
    bounds, as Prometheus does it; what is above the last bound counts as that. None where nothing was counted."""
    wanted, below = share * sum(counts), 0.0
    if wanted <= 0:
        return None
    for i, count in enumerate(counts[: len(bounds)]):
        if count and below + count >= wanted:
            lower = bounds[i - 1] if i else 0.0
            return lower + (bounds[i] - lower) * (wanted - below) / count
        below += count
    return bounds[-1]


def samples(readings: Sequence[Reading], since_ms: int = 0) -> list[dict[str, Any]]:
    """A row for each second after `since_ms`: requests a second by what became of them, and latencies (milliseconds)
    of the last `WINDOW_S` seconds. Numbers that fell (a process was replaced) count as none."""
    rows = []
    for i, (before, now) in enumerate(pairwise(readings), 1):
        if now.at_ms <= since_ms:
            continue
        seconds = max(0.001, (now.at_ms - before.at_ms) / 1000)
        by_reason = {r: max(0.0, n - before.reasons[r]) / seconds for r, n in now.reasons.items()}
        rewritten = sum(by_reason[r] for r in _REWRITES)
        window = readings[max(0, i - WINDOW_S)]
        counts = [max(0.0, n - o) for n, o in zip(now.latency, window.latency, strict=True)]
        quantiles = {f"p{q}": quantile(counts, c.REQUEST_SECONDS.bounds, q / 100) for q in (50, 99)}
        rows.append(
            {
                "t": now.at_ms,
                "rewritten": rewritten,
                "fine": by_reason[_FINE],
                "left": sum(by_reason.values()) - rewritten - by_reason[_FINE],
                "refused": max(0.0, now.shed - before.shed) / seconds,
                **{name: None if us is None else us / 1000 for name, us in quantiles.items()},
            }
        )
    return rows


class Live:
    """Reads once a second. Belongs to one event loop."""

    def __init__(self, memories: Sequence[memoryview[float]], workers: int) -> None:
        """`memories`: the cells of each process that counts; `workers`: how many should serve."""
        self._memories, self._workers = memories, workers
        self._readings: deque[Reading] = deque([read(memories)], maxlen=KEPT + 1)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self._readings.append(read(self._memories))

    def told(self, since_ms: int) -> dict[str, Any]:
        """What the page shows, with the rows after `since_ms`."""
        readings = list(self._readings)
        first, last = readings[max(0, len(readings) - 61)], readings[-1]
        stages = {}
        for stage, (us, n) in last.stages.items():
            earlier_us, earlier_n = first.stages[stage]
            if n > earlier_n:
                stages[stage] = max(0.0, us - earlier_us) / (n - earlier_n)
        hits = {}
        for cache, (hit, miss) in last.caches.items():
            looks = hit + miss - sum(first.caches[cache])
            if looks > 0:
                hits[cache] = max(0.0, hit - first.caches[cache][0]) / looks
        return {
            "now": last.at_ms,
            "samples": samples(readings, since_ms),
            "reasons": {r: n - first.reasons[r] for r, n in last.reasons.items() if n > first.reasons[r]},
            "stages_us": stages,
            "hits": hits,
            "in_flight": last.in_flight,
            "serving": last.serving,
            "configured": self._workers,
            "bundles": last.bundles,
        }
