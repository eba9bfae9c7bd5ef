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
from ranker.policy import choose, tally
from retriever.candidates import Candidate
from retriever.interaction import Interpretation
from rewrite_service.examples import Example
from rewrite_service.goals import Goal
from rewrite_service.held_out_days import MEANING_ELSEWHERE, Calibrations, Judged, calibrate, doubted, trial
from rewrite_service.learning import _chosen
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


points = (
    st.lists(st.floats(0, 1), min_size=len(POINTS), max_size=len(POINTS))
    .filter(sum)
    .map(lambda p: tuple(v / sum(p) for v in p))
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
        t = trial(Judged.as_told(e, p), Calibrations(all=as_is, failed=surer))
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
    failed_alone = [Judged.as_told(won, p)] * 59 + [Judged.as_told(example(WRONG, 1.0), p)]
    found = calibrate([*failed_alone * 9, *[Judged.as_told(broke, p)] * 360])
    assert float(found.all.apply(0.69)) == pytest.approx(0.59, abs=0.02)
    assert float(found.failed.apply(0.69)) == pytest.approx(59 / 60, abs=0.05)
    few = calibrate([*failed_alone[-10:], *[Judged.as_told(broke, p)] * 10])
    assert float(few.all.apply(0.7)) > 0.6, "twenty cases say little beside what scores mean elsewhere"
    nothing = calibrate([])
    for told in (nothing.all, nothing.failed):
        assert told.apply(np.array([0.1, 0.4, 0.75])) == pytest.approx(
            MEANING_ELSEWHERE.probability(np.array([0.1, 0.4, 0.75])), abs=0.02
        )
    nobody_knows = [Judged.as_told(replace(won, goal=UNKNOWN, outcome=np.array([WRONG, -1], np.int8)), p)] * 60
    assert calibrate(nobody_knows) == calibrate([]), "they tell nothing of what would have won"


FAILS = np.array([[0.9, 0.1, 0.0], [0.05, 0.0, 0.95]])
SERVES = np.array([[0.05, 0.95, 0.0], [0.98, 0.0, 0.02]])
SILENT, CONTENT = -1.9, -9.0
"""What is seen of users who go on without a word, and of those who stay with an answer for long."""


def told(outcome: int, goal: Goal, p: np.ndarray, sign: float = CONTENT, wish: float = 1.0) -> Judged:
    return Judged.as_told(replace(example(outcome, wish, goal), sign=sign), p)


PLAIN = [told(WIN, MEANT, FAILS)] * 95 + [told(WRONG, MEANT, FAILS)] * 5 + [told(WRONG, SERVED, SERVES)] * 300


def test_whoever_is_silent_where_all_else_speaks_for_a_failure_was_not_served() -> None:
    """What looks just like these fails whenever anything is said of it, and was best asked as the candidate says."""
    silent = [told(WRONG, SERVED, FAILS, SILENT)] * 10
    now, calibrations = doubted([*PLAIN, *silent, *[told(WRONG, SERVED, FAILS)] * 5])
    by_sign = {j.example.sign: j for j in now[len(PLAIN) :]}
    assert by_sign[SILENT].failed > 0.5 and by_sign[CONTENT].failed < 0.02
    found = trial(by_sign[SILENT], calibrations)
    assert found.loss == pytest.approx(1 - by_sign[SILENT].failed) and found.win > 0.45
    assert trial(by_sign[CONTENT], calibrations).loss > 0.98, "who is content has something to lose"
    assert all(j.failed < 1e-3 for j in now[100 : len(PLAIN)]), "nothing speaks for a failure of these"
    assert [j.failed for j in now[:100]] == [1.0] * 100


def test_what_means_the_same_as_was_answered_is_right_or_wrong_with_it() -> None:
    """Answered as the candidate would have been, the query fails where the candidate is wrong, however odd it looks."""
    likely_wrong = np.array([[0.9, 0.1, 0.0], [0.7, 0.05, 0.25]])
    some = [told(WRONG, MEANT, likely_wrong)] * 60
    now, _ = doubted([*PLAIN, *some, *[told(NEEDLESS, SERVED, FAILS, SILENT)] * 10])
    assert now[-1].failed < 0.02
    now, calibrations = doubted([*PLAIN, *some, *[told(NEEDLESS, SERVED, likely_wrong, SILENT)] * 10])
    assert now[-1].failed > 0.05
    found = trial(now[-1], calibrations)
    assert found.win == found.loss == 0 and found.missed == pytest.approx(now[-1].failed), "the same again helps nobody"


def test_a_doubtful_wish_gives_way_to_a_likely_candidate_and_a_sure_one_does_not() -> None:
    unsure, sure = told(WRONG, MEANT, FAILS, wish=0.7), told(WRONG, MEANT, FAILS)
    now, _ = doubted([*PLAIN, unsure, sure, told(WIN, MEANT, FAILS, wish=0.7)])
    assert now[-3].wish < 0.2 and now[-2].wish == 1.0
    assert now[-1].wish == 0.7, "label and candidate agree"
    unlikely = np.array([[0.9, 0.1, 0.0], [0.96, 0.0, 0.04]])
    now, _ = doubted([*PLAIN, *[told(WRONG, MEANT, unlikely)] * 60, told(WRONG, MEANT, unlikely, wish=0.7)])
    assert now[-1].wish > 0.9, "nothing speaks against it"


def test_silent_failures_do_not_make_good_rewrites_look_harmful() -> None:
    """Eight in a hundred of those who fail say nothing: taken at their word, no threshold would keep twenty to one."""
    silent = [told(WRONG, SERVED, FAILS, SILENT)] * 8
    log = [told(WIN, MEANT, FAILS)] * 92 + silent + [told(WRONG, SERVED, SERVES)] * 300

    def wins(judged: list[Judged], calibrations: Calibrations) -> float:
        trials, failed = [trial(j, calibrations) for j in judged], sum(j.failed for j in judged)
        return tally(trials, failed, choose(trials, failed, calibrations.all, 12.0, 0.03)).wins

    assert wins(log, calibrate(log)) == 0
    assert wins(*doubted(log)) > 90


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SERVED, MEANT, UNKNOWN]),
            st.sampled_from([WRONG, WIN]),
            st.floats(0.01, 1),
            st.floats(0.01, 0.99),
            st.floats(0.01, 0.99),
        ),
        min_size=1,
        max_size=120,
    ),
    st.booleans(),
)
def test_only_what_is_doubtful_is_doubted(rows: list[tuple[Goal, int, float, float, float]], certain: bool) -> None:
    judged = []
    for goal, outcome, wish, fails, wins in rows:
        p = np.array([[fails, 1 - fails, 0.0], [1 - wins, 0.0, wins]])
        seen = -np.inf if certain else -5 * wish
        outcome = -1 if not goal.known else (NEEDLESS if outcome == WIN else WRONG) if goal.served else outcome
        judged.append(told(outcome, goal, p, seen, 1.0 if certain or not goal.known else wish))
    now, calibrations = doubted(judged)
    assert all(0 <= j.failed <= 1 and 0 <= j.wish <= 1 for j in now)
    for j in now:
        t = trial(j, calibrations)
        assert t.win + t.loss + t.missed + t.needless == pytest.approx(1)
        assert min(t.win, t.loss, t.missed, t.needless) >= 0
    assert [j.failed for j in now if not j.example.goal.served] == [1.0] * sum(not j.example.goal.served for j in now)
    if certain:
        assert [j.failed for j in now] == pytest.approx([j.failed for j in judged])
        assert [j.wish for j in now] == [j.wish for j in judged]
