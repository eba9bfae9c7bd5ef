"""Choosing without what did harm: the next best of another meaning, trials, and no change where all is well."""

from __future__ import annotations

import numpy as np

from ranker.calibration import Calibration
from ranker.policy import Policy, judge
from ranker.posterior import Foretold
from ranker.retirement import TRIALS, choose, is_tried
from retriever.candidates import Candidate
from retriever.interaction import Interpretation

POLICY = Policy(0.6, 0.3, -1.0, Calibration())
GO, AGO = Interpretation("Video", (("title", "go"),)), Interpretation("Song", (("title", "ago"),))


def told(*harmful: str, harm: float = 0.99):
    """What came of rewrites: the harmful ones did harm."""

    def of(candidate: Candidate, foretold: Foretold) -> float:
        assert 0 <= foretold.rewritten <= 1 and 0 <= foretold.alone <= 1
        return harm if candidate.text in harmful else 0.0

    return of


def candidates(*found: tuple[str, Interpretation | None, float]) -> tuple[list[Candidate], np.ndarray]:
    """(text, reading, probability to win), wrong otherwise."""
    made = [Candidate("play ago", is_query=True), *(Candidate(text, reading) for text, reading, _ in found)]
    outcome = np.array([[0.9, 0.1, 0.0], *([1 - win, 0.0, win] for _, _, win in found)])
    return made, outcome


FOUND = candidates(("watch go", GO, 0.9), ("see go", GO, 0.85), ("the song ago", AGO, 0.8), ("odd", None, 0.2))


def test_nothing_changes_where_nothing_did_harm() -> None:
    choice = choose(*FOUND, POLICY, told(), "t1")
    assert (choice.verdict, choice.accepted) == (judge(*FOUND, POLICY.calibration), True)
    assert (choice.retired, choice.trial) == ((), False)


def test_the_next_best_of_another_meaning_takes_its_place() -> None:
    choice = choose(*FOUND, POLICY, told("watch go"), "t1")
    assert FOUND[0][choice.verdict.best].text == "the song ago", "what is understood alike does the same harm"
    assert (choice.accepted, choice.retired) == (True, ("watch go",))


def test_what_was_never_served_does_not_take_the_place_of_what_means_the_same() -> None:
    choice = choose(*FOUND, POLICY, told("see go"), "t1")
    assert FOUND[0][choice.verdict.best].text == "the song ago"
    assert (choice.accepted, choice.retired) == (True, ("watch go",))

    def served_well(candidate: Candidate, foretold: Foretold) -> float:
        return {"watch go": 0.2, "see go": 0.99}.get(candidate.text, 0.0)

    choice = choose(*FOUND, POLICY, served_well, "t1")
    assert FOUND[0][choice.verdict.best].text == "watch go", "what came of it itself goes first"
    unread = candidates(("watch go", None, 0.9), ("see go", None, 0.85))
    assert choose(*unread, POLICY, told("see go"), "t1").accepted, "what nobody knows the meaning of is like nothing"


def test_what_does_not_reach_the_bounds_by_itself_does_not() -> None:
    choice = choose(*FOUND, POLICY, told("watch go", "the song ago"), "t1")
    assert not choice.accepted
    assert choice.retired == ("watch go", "the song ago")
    assert FOUND[0][choice.verdict.best].text == "watch go", "the figures stay those of the best"


def test_what_would_not_be_asked_anyway_is_not_retired() -> None:
    few = candidates(("odd", None, 0.2))
    choice = choose(*few, POLICY, told("odd"), "t1")
    assert (choice.accepted, choice.retired) == (False, ())


def test_without_candidates_there_is_nothing_to_choose() -> None:
    choice = choose(*candidates(), POLICY, told(), "t1")
    assert (choice.accepted, choice.verdict.best) == (False, None)


def test_a_retired_pair_is_tried_as_often_as_it_may_be_the_better() -> None:
    for harm, share in ((0.91, TRIALS), (0.995, 0.005)):
        trials = [choose(*FOUND, POLICY, told("watch go", harm=harm), f"t{n}").trial for n in range(6_000)]
        assert 0.6 * share < np.mean(trials) < 1.4 * share
    choice = next(c for n in range(9999) if (c := choose(*FOUND, POLICY, told("watch go"), f"t{n}")).trial)
    assert choice.accepted and FOUND[0][choice.verdict.best].text == "watch go"


def test_the_same_request_is_answered_the_same_way_again() -> None:
    draws = [is_tried(f"t{n}", 0.95) for n in range(500)]
    assert draws == [is_tried(f"t{n}", 0.95) for n in range(500)]
    assert any(draws) and not all(draws)
    assert not any(is_tried(f"t{n}", 1.0) for n in range(500))
