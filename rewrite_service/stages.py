"""Stage times of one request, what each stage has cost lately, and the check that the next ones still fit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

WINDOW = 9
"""Runs of a stage that are remembered."""
_FORGET_S = 1.0
"""A stage that was not run for so long is expected to cost half as much, and half again, and its next run alone then
counts: whatever made it slow may be over."""


class StageCosts:
    """What each stage costs, in seconds: the median of its last runs. Shared by all requests, thread-safe.

    The median, not a high quantile: a request that then is late is answered in time all the same (`Worker`), while one
    that is not tried for fear of the worst case has no answer for certain. `first`: what to expect of a stage that has
    not run yet. `in_any_case`: stages that are run, beside requests, where they do not fit one: of these the last runs
    count however long ago they were.
    """

    def __init__(self, first: Mapping[str, float], in_any_case: Collection[str] = ()) -> None:
        self._first, self._in_any_case = dict(first), frozenset(in_any_case)
        self._runs: dict[str, deque[float]] = {name: deque(maxlen=WINDOW) for name in first}
        self._expected: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def observe(self, stage: str, seconds: float, now: float | None = None) -> None:
        """Remembers a run of `stage`, one of those named at the beginning; of others nothing is kept."""
        runs = self._runs.get(stage)
        if runs is None:
            return
        now = time.monotonic() if now is None else now
        with self._lock:
            known = self._expected.get(stage)
            if known is not None and now - known[1] > _FORGET_S and stage not in self._in_any_case:
                runs.clear()
            runs.append(seconds)
            self._expected[stage] = sorted(runs)[len(runs) // 2], now

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observes what stands inside."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self.observe(stage, (time.perf_counter_ns() - start) / 1e9)

    def expected(self, stage: str, now: float | None = None) -> float:
        """Seconds that the next run of `stage` may take."""
        known = self._expected.get(stage)
        if known is None:
            return self._first[stage]
        usual, at = known
        if stage in self._in_any_case:
            return usual
        silent = (time.monotonic() if now is None else now) - at
        return usual if silent <= _FORGET_S else usual * 0.5 ** (silent / _FORGET_S - 1)


class StageClock:
    """Collects microseconds by stage. `deadline`: `time.monotonic()` seconds, None for no limit. `costs`: where to
    learn what a stage costs, and to tell; None: nothing is expected to cost anything."""

    def __init__(self, deadline: float | None = None, costs: StageCosts | None = None) -> None:
        self.deadline, self._costs = deadline, costs
        self.stage_us: dict[str, int] = {}
        self.skipped: list[str] = []

    @contextmanager
    def stage(self, name: str, cost: str | None = "") -> Iterator[None]:
        """Times a stage. `cost`: under which name its cost is kept, its own where "", not at all where None."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            taken = time.perf_counter_ns() - start
            self.stage_us[name] = self.stage_us.get(name, 0) + taken // 1000
            if self._costs is not None and cost is not None:
                self._costs.observe(cost or name, taken / 1e9)

    def fits(self, name: str, *stages: str, besides_s: float = 0.0) -> bool:
        """Whether `stages` end in time, by what they cost lately, and something else of `besides_s` seconds; where not,
        `name` is noted as skipped."""
        if self.deadline is None:
            return True
        now = time.monotonic()
        needed = besides_s
        if self._costs is not None:
            needed += sum(self._costs.expected(stage, now) for stage in stages)
        if now + needed <= self.deadline:
            return True
        self.skipped.append(name)
        return False
