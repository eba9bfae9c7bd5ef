"""What the figures tell each component's owners: how much fails there, which requests to begin with, what is left after
rewriting; and whether it got better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from mining.labels.report_figures import Count, Day, FailedRequest, Figures, Meaning, Part, Wanted, summed
from mining.labels.report_rows import FAILURES
from mining.labels.turn_label import FailurePoint
from rewrite_service.defect_report.repairs import Repair, Repairs

COSTLIEST = 50
TO_BEGIN_WITH = 8
WORST_INTENTS = 3
_LEAST = 0.5
"""Expected failures below which a thing is not worth a line."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows. `logs`: names of the files. `days`: the first and the last. `repairs`: None where no
    bundle was asked."""

    figures: Figures
    logs: tuple[str, ...]
    days: tuple[date, date]
    repairs: Repairs | None

    @property
    def costliest(self) -> tuple[Costly, ...]:
        return tuple(self.costly(request) for request in self.figures.requests[:COSTLIEST])

    @property
    def repaired(self) -> float | None:
        """Expected failures that the bundle's global layer repairs, as far as that is known."""
        if self.repairs is None:
            return None
        return sum(self.repaired_at(point) or 0.0 for point in FAILURES)

    def repaired_at(self, point: FailurePoint) -> float | None:
        """The same at one point; None where nobody knows."""
        share = None if self.repairs is None else self.repairs.by_point[FAILURES.index(point)]
        return None if share is None else share * self.figures.whole.count.at(point)

    def costly(self, request: FailedRequest) -> Costly:
        return Costly(request, self.repairs.of.get(request.text) if self.repairs is not None else None)


@dataclass(frozen=True, slots=True)
class Costly:
    """A request that fails, with what the bundle answers; `repair` is None where it was not asked."""

    request: FailedRequest
    repair: Repair | None

    @property
    def meaning(self) -> Meaning | None:
        """What most people meant."""
        return self.request.meanings[0] if self.request.meanings else None

    @property
    def share(self) -> float:
        """Of its failures, what rewriting repairs as far as that is known, 0 to 1."""
        return 0.0 if self.repair is None else self.repair.share or 0.0

    @property
    def left(self) -> float:
        """Expected failures that rewriting does not repair."""
        return self.request.count.defects * (1.0 - self.share)

    def left_at(self, point: FailurePoint) -> float:
        return self.request.count.at(point) * (1.0 - self.share)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one component's owners can do. `defects`: expected failures there. `share`: of all, 0 to 1. `repaired`: of
    them, by the bundle; None where nobody knows. `left`: what it does not repair. `top`: the requests to begin with.
    `wanted`: of the recogniser, what was meant by whatever it heard, with what is left of each: to begin with these is
    better. `potential`: expected failures that would be gone if `wanted`, or else `top`, were right, beyond what is
    repaired. `intents`: as which
    the failed turns were understood, worst first, with the failures there."""

    point: FailurePoint
    defects: float
    share: float
    repaired: float | None
    left: float
    top: tuple[Costly, ...]
    wanted: tuple[tuple[Wanted, float], ...]
    potential: float
    intents: tuple[tuple[Part, float], ...]


def findings(report: Report) -> list[Finding]:
    """One for each point at which anything fails, the one with most left first."""
    figures, total = report.figures, report.figures.whole.count.defects
    costly = [report.costly(request) for request in figures.requests]
    out = []
    for point in FAILURES:
        defects = figures.whole.count.at(point)
        if defects < _LEAST:
            continue
        wanted = _wanted(report, point) if point is FailurePoint.ASR else ()
        own = [c for c in costly if c.left_at(point) >= _LEAST]
        own.sort(key=lambda c: (-c.left_at(point), c.request.text))
        intents = sorted(((p, p.count.at(point)) for p in figures.intents.parts), key=lambda i: (-i[1], i[0].name))
        out.append(
            Finding(
                point=point,
                defects=defects,
                share=defects / total,
                repaired=report.repaired_at(point),
                left=defects - (report.repaired_at(point) or 0.0),
                top=tuple(own[:TO_BEGIN_WITH]),
                wanted=wanted,
                potential=sum(left for _, left in wanted) or sum(c.left_at(point) for c in own[:TO_BEGIN_WITH]),
                intents=tuple((part, there) for part, there in intents[:WORST_INTENTS] if there >= _LEAST),
            )
        )
    return sorted(out, key=lambda finding: -finding.left)


def _wanted(report: Report, point: FailurePoint) -> tuple[tuple[Wanted, float], ...]:
    """Those with most left, with what that is."""
    repaired = {} if report.repairs is None else report.repairs.of_wanted
    left = [(wanted, wanted.at(point) * (1.0 - repaired.get(wanted.text, 0.0))) for wanted in report.figures.wanted]
    found = sorted((row for row in left if row[1] >= _LEAST), key=lambda row: (-row[1], row[0].text))
    return tuple(found[:TO_BEGIN_WITH])


@dataclass(frozen=True, slots=True)
class Trend:
    """The later half of the days against the earlier. `clear`: whether the difference is more than what chance does to
    so many turns, were they independent (two standard errors)."""

    days: int
    before: Count
    after: Count
    clear: bool

    @property
    def change(self) -> float:
        """Of the defect rate, -1 to 1."""
        return self.after.rate - self.before.rate


def trend(days: Sequence[Day]) -> Trend | None:
    """Of the days shown; None where they span fewer than two. With an odd number, the day in the middle is in
    neither half."""
    if not days:
        return None
    half = ((days[-1].day - days[0].day).days + 1) // 2
    early, late = days[0].day + timedelta(half), days[-1].day - timedelta(half)
    before = summed(day.count for day in days if day.day < early)
    after = summed(day.count for day in days if day.day > late)
    if not half or not before.turns or not after.turns:
        return None
    spread = math.sqrt(sum(c.rate * (1 - c.rate) / c.turns for c in (before, after)))
    return Trend(half, before, after, abs(after.rate - before.rate) > 2 * spread)


def rest_of(report: Report) -> tuple[int, Count]:
    """Of the requests beyond the costliest that enough people share: how many, and their sums."""
    rest = report.figures.requests[COSTLIEST:]
    return len(rest), summed(request.count for request in rest)
