"""What the report on failures tells, as values: nothing in it that fewer than `min_people` people have said or have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from mining.labels.report_rows import FAILURES
from mining.labels.turn_label import FailurePoint
from retriever.interaction import Interpretation

NO_DEFECTS = (0.0,) * len(FAILURES)


@dataclass(frozen=True, slots=True)
class Count:
    """Sums over turns. `turns`: how many. `rewritten`: of these, served another text than was heard. `repaired`: of
    those, expected number that served. `by_point`: expected failures, by `FAILURES`. Amounts are multiples of 2^-20:
    they add up exactly."""

    turns: float = 0.0
    rewritten: float = 0.0
    repaired: float = 0.0
    by_point: tuple[float, ...] = NO_DEFECTS

    @property
    def defects(self) -> float:
        """Expected number of turns that failed."""
        return sum(self.by_point)

    @property
    def rate(self) -> float:
        """Share of the turns that failed, 0 to 1."""
        return self.defects / self.turns if self.turns else 0.0

    def at(self, point: FailurePoint) -> float:
        """Expected failures at one point."""
        return self.by_point[FAILURES.index(point)]

    def __add__(self, other: Count) -> Count:
        return self._with(other, 1)

    def __sub__(self, other: Count) -> Count:
        return self._with(other, -1)

    def _with(self, other: Count, sign: int) -> Count:
        by_point = tuple(a + sign * b for a, b in zip(self.by_point, other.by_point, strict=True))
        return Count(
            self.turns + sign * other.turns,
            self.rewritten + sign * other.rewritten,
            self.repaired + sign * other.repaired,
            by_point,
        )


def summed(counts: Iterable[Count]) -> Count:
    return sum(counts, Count())


@dataclass(frozen=True, slots=True)
class Part:
    """An intent, a device type, a locale, or everything. `name`: "" where the log names none. `people`: who have it."""

    name: str
    people: int
    count: Count


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    people: int
    count: Count


@dataclass(frozen=True, slots=True)
class Split:
    """The whole by one thing. `parts`: most failures first. `others`: all that too few people have, in one."""

    parts: tuple[Part, ...]
    others: Count


@dataclass(frozen=True, slots=True)
class Meaning:
    """What was meant by a request that failed. `text`: in normal form. `interpretation`: as most meant it; None where
    too few meant the same. `people`: who meant that text. `by_point`: their expected failures, by `FAILURES`."""

    text: str
    interpretation: Interpretation | None
    people: int
    by_point: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was meant by whatever was heard, each person counting for ten turns at most. `text`: in normal form.
    `people`: who meant it and were failed. `by_point`: their expected failures, by `FAILURES`."""

    text: str
    people: int
    by_point: tuple[float, ...]

    def at(self, point: FailurePoint) -> float:
        return self.by_point[FAILURES.index(point)]


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that failed its users, each of whom counts for ten turns at most. `text`: as heard, in normal form.
    `people`: whom it failed. `said_by`: who said it. `meanings`: what was meant, what most people meant first."""

    text: str
    people: int
    said_by: int
    count: Count
    meanings: tuple[Meaning, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """`requests`: the costliest first: those with most expected failures. `other_requests`: of those that failed fewer
    than `min_people` people. `repeats`: what single people said more than ten times, beyond that. `days`: in order,
    those on which enough people spoke; `other_days`: the others. `wanted`: what was meant when something failed, most
    failures first. `said`: all texts that enough people said."""

    min_people: int
    whole: Part
    days: tuple[Day, ...]
    other_days: Count
    intents: Split
    devices: Split
    locales: Split
    requests: tuple[FailedRequest, ...]
    other_requests: Count
    repeats: Count
    wanted: tuple[Wanted, ...]
    said: frozenset[str]
