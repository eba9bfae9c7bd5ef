"""What one person's labelled turns add to the report on failures: to the whole, a day, an intent, a device type, a
locale, a request, and what was meant by it.

The amounts are sums of probabilities in steps of 2^-20 (`mining.tables.exactly`), so that whatever the report is split
by, the parts add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from mining.defects import FAILED
from mining.engines.rows import Row, key_of, reading_part
from mining.engines.stages import Stage
from mining.labels.turn_label import POINTS, FailurePoint, TurnLabel
from mining.tables import MOST_PER_PERSON, exactly
from retriever.interaction import Interaction
from retriever.normalise import normalise

FAILURES = tuple(point for point in POINTS if point is not FailurePoint.CORRECT)
"""The order of what failed, wherever there is one number for each."""
WHOLE, DAYS, PARTS = ("whole_turns", "whole_defects"), ("day_turns", "day_defects"), ("part_turns", "part_defects")
REQUESTS, MEANT, WANTED = ("request_turns", "request_defects"), ("meant", "meant_as"), "wanted"
TABLES = (*WHOLE, *DAYS, *PARTS, *REQUESTS, *MEANT, WANTED)
"""Names of the tables. Of pairs, but for `MEANT`, one counts (`_Count.turns`), the other has the failures by
`FAILURES`; `MEANT` and `WANTED` have failures alone. Keys: of `WHOLE` ("all",), and ("requests",) for all requests with
no more than one person may add to each; of `DAYS` (days since 1970 UTC,); of `PARTS` ("intent", "device" or "locale",
its name); of `REQUESTS` (text,); of "meant" (text, text meant); of "meant_as" (text, text meant, intent, slots); of
`WANTED` (text meant,). People are those who have such a turn; of "request_defects", `MEANT` and `WANTED` those alone
whom it failed."""
DAY_MS = 86_400_000
MEANT_FROM = 0.5
"""From this probability on a correction counts for what somebody meant."""
_CORRECT = POINTS.index(FailurePoint.CORRECT)


class _Count:
    """Sums over turns. `turns`: how many; served rewritten; of these, expected to have served. `defects`: expected
    failures, by `FAILURES`. `failed`: whether any turn did."""

    __slots__ = ("defects", "failed", "turns")

    def __init__(self) -> None:
        self.turns, self.defects, self.failed = [0.0] * 3, [0.0] * len(FAILURES), False

    def add(self, turns: Sequence[float], defects: Sequence[float], failed: bool) -> None:
        for n, amount in enumerate(turns):
            self.turns[n] += amount
        for n, amount in enumerate(defects):
            self.defects[n] += amount
        self.failed |= failed

    def weighed(self, weight: float) -> _Count:
        out = _Count()
        out.add([exactly(weight * n) for n in self.turns], [exactly(weight * n) for n in self.defects], self.failed)
        return out


def report_rows(turns: Sequence[Interaction], labels: Sequence[TurnLabel]) -> Iterator[Row]:
    """One person's rows of `TABLES`, from their turns in time order and the label of each."""
    whole, requests = _Count(), dict[str, _Count]()
    named = dict[tuple[tuple[str, str], str], _Count]()
    meant, wanted = dict[tuple[str, str, str], _Count](), dict[str, _Count]()
    for turn, label in zip(turns, labels, strict=True):
        defects = [exactly(p) for n, p in enumerate(label.points) if n != _CORRECT]
        failed = 1.0 - label.points[_CORRECT] >= FAILED
        text = normalise(heard(turn))
        cells = [whole, requests.setdefault(text, _Count())]
        cells += [named.setdefault(cell, _Count()) for cell in _cells(turn)]
        correction = label.correction
        if failed and correction is not None and correction.probability >= MEANT_FROM:
            cells.append(wanted.setdefault(correction.text, _Count()))
            reading = reading_part(correction.interpretation) or ()
            for table, *parts in (("meant", correction.text), ("meant_as", correction.text, *reading)):
                cells.append(meant.setdefault((table, text, key_of(text, *parts)), _Count()))
        amounts = _amounts(turn, max(0.0, 1.0 - sum(defects)))
        for cell in cells:
            cell.add(amounts, defects, failed)
    yield from _pair(WHOLE, key_of("all"), whole)
    for (names, key), count in named.items():
        yield from _pair(names, key, count)
    bounded = _Count()
    for said, count in requests.items():
        own = count.weighed(_weight(count))
        bounded.add(own.turns, own.defects, own.failed)
        yield from _pair(REQUESTS, key_of(said), own, own.failed)
    yield from _pair(WHOLE, key_of("requests"), bounded)
    for (table, said, key), count in meant.items():
        yield Row(table, key, tuple(count.weighed(_weight(requests[said])).defects), 1)
    for said, count in wanted.items():
        yield Row(WANTED, key_of(said), tuple(count.weighed(_weight(count)).defects), 1)


def _weight(count: _Count) -> float:
    """What each of one person's turns on a text weighs among everybody's: as in `mining.tables.weight_of`."""
    return min(1.0, MOST_PER_PERSON / count.turns[0])


def heard(turn: Interaction) -> str:
    """What the user was heard to say, whatever was asked instead."""
    return turn.request.query if turn.heard is None else turn.heard


def _cells(turn: Interaction) -> Iterator[tuple[tuple[str, str], str]]:
    """What the turn is counted under: the pair of tables, and the key."""
    context, reading = turn.request.context, turn.interpretation
    yield DAYS, key_of(turn.request.timestamp_ms // DAY_MS)
    yield PARTS, key_of("intent", reading.intent if reading is not None else "")
    yield PARTS, key_of("device", context.device_type)
    yield PARTS, key_of("locale", context.locale)


def _amounts(turn: Interaction, served: float) -> tuple[float, ...]:
    """What a turn adds to `_Count.turns`. `served`: probability that it did."""
    rewritten = normalise(heard(turn)) != normalise(turn.request.query)
    return 1.0, float(rewritten), served if rewritten else 0.0


def _pair(names: tuple[str, str], key: str, count: _Count, failed: bool = True) -> Iterator[Row]:
    """`failed`: whether the person counts among those who were failed."""
    yield Row(names[0], key, tuple(count.turns), 1)
    yield Row(names[1], key, tuple(count.defects), int(failed))


class Labeller(Protocol):
    """Labels one person's turns, in time order."""

    def labels(self, turns: Sequence[Interaction]) -> Sequence[TurnLabel]: ...


def _report(turns: Sequence[Interaction], labeller: Labeller) -> Iterator[Row]:
    yield from report_rows(turns, labeller.labels(turns))


REPORT = Stage("report", TABLES, _report)
"""The stage for `Miner.further`; its knowledge is a labeller."""
