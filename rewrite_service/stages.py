"""Stage times of one request, and the check that the next stage still fits its deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Collects microseconds by stage. `deadline`: `time.monotonic()` seconds, None for no limit."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.stage_us: dict[str, int] = {}
        self.skipped: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self.stage_us[name] = self.stage_us.get(name, 0) + (time.perf_counter_ns() - start) // 1000

    def fits(self, name: str, cost_s: float) -> bool:
        """Whether a stage that takes about `cost_s` seconds ends in time; where not, it is noted as skipped."""
        if self.deadline is None or time.monotonic() + cost_s <= self.deadline:
            return True
        self.skipped.append(name)
        return False
