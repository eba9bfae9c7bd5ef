"""Small logs with labels for tests of the report, and a short way from them to figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from hypothesis import strategies as st

from mining.engines import rows, statements, sums
from mining.engines.embedded import EmbeddedEngine
from mining.labels.report_figures import Figures
from mining.labels.report_rows import report_rows
from mining.labels.report_sums import figures_of
from mining.labels.turn_label import POINTS, Correction, FailurePoint, TurnLabel
from retriever.interaction import Context, Interaction, Interpretation
from retriever.normalise import normalise
from tests.turns import DAY_S, turn

Person = tuple[Sequence[Interaction], Sequence[TurnLabel]]
People = Mapping[str, Person]


def summed_rows(people: People) -> pa.Table:
    found = ((0, user, report_rows(*person)) for user, person in people.items())
    return pa.Table.from_batches(rows.batches(found), rows.SCHEMA)


def figures(people: People, min_people: int = 2) -> Figures:
    """As an engine sums them."""
    mined = summed_rows(people)
    with EmbeddedEngine() as engine:

        def ask(names: Sequence[str], least: int) -> Mapping[str, pa.Table]:
            found = engine.query(statements.sums(names, least_people=least), {}, {"mined": mined})
            return sums.by_name(found, names)

        return figures_of(ask, min_people)


def label(
    point: FailurePoint = FailurePoint.CORRECT,
    meant: Interaction | None = None,
    sure: float = 0.9,
    probability: float = 1.0,
) -> TurnLabel:
    """`probability`: of the point; the rest is that the turn was correct."""
    points = [0.0] * len(POINTS)
    points[0] = 1 - probability
    points[POINTS.index(point)] += probability
    correction = None
    if meant is not None and meant.interpretation is not None:
        correction = Correction(normalise(meant.request.query), meant.interpretation, sure, 0)
    return TurnLabel(tuple(points), 0, None, 0.0, correction)


def failing(user: str, heard: str, meant: str, times: int = 1, point: FailurePoint = FailurePoint.ASR) -> Person:
    """Somebody who says a thing in vain, and then what is meant, with success."""
    turns, labels = [], []
    for n in range(times):
        served = turn(meant, n * 60 + 10, "music.song", user=user, slots={"song": meant})
        turns += [turn(heard, n * 60, user=user), served]
        labels += [label(point, served), label()]
    return turns, labels


_USERS = st.integers(0, 4)


@st.composite
def logs(draw: st.DrawFn) -> dict[str, Person]:
    """A few people who say a few things, some of them all the time; of each turn anything may be the label."""
    people: dict[str, tuple[list[Interaction], list[TurnLabel]]] = defaultdict(lambda: ([], []))
    for n in range(draw(st.integers(0, 12))):
        user, word = f"user{draw(_USERS)}", f"text{draw(st.integers(0, 5))}"
        own = f"of{user}" if draw(st.booleans()) else ""
        for again in range(draw(st.sampled_from([1, 1, 1, 3, 30]))):
            at_s = DAY_S * draw(st.integers(0, 3)) if again == 0 else n * 1000 + again
            intent = draw(st.sampled_from([None, "intent0", f"intent1{own}"])) if again == 0 else None
            context = Context(device_type=draw(st.sampled_from(["device0", f"device1{own}"])), locale=f"locale0{own}")
            said = turn(
                f"{word} {own}", at_s + n, intent, user=user, slots={"slot": f"value1{own}"} if intent else None,
                id=f"{user}-{n}-{again}", context=context,
            )  # fmt: skip
            reading = Interpretation(f"meantintent1{own}", (("slot", f"meantvalue{draw(st.integers(0, 2))}{own}"),))
            correction = Correction(f"text{draw(st.integers(0, 5))} {own}".strip(), reading, draw(st.floats(0, 1)), 0)
            weights = [draw(st.integers(0, 4)) for _ in POINTS]
            points = tuple(w / sum(weights) for w in weights) if sum(weights) else (1.0, 0, 0, 0, 0, 0)
            turns, labels = people[user]
            turns.append(said)
            labels.append(TurnLabel(points, 0, None, 0.0, draw(st.sampled_from([None, correction]))))
    return dict(people)


def names_by_people(people: People) -> dict[str, set[str]]:
    """Everything that is said or named in a log, ids included, each with the people whose it is."""
    out: dict[str, set[str]] = defaultdict(set)
    for user, (turns, labels) in people.items():
        out[user].add(user)
        for name in _names(turns, labels):
            if name:
                out[name].add(user)
    return out


def _names(turns: Sequence[Interaction], labels: Sequence[TurnLabel]) -> Iterator[str]:
    for said, told in zip(turns, labels, strict=True):
        request = said.request
        yield from (normalise(request.query), request.context.device_type, request.context.locale)
        readings = [said.interpretation]
        if told.correction is not None:
            readings.append(told.correction.interpretation)
        for reading in readings:
            if reading is not None:
                yield from (reading.intent, *(value for _, value in reading.slots))
