"""Defect signals and repairs, on short dialogues whose truth is plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining import defects
from mining.defects import Signal, assess
from mining.reactions import PUBLISHED
from mining.rephrases import Mark
from mining.sessions import SESSION_GAP_MS, sessions
from retriever.interaction import Channel, Explicit
from tests.turns import turn

SPRINGFIELD_IL = {"city": "springfield", "state": "illinois"}
SPRINGFIELD_MA = {"city": "springfield", "state": "massachusetts"}


def test_a_mishearing_said_again_is_a_repair() -> None:
    turns = [turn("play ago"), turn("play go", 20, "Play", slots={"title": "go"})]
    failed, fine = assess(turns)
    assert failed.failed and failed.goal == 1 and Signal.NO_MATCH in failed.signals
    assert not fine.failed and fine.goal is None


def test_a_guess_said_in_full_is_a_repair() -> None:
    turns = [
        turn("weather in springfield", 0, "Weather", slots=SPRINGFIELD_IL),
        turn("what's the weather in springfield massachusetts", 15, "Weather", slots=SPRINGFIELD_MA),
    ]
    assert assess(turns)[0].goal == 1 and Signal.REPHRASED in assess(turns)[0].signals


def test_a_quick_other_wish_is_no_repair() -> None:
    turns = [
        turn("weather in boston", 0, "Weather", slots={"city": "boston"}),
        turn("weather in denver", 15, "Weather", slots={"city": "denver"}),
        turn("turn on the lamp", 30, "Device", slots={"action": "on", "device": "lamp"}),
        turn("turn off the lamp", 50, "Device", slots={"action": "off", "device": "lamp"}),
    ]
    assert [e.goal for e in assess(turns)] == [None] * 4 and not any(e.failed for e in assess(turns))


def test_a_follow_up_said_in_full_is_a_repair_by_what_it_carries_on() -> None:
    turns = [
        turn("turn on the den lamp", 0, "Device", slots={"action": "on", "device": "den lamp"}),
        turn("switch it off", 20),
        turn("turn off the den lamp", 35, "Device", slots={"action": "off", "device": "den lamp"}),
    ]
    assert [e.goal for e in assess(turns)] == [None, 2, None]


def test_typing_after_not_being_heard_is_a_repair() -> None:
    turns = [turn("call xylophone"), turn("call siobhan", 30, "Call", slots={"name": "siobhan"}, channel=Channel.APP)]
    assert assess(turns)[0].goal == 1 and Signal.APP_FOLLOW_UP in assess(turns)[0].signals


def test_a_chain_of_failures_leads_to_one_goal() -> None:
    turns = [turn("play a go"), turn("play a go", 10), turn("play go", 20, "Play", slots={"title": "go"})]
    assert [e.goal for e in assess(turns)] == [2, 2, None]
    assert Signal.REPEATED in assess(turns)[0].signals


def test_what_a_user_always_does_next_is_a_repair_however_unlike() -> None:
    def once(at: float) -> list:
        return [turn("play ago", at), turn("watch the movie go", at + 20, "Video", slots={"title": "go"})]

    assert [e.goal for e in assess(once(0))] == [None, None]
    assert [e.goal for e in assess([*once(0), *once(9000)])] == [1, None, 3, None]
    others = [turn(text, 20_000 + i * 1000 + 20, "X") for i, text in enumerate(("news", "set a timer for ten minutes"))]
    mixed = [*once(0), *once(9000)]
    for other in others:
        at = (other.request.timestamp_ms - mixed[0].request.timestamp_ms) / 1000
        mixed += [turn("play ago", at - 20), other]
    assert [e.goal for e in assess(mixed)] == [None] * 8, "followed by other things just as often"


def test_what_comes_too_late_is_no_repair() -> None:
    turns = [turn("play ago"), turn("play go", 200, "Play", slots={"title": "go"})]
    assert assess(turns)[0].goal is None and assess(turns)[0].failed


@pytest.mark.parametrize(
    ("feedback", "failed"),
    [
        ({"explicit": Explicit.NO}, True),
        ({"explicit": Explicit.YES, "barge_in": True}, False),
        ({"barge_in": True}, False),
    ],
)
def test_words_count_more_than_barging_in(feedback: dict, failed: bool) -> None:
    assert assess([turn("play go", 0, "Play", **feedback)])[0].failed is failed


def test_a_turn_is_judged_by_what_became_of_the_others_like_it() -> None:
    """Whoever is misheard is misheard again: a silent turn among repaired ones is hardly fine, and one barge-in among
    many content turns is hardly wrong."""
    alone = assess([turn("play cream", 0, "Play", slots={"artist": "cream"}, dwell_s=None)])[0].defect
    often = []
    for n in range(4):
        often += [
            turn("play cream", n * 9000, "Play", slots={"artist": "cream"}, explicit=Explicit.NO),
            turn("play queen", n * 9000 + 20, "Play", slots={"artist": "queen"}),
        ]
    silent = turn("play cream", 90_000, "Play", slots={"artist": "cream"}, dwell_s=None)
    assert assess([*often, silent])[-1].defect > 0.4 > 5 * alone
    hasty = {"slots": {"artist": "queen"}, "barge_in": True}
    content = [turn("play queen", n * 9000, "Play", slots={"artist": "queen"}) for n in range(6)]
    once = assess([turn("play queen", 90_000, "Play", **hasty)])[-1].defect
    assert assess([*content, turn("play queen", 90_000, "Play", **hasty)])[-1].defect < once / 2


def test_a_repair_needs_a_better_answer() -> None:
    again = [
        turn("play go", 0, "Play", barge_in=True, slots={"t": "go"}),
        turn("play go", 9, "Play", slots={"t": "go"}),
    ]
    assert assess(again)[0].goal is None


TURN = st.builds(
    turn,
    st.sampled_from(["play go", "play ago", "weather in boston", "weather in austin", "switch it off", ""]),
    st.integers(0, 2000),
    st.sampled_from([None, "Play", "Weather"]),
    barge_in=st.booleans(),
    explicit=st.sampled_from([None, Explicit.NO, Explicit.YES]),
)


@given(st.lists(TURN, max_size=12))
def test_evidence_is_sane_for_any_turns(turns: list) -> None:
    turns.sort(key=lambda t: t.request.timestamp_ms)
    evidence = assess(turns)
    assert len(evidence) == len(turns)
    for i, e in enumerate(evidence):
        assert 0 <= e.defect <= 1
        if e.goal is not None:
            assert e.goal > i and e.failed and not evidence[e.goal].failed
            assert turns[e.goal].request.timestamp_ms - turns[i].request.timestamp_ms <= 5 * SESSION_GAP_MS


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_sessions_cover_all_turns_and_break_only_at_long_pauses(seconds: list[int]) -> None:
    turns = [turn("play go", s) for s in sorted(seconds)]
    spans = list(sessions(turns))
    assert [i for span in spans for i in span] == list(range(len(turns)))
    starts = {span.start for span in spans}
    for i in range(1, len(turns)):
        gap = turns[i].request.timestamp_ms - turns[i - 1].request.timestamp_ms
        assert (gap > SESSION_GAP_MS) == (i in starts)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["play go", "play ago", "play brew no", "weather in springfield", "stop"]),
            st.sampled_from([None, "Play", "Weather"]),
            st.sampled_from([5, 40, 130, 400]),
            st.booleans(),
        ),
        max_size=14,
    )
)
def test_judging_twice_leans_on_nothing_of_the_first_time(told: list[tuple[str, str | None, int, bool]]) -> None:
    """What is found once for both judgements is what each finds for itself."""
    at, turns = 0, []
    for text, intent, pause, screen in told:
        at += pause
        turns.append(turn(text, at, intent, slots={"title": text} if intent else None, screen=screen))
    anew = defects._assess_all(defects._Course(turns, PUBLISHED), {})
    expected = defects._own_record(turns, anew, PUBLISHED)
    assert assess(turns) == defects._assess_all(defects._Course(turns, PUBLISHED), expected)


def test_marks_take_the_place_of_the_rules() -> None:
    turns = [
        turn("play ago", 0),
        turn("set a timer", 20, "Timer"),
        turn("watch the movie go", 40, "Film"),
        turn("watch the movie goo", 5000),
        turn("watch the movie gone", 5010, None),
        turn("watch the movie go", 5020, "Film"),
    ]
    assert next(e.goal for e in assess(turns)) is None
    marks = [Mark(2, 0.9), Mark(2, 0.4), None, Mark(4, 0.8), Mark(5, 0.7), None]
    evidence = assess(turns, marks=marks)
    assert [e.goal for e in evidence] == [2, None, None, 5, 5, None], "what is marked and failed leads on"
    assert Signal.REPHRASED in evidence[0].signals
    assert [e.goal for e in assess(turns[:5], marks=marks)][3:] == [None, None], "what has not come yet is no goal"
    unsure = [m and Mark(m.goal, 0.49) for m in marks]
    assert {e.goal for e in assess(turns, marks=unsure)} == {None}


def test_a_mark_on_the_same_answer_repairs_nothing() -> None:
    turns = [turn("play go", 0, "Film", barge_in=True, dwell_s=0.2), turn("play go", 5, "Film")]
    evidence = assess(turns, marks=[Mark(1, 0.99), None])
    assert evidence[0].goal is None and Signal.REPEATED in evidence[0].signals
