"""Labels of a log that nobody annotated: what they say, whom they depend on, and how sure they are."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.engines.rows import parts_of
from mining.labels.confidence import lowest
from mining.labels.label_stage import Wanted, failed_at, label_rows, records, uses
from mining.labels.labelling import Labeller, learn_labeller
from mining.labels.turn_label import POINTS, FailurePoint, TurnLabel
from mining.mined import Mined, mine_people
from mining.schema import parse_interaction
from mining.sessions import by_user, sessions
from retriever.interaction import Channel, Explicit, Interaction
from rewrite_service.sample.generate import generate
from tests.turns import turn

People = dict[str, list[Interaction]]


@pytest.fixture(scope="module")
def people() -> People:
    return by_user(parse_interaction(record) for record in generate(people=16, days=10))


@pytest.fixture(scope="module")
def mined(people: People) -> Mined:
    return mine_people(people, 2)


@pytest.fixture(scope="module")
def labeller(people: People, mined: Mined) -> Labeller:
    return learn_labeller(people, mined)


def test_a_repair_past_unrelated_turns_is_found(labeller: Labeller) -> None:
    session = [
        turn("turn on the hall weigh light", 0, dwell_s=3.0),
        turn("what time is it", 15, "AskTime", dwell_s=20.0),
        turn("turn on the hallway light", 40, "TurnOn", slots={"device": "hallway light"}, dwell_s=60.0),
    ]
    first, second, third = labeller.labels(session)
    assert (first.goal, first.reached, second.goal, second.reached, third.goal) == (0, 2, 1, 1, 0)
    assert first.correction is not None and first.correction.turn == 2
    assert first.correction.text == "turn on the hallway light"
    assert first.correction.interpretation == session[2].interpretation
    assert 0.5 < first.correction.probability <= first.reached_probability <= 1
    assert second.correction is None and third.correction is None


def test_who_gives_up_gets_no_label(labeller: Labeller) -> None:
    session = [
        turn("turn on the hall weigh light", 0, dwell_s=3.0),
        turn("turn on the hall way lied", 15, dwell_s=3.0),
        turn("what time is it", 60, "AskTime", dwell_s=20.0),
    ]
    labels = labeller.labels(session)
    assert [label.goal for label in labels] == [0, 0, 2]
    assert [label.reached for label in labels] == [None, None, 2]
    assert not any(label.correction for label in labels)


def test_two_goals_at_once_are_kept_apart(labeller: Labeller) -> None:
    session = [
        turn("turn on the hall weigh light", 0, dwell_s=3.0),
        turn("set an alarm for sicks", 12, dwell_s=3.0),
        turn("turn on the hallway light", 25, "TurnOn", slots={"device": "hallway light"}, dwell_s=60.0),
        turn("set an alarm for six", 40, "SetAlarm", slots={"time": "six"}, dwell_s=60.0),
    ]
    labels = labeller.labels(session)
    assert [label.goal for label in labels] == [0, 1, 0, 1]
    assert [label.reached for label in labels] == [2, 3, 2, 3]


def test_the_same_words_again_are_one_goal(labeller: Labeller) -> None:
    session = [
        turn("turn on the hallway light", 0, dwell_s=3.0),
        turn("turn on the hallway light", 10, "TurnOn", slots={"device": "hallway light"}, dwell_s=60.0),
    ]
    labels = labeller.labels(session)
    assert [label.reached for label in labels] == [1, 1]
    assert labels[0].correction is not None and uses("x", "x", FailurePoint.ASR) == []


def test_learning_again_gives_the_same(people: People, mined: Mined, labeller: Labeller) -> None:
    again = learn_labeller(people, mined)
    assert (again.goals, again.confidence, again.found) == (labeller.goals, labeller.confidence, labeller.found)


def test_a_labeller_travels(people: People, labeller: Labeller) -> None:
    there = pickle.loads(pickle.dumps(labeller))
    for turns in people.values():
        assert there.labels(turns) == labeller.labels(turns)


def test_nothing_comes_to_nothing(mined: Mined, labeller: Labeller) -> None:
    assert labeller.labels([]) == []
    nobody = learn_labeller({}, mined)
    assert nobody.found == () and nobody.labels([turn("play", 0)])[0].correction is None


def test_precision_is_told_from_the_log(labeller: Labeller) -> None:
    chosen = lowest(labeller.found, 0.9)
    assert chosen is not None and chosen.labels >= 10 and 0.9 <= chosen.at_least <= chosen.precision <= 1
    assert all(0 < t.least <= 1 and 0 <= t.coverage <= 1 for t in labeller.found)


def test_rows_are_what_a_file_of_labels_says(people: People, labeller: Labeller) -> None:
    wanted, seen = Wanted(labeller, 0.8), 0
    for turns in people.values():
        by_id = {t.request.interaction_id: t for t in turns}
        labels = {t.request.interaction_id: label for t, label in zip(turns, labeller.labels(turns), strict=True)}
        rows = list(label_rows(turns, wanted))
        made = [
            {"key": row.key, "amount_0": row.amounts[0], "amount_1": row.amounts[1], "user_id": "u"} for row in rows
        ]
        for record, named in zip(records(made, False), records(made, True), strict=True):
            seen += 1
            assert "user_id" not in record and named == record | {"user_id": "u"}
            correction = labels[record["interaction_id"]].correction
            assert correction is not None and correction.probability >= 0.8
            assert record["heard"] == by_id[record["interaction_id"]].request.query
            assert record["text"] == correction.text and record["intent"] == correction.interpretation.intent
            assert record["slots"] == dict(correction.interpretation.slots)
            assert record["taken_from"] in by_id and record["failure_point"] in set(POINTS) - {FailurePoint.CORRECT}
        kept = [label for label in labels.values() if label.correction and label.correction.probability >= 0.8]
        assert len(kept) == len(rows)
    assert seen > 20


def test_a_rewrite_that_was_served_is_labelled_by_what_was_heard(people: People, labeller: Labeller) -> None:
    wanted = Wanted(labeller, 0.5)
    turns = next(turns for turns in people.values() if any(label_rows(turns, wanted)))
    failed = parts_of(next(label_rows(turns, wanted)).key)[0]
    served = [replace(t, heard="as it was heard") if t.request.interaction_id == failed else t for t in turns]
    assert parts_of(next(label_rows(served, wanted)).key)[1] == "as it was heard"


def test_a_failure_point_is_of_a_turn_that_failed() -> None:
    label = TurnLabel((0.9, 0.0, 0.02, 0.06, 0.02, 0.0), 0, None, 0.0)
    assert label.point is FailurePoint.CORRECT and failed_at(label) == (FailurePoint.NLU, pytest.approx(0.6))
    assert failed_at(TurnLabel((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0, None, 0.0))[1] == 0.2


# ---- any turns


@st.composite
def anybody(draw: st.DrawFn) -> list[Interaction]:
    words = st.sampled_from(["play", "go", "", "turn on the light", "\u0000", "ﬀ́ ünï", "a " * 200, "call bob"])
    at, out = 0.0, []
    for n in range(draw(st.integers(0, 22))):
        at += draw(st.sampled_from([0, 1, 30, 200, 301, 90_000]))
        out.append(
            turn(
                draw(words), at, draw(st.sampled_from([None, "A", "B"])), id=f"i{n}",
                slots=draw(st.sampled_from([None, {"x": "go"}])), alternatives=draw(st.sampled_from([(), ("go", "")])),
                barge_in=draw(st.booleans()), dwell_s=draw(st.sampled_from([None, 0.0, 1e9])),
                explicit=draw(st.sampled_from([None, *Explicit])), channel=draw(st.sampled_from(list(Channel))),
                asr_confidence=draw(st.sampled_from([None, 0.0, 1.0])),
            )
        )  # fmt: skip
    return out


@given(turns=anybody())
@settings(max_examples=25)
def test_any_turns_are_labelled(labeller: Labeller, turns: list[Interaction]) -> None:
    labels = labeller.labels(turns)
    assert labels == labeller.labels(turns) and len(labels) == len(turns)
    spans = {i: span for span in sessions(turns) for i in span}
    for i, label in enumerate(labels):
        assert spans[i].start <= label.goal <= i and labels[label.goal].goal == label.goal
        assert label.reached is None or i <= label.reached < spans[i].stop
        assert label.reached == labels[label.goal].reached and 0 <= label.reached_probability <= 1
        assert sum(label.points) == pytest.approx(1)
        if label.correction is not None:
            assert i < label.correction.turn == label.reached and 0 <= label.correction.probability <= 1
            assert turns[label.correction.turn].interpretation == label.correction.interpretation
    list(label_rows(turns, Wanted(labeller, 0.0)))


def test_one_session_of_a_thousand_turns_is_labelled(labeller: Labeller) -> None:
    """Somebody holds a button down: work grows with the turns, not with their square."""
    rng = random.Random(1)
    turns = [turn(rng.choice(["play go", "ago", "go"]), n, None if n % 7 else "Play", id=f"i{n}") for n in range(1000)]
    assert len(labeller.labels(turns)) == 1000
