"""Which turns are of one goal, by links and by what served: on dialogues made by hand, and on any."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mining.defects import TurnEvidence, assess
from mining.labels.goal_model import Links
from mining.labels.goals import LINKED, Goal, goals_of, judged, links_of_repairs, missed, support
from mining.reactions import PUBLISHED
from retriever.interaction import Interaction
from tests.turns import turn

NEAR_S, FAR_S = 20, 4000


def said(*texts: str, failed: str = "", gap_s: float = NEAR_S) -> tuple[list[Interaction], list[TurnEvidence]]:
    """Turns of one session; those whose place in `failed` has an x got no answer."""
    marks = failed.ljust(len(texts))
    turns = [
        turn(text, n * gap_s, None if mark == "x" else f"Do{n}")
        for n, (text, mark) in enumerate(zip(texts, marks, strict=True))
    ]
    return turns, [TurnEvidence(frozenset(), 1.0 if mark == "x" else 0.0) for mark in marks]


def found(
    turns: list[Interaction], evidence: list[TurnEvidence], links: Links
) -> list[tuple[tuple[int, ...], int | None]]:
    return [(goal.turns, goal.reached) for goal in goals_of(turns, evidence, links)]


def test_a_goal_is_pursued_past_what_lies_between() -> None:
    turns, evidence = said("play ago", "what time is it", "watch the movie go", failed="x")
    assert found(turns, evidence, {(0, 2): 0.9, (0, 1): 0.1}) == [((0, 2), 2), ((1,), 1)]


def test_a_goal_that_is_given_up_keeps_its_attempts() -> None:
    turns, evidence = said("play ago", "play a go", "what time is it", failed="xx")
    assert found(turns, evidence, {(0, 1): 0.8, (1, 2): 0.2}) == [((0, 1), None), ((2,), 2)]


def test_two_goals_lie_between_each_other() -> None:
    turns, evidence = said("play ago", "call bopp", "play a go", "call bob", "watch go", failed="xxx")
    links = {(0, 2): 0.9, (1, 3): 0.9, (2, 4): 0.8, (0, 4): 0.6, (1, 2): 0.3}
    assert found(turns, evidence, links) == [((0, 2, 4), 4), ((1, 3), 3)]


def test_the_surer_link_decides() -> None:
    turns, evidence = said("play ago", "play ego", "watch go", failed="xx")
    assert found(turns, evidence, {(0, 2): 0.6, (1, 2): 0.9}) == [((0,), None), ((1, 2), 2)]


def test_what_was_served_is_closed() -> None:
    turns, evidence = said("play go", "play go")
    assert found(turns, evidence, {(0, 1): 0.99}) == [((0,), 0), ((1,), 1)]


def test_sessions_share_no_goal() -> None:
    turns, evidence = said("play ago", "watch go", failed="x", gap_s=FAR_S)
    assert found(turns, evidence, {(0, 1): 0.99}) == [((0,), None), ((1,), 1)]


def test_nothing_comes_to_nothing() -> None:
    assert goals_of([], [], {}) == []


def test_the_rules_own_verdicts_are_links() -> None:
    turns = [turn("play ago", 0), turn("play a go", 15), turn("play go", 30, "Play")]
    evidence = assess(turns)
    assert [e.goal for e in evidence] == [2, 2, None]
    assert links_of_repairs(evidence) == {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0}
    assert found(turns, evidence, links_of_repairs(evidence)) == [((0, 1, 2), 2)]


def test_a_link_makes_a_wrong_answer_a_failure() -> None:
    """What the rules cannot see between unrelated turns, the link tells, and the answer counts as wrong."""
    turns = [
        turn("play ago", 0, "Play", slots={"what": "ago"}, barge_in=True, dwell_s=1.0),
        turn("what time is it", 20, "Time"),
        turn("watch the movie go", 40, "Watch", slots={"what": "go"}),
    ]
    by_rules, told = assess(turns), judged(turns, PUBLISHED, {(0, 2): 0.95})
    assert by_rules[0].goal is None and told[0].goal == 2
    assert told[0].defect > by_rules[0].defect and told[0].failed


def test_support_takes_the_best_way() -> None:
    links = {(0, 2): 0.6, (2, 4): 0.9, (0, 4): 0.5}
    goal = Goal((0, 2, 4), 4, (1.0, 0.6, 0.9))
    assert support(goal, 0, links) == 0.6 and support(goal, 2, links) == 0.9
    assert support(Goal((0, 4), 4, (1.0, 0.5)), 0, links) == 0.5


def test_a_goal_that_was_perhaps_missed() -> None:
    turns, evidence = said("play ago", "what time is it", "watch go", failed="x")
    goal = goals_of(turns, evidence, {(0, 1): 0.1, (0, 2): 0.4})[0]
    assert missed(goal, evidence, {(0, 1): 0.1, (0, 2): 0.4}) == 0.4


# ---- any dialogue


@st.composite
def dialogues(draw: st.DrawFn) -> tuple[list[Interaction], list[TurnEvidence], Links]:
    n = draw(st.integers(1, 12))
    gaps = draw(st.lists(st.sampled_from([5, 60, 299, 301, 9000]), min_size=n, max_size=n))
    failed = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    at, turns = 0, []
    for k in range(n):
        at += gaps[k]
        turns.append(turn(f"text {k}", at, None if failed[k] else "Do"))
    pairs = [(i, k) for i in range(n) for k in range(i + 1, n)]
    p = st.floats(0, 1)
    links = {pair: draw(p) for pair in pairs if draw(st.booleans())}
    return turns, [TurnEvidence(frozenset(), float(f)) for f in failed], links


def plainly(turns: list[Interaction], evidence: list[TurnEvidence], links: Links) -> list[list[int]]:
    """The slow twin: every open goal is asked about every turn."""
    goals: list[list[int]] = []
    for k in range(len(turns)):
        new_session = k and turns[k].request.timestamp_ms - turns[k - 1].request.timestamp_ms > 300_000
        if k == 0 or new_session:
            start = len(goals)
        open_ = [goal for goal in goals[start:] if all(evidence[i].failed for i in goal)]
        likely = [(max(links.get((i, k), 0.0) for i in goal), goal) for goal in open_]
        best = max((p for p, _ in likely), default=0.0)
        if best >= LINKED:
            next(goal for p, goal in reversed(likely) if p == best).append(k)
        else:
            goals.append([k])
    return goals


@given(dialogues())
@settings(max_examples=100)
def test_goals_are_as_the_slow_twin_says(case: tuple[list[Interaction], list[TurnEvidence], Links]) -> None:
    turns, evidence, links = case
    goals = goals_of(*case)
    if len(set(links.values())) == len(links):  # where no two links are even
        assert [list(goal.turns) for goal in goals] == sorted(plainly(turns, evidence, links))
    of = sorted(i for goal in goals for i in goal.turns)
    assert of == list(range(len(turns))), "every turn is of one goal"
    for goal in goals:
        assert list(goal.turns) == sorted(goal.turns) and len(goal.link) == len(goal.turns)
        assert goal.reached is None or (goal.reached == goal.turns[-1] and not evidence[goal.reached].failed)
        assert all(evidence[i].failed for i in goal.turns if i != goal.reached)
        assert 0 <= missed(goal, evidence, links) < LINKED
