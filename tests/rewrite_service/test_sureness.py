"""What labels weigh: how sure a goal is, what a turn is worth, and what the ranker and its threshold make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.labels.turn_label import POINTS, Correction, TurnLabel
from ranker.calibration import Calibration
from ranker.feature_names import NAMES
from ranker.model import NEEDLESS, WIN, WRONG
from retriever.candidates import Candidate
from retriever.interaction import Interpretation
from rewrite_service.examples import Example
from rewrite_service.goals import Goal
from rewrite_service.learning import Calibrations, Judged, _chosen, calibrate, trial
from rewrite_service.sureness import LEAST, LIKELY, SURE, Sureness, by_label

GO, BRUNO = Interpretation("Film", (("film", "go"),)), Interpretation("Song", (("song", "bruno"),))
SERVED, MEANT, UNKNOWN = Goal(True, True, "play go", GO), Goal(False, True, "watch go", GO), Goal(False, False)


def labelled(points: tuple[float, ...], reading: Interpretation | None = None, probability: float = 0.9) -> TurnLabel:
    told = None if reading is None else Correction("watch go", reading, probability, 3)
    return TurnLabel(points, 0, None, 0.0, told)


ASR = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
HALF = (0.25, 0.25, 0.2, 0.1, 0.1, 0.1)


def test_without_a_label_the_rules_are_taken_at_their_word() -> None:
    for goal in (None, SERVED, MEANT, UNKNOWN):
        assert by_label(goal, None) == (goal, SURE)


def test_a_goal_is_as_sure_as_the_label_that_says_the_same() -> None:
    assert by_label(MEANT, labelled(ASR, GO)) == (MEANT, Sureness(wish=0.9))
    assert by_label(MEANT, labelled(ASR)) == (MEANT, SURE), "the user's own habit told it"


def test_a_goal_is_as_unsure_as_a_label_that_says_otherwise_is_sure() -> None:
    goal, sure = by_label(Goal(False, True, "play bruno", BRUNO), labelled(ASR, GO))
    assert goal == Goal(False, True, "play bruno", BRUNO) and sure.wish == pytest.approx(0.1)
    goal, sure = by_label(SERVED, labelled(HALF, BRUNO, 0.6))
    assert goal == SERVED and sure.turn == pytest.approx(0.4) and sure.wish == 1.0


def test_a_label_says_what_the_rules_do_not_know_if_it_is_likelier_than_not() -> None:
    for goal in (None, UNKNOWN):
        assert by_label(goal, labelled(ASR, GO)) == (MEANT, Sureness(wish=0.9))
        assert by_label(goal, labelled(ASR, GO, 0.4)) == (goal, SURE)


def test_a_turn_is_worth_what_it_is_sure_to_show() -> None:
    assert by_label(SERVED, labelled((0.9, 0.0, 0.1, 0.0, 0.0, 0.0))) == (SERVED, Sureness(turn=0.9))
    goal, sure = by_label(UNKNOWN, labelled((0.2, 0.1, 0.3, 0.2, 0.1, 0.1)))
    assert goal == UNKNOWN and sure.turn == pytest.approx(0.6), "as far as other words would have helped"
    impossible = labelled((0.9, 0.0, 0.1, 0.0, 0.0, 0.0))
    assert by_label(UNKNOWN, impossible) == (UNKNOWN, Sureness(turn=pytest.approx(0.1)))
    for overheard, done_wrongly in ((0.6, 0.0), (0.0, 0.6), (0.3, 0.3)):
        assert by_label(UNKNOWN, labelled((0.0, overheard, 0.4, 0.0, 0.0, done_wrongly))) == (None, SURE)


points = st.lists(st.floats(0, 1), min_size=len(POINTS), max_size=len(POINTS)).filter(sum).map(
    lambda p: tuple(v / sum(p) for v in p)
)


@given(st.sampled_from([None, SERVED, MEANT, UNKNOWN]), points, st.sampled_from([None, GO, BRUNO]), st.floats(0, 1))
def test_weights_are_above_nothing_and_no_more_than_one(
    goal: Goal | None, of: tuple[float, ...], reading: Interpretation | None, probability: float
) -> None:
    found, sure = by_label(goal, labelled(of, reading, probability))
    assert LEAST <= sure.wish <= 1 and LEAST <= sure.turn <= 1
    assert found in (goal, None, Goal(False, True, "watch go", reading))
    if found is not None and not found.served and not found.known:
        assert sure.wish == 1, "there is no goal that could be sure"
    if goal is None and found is not None:
        assert probability >= LIKELY


def example(outcome: int, wish: float, goal: Goal = MEANT) -> Example:
    first = NEEDLESS if goal.served else WRONG
    candidates = (Candidate("play go", is_query=True), Candidate("watch go", GO))
    x = np.zeros((2, len(NAMES)), np.float32)
    outcomes = np.array([first, outcome], np.int8)
    return Example("ann", 0, 1000, x, candidates, goal, outcomes, True, False, 0.5, wish=wish)


def test_that_the_query_fails_is_sure_however_unsure_the_goal() -> None:
    rows, weight = _chosen(example(WIN, wish=0.2))
    assert rows.tolist() == [0, 1] and weight.tolist() == pytest.approx([0.5, 0.1])


def test_a_win_counts_as_far_as_its_goal_is_sure_and_the_rest_as_of_a_goal_that_nobody_knows() -> None:
    as_is, surer = Calibration((0.0, 1.0), (0.0, 1.0)), Calibration((0.0, 1.0), (0.5, 1.0))
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8]])

    def of(e: Example) -> tuple[float, float, float, float]:
        t = trial(Judged(e, p), Calibrations(all=as_is, failed=surer))
        assert t.verdict.probability == pytest.approx(0.8), "what decides is said of all requests"
        assert t.win + t.loss + t.missed + t.needless == pytest.approx(1)
        return t.win, t.loss, t.missed, t.needless

    unknown = of(replace(example(WIN, 1.0, UNKNOWN), outcome=np.array([WRONG, -1], np.int8)))
    assert unknown[0] == pytest.approx(0.9) and unknown[1] == unknown[3] == 0, "as of others that failed"
    assert of(example(WIN, 1.0)) == (1, 0, 0, 0) and of(example(WRONG, 1.0)) == (0, 0, 1, 0)
    assert of(example(WIN, 0.25))[0] == pytest.approx(0.25 + 0.75 * unknown[0])
    assert of(example(WRONG, 0.25))[2] == pytest.approx(0.25 + 0.75 * unknown[2])
    assert of(example(WRONG, 1.0, SERVED)) == (0, 1, 0, 0) and of(example(NEEDLESS, 1.0, SERVED)) == (0, 0, 0, 1)


def test_what_failed_cannot_be_broken_and_is_calibrated_by_itself() -> None:
    """Forty in a hundred of these rewrites break what served; of those of requests that failed, none misses."""
    won, broke = example(WIN, 1.0), example(WRONG, 1.0, SERVED)
    p = np.array([[0.5, 0.5, 0.0], [0.3, 0.0, 0.7]])
    failed_alone = [Judged(won, p)] * 59 + [Judged(example(WRONG, 1.0), p)]
    found = calibrate([*failed_alone, *[Judged(broke, p)] * 40])
    assert float(found.all.apply(0.7)) == pytest.approx(0.59, abs=0.01)
    assert float(found.failed.apply(0.7)) == pytest.approx(59 / 60, abs=0.01)
    few = calibrate([*failed_alone[-40:], *[Judged(broke, p)] * 40])
    assert few.failed == few.all != Calibration(), "of too few that failed, what is known of all"
    assert calibrate([]) == Calibrations(Calibration(), Calibration())
    nobody_knows = [Judged(replace(won, goal=UNKNOWN, outcome=np.array([WRONG, -1], np.int8)), p)] * 60
    assert calibrate(nobody_knows) == calibrate([]), "they tell nothing of what would have won"
