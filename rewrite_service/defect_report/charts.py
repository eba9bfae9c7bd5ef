"""The geometry of the report's charts; the page draws them, as SVG in its own colours, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from mining.labels.report_figures import Count, Day

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 4, 10, 24
"""Of the chart and its margins, in its own units."""
_MOST_LABELS = 8
_ENDS = (0.01, 0.02, 0.04, 0.08, 0.12, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle. `n`: index in `FAILURES`."""

    n: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    day: Day
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class DayChart:
    """`lines`: of the axis, each with its y and share. `labels`: of days, each with its x."""

    lines: tuple[tuple[float, float], ...]
    labels: tuple[tuple[float, date], ...]
    bars: tuple[Bar, ...]


def by_day(days: Sequence[Day]) -> DayChart:
    """A bar for each day: the share of its turns that failed, from bottom to top by `FAILURES`. Days that are not among
    them are gaps. `days`: in order, at least one."""
    first = days[0].day
    number = (days[-1].day - first).days + 1
    wide, high = (WIDTH - LEFT - RIGHT) / number, HEIGHT - TOP - BOTTOM
    end = next(end for end in _ENDS if end == 1.0 or max(day.count.rate for day in days) <= end)
    every = max(1, -(-number // _MOST_LABELS))
    bars = []
    for day in days:
        x = LEFT + wide * (day.day - first).days
        heights = [high * share / end for share in _shares(day.count, day.count.turns)]
        pieces, y = [], float(TOP + high)
        for n, height in enumerate(heights):
            y -= height
            pieces.append(Piece(n, x + 0.08 * wide, y, 0.84 * wide, height))
        bars.append(Bar(day, tuple(pieces)))
    return DayChart(
        tuple((TOP + high * (1 - step / 4), end * step / 4) for step in range(5)),
        tuple((LEFT + wide * (n + 0.5), first + timedelta(n)) for n in range(0, number, every)),
        tuple(bars),
    )


def strip(count: Count, whole: float) -> tuple[Piece, ...]:
    """The failures by `FAILURES` side by side, as shares of `whole` on a strip of width 100 and height 8."""
    pieces, x = [], 0.0
    for n, share in enumerate(_shares(count, whole)):
        pieces.append(Piece(n, x, 0.0, 100 * share, 8.0))
        x += 100 * share
    return tuple(pieces)


def _shares(count: Count, whole: float) -> list[float]:
    return [amount / whole if whole > 0 else 0.0 for amount in count.by_point]
