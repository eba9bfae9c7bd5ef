"""Training examples: what a request is shown lies in its past, and what a turn teaches follows from what came of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mining.defects import assess, sign_of
from mining.labels.confidence import Confidence
from mining.labels.failure_points import FailurePoints
from mining.labels.goal_model import Links
from mining.labels.labelling import Labeller
from mining.labels.point_words import PointWords
from mining.labels.turn_label import Correction, TurnLabel
from mining.labels.usual import Usual
from mining.mined import mine_people
from mining.rephrases import Mark
from ranker.feature_names import NAMES
from ranker.model import NEEDLESS, WIN, WRONG
from retriever.candidates import Candidate
from retriever.completion import Completer, Rule
from retriever.encoder import Encoder
from retriever.interaction import Channel, Explicit, Feedback, Interaction, Interpretation, Outcome
from retriever.vector_cache import CachedEncoder
from rewrite_service.errors import BundleError
from rewrite_service.examples import (
    Example,
    Miner,
    Replay,
    block_starts,
    examples,
    is_first_attempt,
    label,
    learn_knowledge,
)
from rewrite_service.goals import Goal, goal_of, told
from rewrite_service.side_by_side import replayed
from tests.turns import DAY_S, turn

NO_RULES = Completer([])

GO = Interpretation("Film", (("film", "go"),))
People = Mapping[str, Sequence[Interaction]]


@pytest.fixture(scope="module")
def meaning() -> CachedEncoder:
    return CachedEncoder(Encoder(), Encoder.DIMENSION, 64 << 20)


def heard_wrong(user: str, at_s: float, heard: str = "play ago", meant: str = "play go") -> list[Interaction]:
    """A turn that is not understood, and the one that repairs it."""
    film = meant.removeprefix("play ")
    return [turn(heard, at_s, user=user), turn(meant, at_s + 15, "Film", user, slots={"film": film})]


def small_log() -> dict[str, list[Interaction]]:
    """Three people, twelve days: things that work, things heard wrong and repaired, wishes given up."""
    people: dict[str, list[Interaction]] = {}
    for n, user in enumerate(("ann", "bob", "cat")):
        turns: list[Interaction] = []
        for d in range(12):
            at = d * DAY_S + n * 60
            turns.append(turn("call mom", at, "Call", user, slots={"contact": "mom"}))
            turns += heard_wrong(user, at + 3600)
            turns.append(turn("turn on the light", at + 7200, "Switch", user, slots={"device": "light"}))
            if d % 3 == n:
                turns += heard_wrong(user, at + 9000, "play brew no", "play bruno")
            if d % 4 == n:
                turns.append(turn("mumble mumble", at + 12_000, user=user))
        people[user] = turns
    return people


def made_from(people: People, meaning: CachedEncoder, mask: bool = False, blocks: int = 3) -> list[Example]:
    return list(examples(Replay.of(people, meaning, blocks=blocks, min_people=2, mask=mask)))


def test_an_example_carries_what_was_seen_of_its_user(meaning: CachedEncoder) -> None:
    """By which the labels of held-out days are doubted."""
    people = small_log()
    people["ann"] = [
        replace(t, feedback=Feedback(barge_in=True, dwell_s=1.0)) if t.request.query == "turn on the light" else t
        for t in people["ann"]
    ]
    replay = Replay.of(people, meaning, blocks=3, min_people=2, mask=False)
    seen = {
        (user, t.request.timestamp_ms): sign_of(t, e, replay.reactions)
        for user, turns in people.items()
        for t, e in zip(turns, assess(turns, replay.reactions), strict=True)
    }
    made = list(examples(replay))
    assert [e.sign for e in made] == [seen[e.user, e.timestamp_ms] for e in made]
    unanswered = [e.sign for e in made if e.candidates[0].text in ("play ago", "mumble mumble")]
    assert unanswered and set(unanswered) == {np.inf}
    left = [e.sign for e in made if e.user == "ann" and e.candidates[0].text == "turn on the light"]
    stayed = [e.sign for e in made if e.user == "bob" and e.candidates[0].text == "turn on the light"]
    assert left and stayed and min(left) > max(stayed)


OWN, SHARED = NAMES.index("own_successes"), NAMES.index("query_attempts")


def as_if_unreached(e: Example) -> bool:
    """Whether an example shows its user's past without the goal: masked, with both layers on."""
    return e.masked and not np.isnan(e.x[:, [OWN, SHARED]]).any()


def shown(made: Sequence[Example], until_ms: int) -> dict[tuple[str, int, bool, int], tuple[bytes, tuple[str, ...]]]:
    """What the requests up to a moment are shown: features to the last bit, and the candidates' texts. But for those
    that are shown with less than was known: which turns these leave out depends on the goal."""
    return {
        (e.user, e.timestamp_ms, e.masked, e.block): (e.x.tobytes(), tuple(c.text for c in e.candidates))
        for e in made
        if e.timestamp_ms <= until_ms and not as_if_unreached(e)
    }


STAMPS = sorted(t.request.timestamp_ms for turns in small_log().values() for t in turns)
TEXTS = ("call mom", "play go", "play ago", "play bruno", "turn on the light", "play gold", "", "somewhere else")
results = st.tuples(
    st.sampled_from(TEXTS),
    st.sampled_from([None, GO, Interpretation("Call", (("contact", "mom"),))]),
    st.booleans(),
    st.sampled_from([None, Explicit.YES, Explicit.NO]),
)


def came_out(t: Interaction, reading: Interpretation | None, barge_in: bool, explicit: Explicit | None) -> Interaction:
    outcome = Outcome.OK if reading else Outcome.NO_MATCH
    return replace(t, interpretation=reading, outcome=outcome, feedback=Feedback(barge_in, explicit, 3.0))


@pytest.mark.no_cover  # twice as long with it, and nothing that others do not go through
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example builds twice, too slow to make it small
)
@given(now=st.sampled_from(STAMPS[len(STAMPS) // 2 :]), later=st.lists(results, min_size=7, max_size=7))
def test_no_request_is_shown_what_came_after_it(
    meaning: CachedEncoder, now: int, later: list[tuple[str, Interpretation | None, bool, Explicit | None]]
) -> None:
    """All that came after a moment, and what came of the very last request, may be anything."""
    people = small_log()
    changed: dict[str, list[Interaction]] = {}
    for user, turns in people.items():
        changed[user] = []
        for i, t in enumerate(turns):
            text, *result = later[i % len(later)]
            if t.request.timestamp_ms > now:
                t = came_out(replace(t, request=replace(t.request, query=text)), *result)
            elif t.request.timestamp_ms == now:
                t = came_out(t, *result)
            changed[user].append(t)
    before, after = (shown(made_from(p, meaning, mask=True), now) for p in (people, changed))
    both = before.keys() & after.keys()  # what teaches nothing is left out, and that may change
    assert {k for k in before if k[1] < now - 300_000 and k not in after} == set(), "only the last goals may change"
    assert both
    for key in both:
        assert before[key] == after[key], key


def test_the_past_does_matter(meaning: CachedEncoder) -> None:
    """The twin of the property above: changing what came before changes what is shown."""
    people = small_log()
    half = STAMPS[len(STAMPS) // 2]
    renamed = {
        user: [
            replace(t, request=replace(t.request, query="sing a song")) if t.request.timestamp_ms < half else t
            for t in turns
        ]
        for user, turns in people.items()
    }
    one, other = (
        {(e.user, e.timestamp_ms): e.x.tobytes() for e in made_from(p, meaning) if e.timestamp_ms >= half}
        for p in (people, renamed)
    )
    same = [k for k in one.keys() & other.keys() if one[k] == other[k]]
    assert len(same) < len(one) / 10


def test_a_block_sees_the_shared_texts_of_the_days_before_it_only(meaning: CachedEncoder) -> None:
    people = small_log()
    starts = block_starts(people, 3)
    new_at = starts[1] + 1  # first said by all, with success, just after the second block's start
    for user in people:
        said = turn("play zanzibar", 0, "Film", user, slots={"film": "zanzibar"})
        said = replace(said, request=replace(said.request, timestamp_ms=new_at, interaction_id=f"z-{user}"))
        people[user] = sorted([*people[user], said], key=lambda t: t.request.timestamp_ms)
    made = made_from(people, meaning)
    assert block_starts(people, 3)[1] <= new_at < block_starts(people, 3)[2]
    for e in made:
        found = next((c for c in e.candidates[1:] if c.text == "play zanzibar"), None)
        assert found is None or e.block == 2 or (found.shared is None and e.timestamp_ms > new_at)
    assert any(c.text == "play zanzibar" and c.shared for e in made if e.block == 2 for c in e.candidates[1:])


def test_blocks_follow_each_other_in_time_and_hold_about_as_many_turns() -> None:
    people = small_log()
    starts = block_starts(people, 4)
    assert len(starts) == 4 and all(a < b for a, b in pairwise(starts))
    sizes = [sum(a <= s < b for s in STAMPS) for a, b in pairwise([*starts, 1 << 62])]
    assert max(sizes) - min(sizes) <= 4
    assert sum(s < starts[0] for s in STAMPS) == pytest.approx(len(STAMPS) / 4, abs=3)


def test_every_request_of_the_blocks_is_one_example(meaning: CachedEncoder) -> None:
    people = small_log()
    starts = block_starts(people, 3)
    steps: list[int] = []
    made = list(examples(Replay.of(people, meaning, blocks=3, min_people=2, mask=False), steps.append))
    for e in made:
        assert e.block == max(b for b, start in enumerate(starts) if start <= e.timestamp_ms)
    wanted = [
        (user, t.request.timestamp_ms)
        for user, turns in people.items()
        for i, t in enumerate(turns)
        if t.request.timestamp_ms >= starts[0] and goal_of(turns, assess(turns), i, NO_RULES, {}) is not None
    ]
    assert sorted((e.user, e.timestamp_ms) for e in made) == sorted(wanted)
    assert sum(steps) == sum(s >= starts[0] for s in STAMPS)
    for e in made:
        assert len(e.x) == len(e.candidates) == len(e.outcome) and not e.masked


def test_a_masked_example_is_a_second_look_with_less_known(meaning: CachedEncoder) -> None:
    made = made_from(small_log(), meaning, mask=True)
    plain = [e for e in made if not e.masked]
    assert shown(plain, 1 << 62) == shown(made_from(small_log(), meaning), 1 << 62)
    masked = [e for e in made if e.masked and not as_if_unreached(e)]
    off = [(np.isnan(e.x[:, OWN]).all(), np.isnan(e.x[:, SHARED]).all()) for e in masked]
    assert all(personal != shared for personal, shared in off), "one layer, never both"
    assert (True, False) in off and len(off) < len(plain) / 2
    assert not any(np.isnan(e.x[:, [OWN, SHARED]]).any() for e in plain)


def test_a_failed_request_is_shown_again_as_if_its_goal_had_never_been_reached(meaning: CachedEncoder) -> None:
    made = made_from(small_log(), meaning, mask=True)
    again = [e for e in made if as_if_unreached(e)]
    plain = {(e.user, e.timestamp_ms): e for e in made if not e.masked}
    reached = {
        (e.user, e.timestamp_ms)
        for e in plain.values()
        if e.goal.known and not e.goal.served and e.timestamp_ms > STAMPS[len(STAMPS) // 2]
    }
    assert reached and reached <= {(e.user, e.timestamp_ms) for e in again}
    successes, repairs = NAMES.index("own_successes_of"), NAMES.index("own_repair_of")
    for e in again:
        assert e.goal.known and not e.goal.served
        before = plain[e.user, e.timestamp_ms]
        at = next(i for i, c in enumerate(before.candidates) if c.text == e.goal.text)
        assert before.x[at, successes] > 0, "in truth the user had been there"
        for c, row in zip(e.candidates, e.x, strict=True):
            if e.goal.met_by(c):
                assert row[successes] == row[repairs] == 0
    assert any(WIN in e.outcome for e in again), "everybody's layer still knows it"


# What a turn teaches.


def goal_at(turns: Sequence[Interaction], i: int, rules: Completer = NO_RULES) -> Goal | None:
    evidence = assess(turns)
    return goal_of(turns, evidence, i, rules, told(turns, evidence))


def test_a_sure_rule_outweighs_a_supposed_repair() -> None:
    again = ("Song", (("title", "{slot:title}"),))
    rule = Rule("play it again", False, "Song", "play {slot:title}", again, 40, 0.9, 0.9)
    heard = turn("play yesterday", 0, "Song", slots={"title": "yesterday"})
    failed = turn("play it again", 30)
    gave_up = [heard, failed, turn("play it all again jack", 60, "Song", slots={"title": "it all again jack"})]
    repaired = [heard, failed, turn("play it again yesterday", 60, "Song", slots={"title": "yesterday"})]
    assert goal_at(gave_up, 1).known, "without a rule, it looks like a repair"
    assert not goal_at(gave_up, 1, Completer([rule])).known
    assert goal_at(repaired, 1, Completer([rule])).known
    weak = replace(rule, support=2)
    assert goal_at(gave_up, 1, Completer([weak])).known, "too few people are behind it"


def choices(*texts: str) -> list[Candidate]:
    return [Candidate(texts[0], is_query=True), *(Candidate(t) for t in texts[1:])]


def test_a_repaired_turn_is_won_by_what_repaired_it() -> None:
    turns = heard_wrong("ann", 0)
    goal = goal_at(turns, 0)
    assert goal == Goal(False, True, "play go", GO)
    candidates = choices("play ago", "play gold", "play go", "play it")
    candidates[3].reading = GO  # other words for the same
    candidates[1].reading = Interpretation("Film", (("film", "gold"),))
    assert label(candidates, goal, {}).tolist() == [WRONG, WRONG, WIN, WIN]


def test_a_turn_that_was_fine_needs_nothing() -> None:
    goal = goal_at([turn("play go", 0, "Film", slots={"film": "go"})], 0)
    assert goal == Goal(True, True, "play go", GO)
    candidates = choices("play go", "play gold", "watch go")
    candidates[2].reading = GO
    assert label(candidates, goal, {}).tolist() == [NEEDLESS, WRONG, NEEDLESS]


def test_of_a_wish_given_up_only_the_failure_is_known() -> None:
    goal = goal_at([turn("play ago"), turn("call mom", 4000, "Call", slots={"contact": "mom"})], 0)
    assert goal == Goal(False, False)
    assert label(choices("play ago", "play go", "call mom"), goal, {}).tolist() == [WRONG, -1, -1]


@pytest.mark.parametrize("signs", [{"barge_in": True}, {"explicit": Explicit.NO}])
def test_an_answer_that_was_refused_and_not_repaired_teaches_nothing(signs: dict[str, object]) -> None:
    refused = turn("play go", 0, "Film", slots={"film": "go"}, **signs)  # type: ignore[arg-type]
    assert goal_at([refused], 0) is None


def test_a_candidate_without_a_reading_meets_a_goal_by_its_words_alone() -> None:
    unread = Goal(True, True, "play go", None)
    assert unread.met_by(Candidate("play go")) and not unread.met_by(Candidate("watch go"))
    assert not Goal(True, True, "play go", GO).met_by(Candidate("watch go"))


def test_a_repetition_is_no_first_attempt() -> None:
    turns = [*heard_wrong("ann", 0), turn("call mom", 30, "Call", slots={"contact": "mom"}), turn("play ago", 9000)]
    evidence = assess(turns)
    assert [is_first_attempt(turns, evidence, i) for i in range(4)] == [True, False, True, True]
    again = [turn("play ago", 0), turn("play ago", 10), turn("call mom", 20, "Call"), turn("play ago", 400)]
    evidence = assess(again)
    assert [is_first_attempt(again, evidence, i) for i in range(4)] == [True, False, True, True]


def test_examples_carry_these_labels(meaning: CachedEncoder) -> None:
    """From the log to the row that the ranker learns from."""
    made = made_from(small_log(), meaning)
    repaired = [e for e in made if e.candidates[0].text == "play ago"]
    fine = [e for e in made if e.candidates[0].text == "call mom"]
    lost = [e for e in made if e.candidates[0].text == "mumble mumble"]
    assert repaired and fine and lost
    for e in repaired:
        won = [c.text for c, o in zip(e.candidates, e.outcome, strict=True) if o == WIN]
        assert won == ["play go"] and e.outcome[0] == WRONG and e.first
    for e in fine:
        assert e.outcome[0] == NEEDLESS and WIN not in e.outcome and not (e.outcome[1:] == -1).any()
    for e in lost:
        assert e.outcome[0] == WRONG and (e.outcome[1:] == -1).all() and len(e.outcome) > 1
    assert all(not e.first for e in made if e.candidates[0].text == "play go")


def test_what_a_user_gave_up_is_known_from_another_time() -> None:
    wish = ("Call", {"contact": "alan"})
    turns = [
        turn("call allen", 0),
        turn("call allen", DAY_S),
        turn("call alan", DAY_S + 20, wish[0], slots=wish[1], channel=Channel.APP),
    ]
    assert goal_at(turns, 0) == Goal(False, True, "call alan", Interpretation("Call", (("contact", "alan"),)))
    otherwise = turn("call ellen", 2 * DAY_S + 20, "Call", slots={"contact": "ellen"})
    torn = [*turns, turn("call allen", 2 * DAY_S), otherwise]
    assert goal_at(torn, 0) == Goal(False, False), "who meant two things by it may have meant either"


def test_a_label_may_know_what_a_candidate_does_not_tell() -> None:
    goal = Goal(False, True, "watch go", GO)
    unread = [Candidate("play ago", is_query=True), Candidate("watch the movie go"), Candidate("play go")]
    assert label(unread, goal, {"watch the movie go": {GO}}).tolist() == [WRONG, WIN, WRONG]


def test_side_by_side_gives_what_one_after_the_other_does(meaning: CachedEncoder) -> None:
    replay = Replay.of(small_log(), meaning, blocks=4, min_people=2)
    told: list[int] = []
    alone, together = list(examples(replay)), replayed(replay, 3, told.append)
    assert len(alone) == len(together) > 0
    assert sum(told) == sum(t.request.timestamp_ms >= replay.starts[0] for turns in small_log().values() for t in turns)
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a.x, b.x, equal_nan=True) and np.array_equal(a.outcome, b.outcome)
        assert [c.text for c in a.candidates] == [c.text for c in b.candidates]
        assert (a.user, a.block, a.timestamp_ms, a.goal, a.first, a.masked, a.weight) == (
            (b.user, b.block, b.timestamp_ms, b.goal, b.first, b.masked, b.weight)
        )


class _Broken(dict[str, list[Interaction]]):
    """People of whom nothing can be read in another process than this one, in the manner given."""

    def __init__(self, log: dict[str, list[Interaction]], act: Callable[[], None]) -> None:
        super().__init__(log)
        self._here, self._act = os.getpid(), act

    def items(self):  # type: ignore[no-untyped-def]
        if os.getpid() != self._here:
            self._act()
        return super().items()


def test_a_process_that_is_killed_is_told(meaning: CachedEncoder) -> None:
    people = _Broken(small_log(), lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(BundleError, match="killed; if memory ran short, try fewer than 2 threads"):
        replayed(Replay.of(people, meaning, blocks=3, min_people=2), 2)


def test_what_goes_wrong_in_one_process_ends_the_others(meaning: CachedEncoder) -> None:
    turns = small_log()
    started = multiprocessing.get_context("fork").Value("i", 0)

    def act() -> None:
        with started.get_lock():
            started.value += 1
            first = started.value == 1
        if first:
            raise ValueError("of the first block")
        time.sleep(60)

    before, at = set(multiprocessing.active_children()), time.monotonic()
    with pytest.raises(ValueError, match="of the first block"):
        replayed(Replay.of(_Broken(turns, act), meaning, blocks=3, min_people=2), 2)
    assert time.monotonic() - at < 30
    assert set(multiprocessing.active_children()) <= before


def test_a_rewrite_is_known_only_from_days_before_the_block(meaning: CachedEncoder) -> None:
    people = {user: [t for t in turns if "br" not in t.request.query] for user, turns in small_log().items()}
    starts = [start / 1000 for start in block_starts(people, 3)]
    begin = min(turns[0].request.timestamp_ms for turns in people.values()) / 1000
    said = [("ann", starts[1] + 300), ("bob", starts[1] + 900), ("cat", starts[2] + 300)]
    for user, at_s in said:
        people[user] += heard_wrong(user, at_s - begin, "play brew no", "play bruno")
        people[user].sort(key=lambda t: t.request.timestamp_ms)
    made = [e for e in made_from(people, meaning) if e.candidates[0].text == "play brew no"]
    known = {e.user: None if e.known is None else e.candidates[e.known].text for e in made}
    assert known == {"ann": None, "bob": None, "cat": "play bruno"}
    without = list(examples(Replay.of(people, meaning, blocks=3, min_people=2, mask=False, without=[Miner.CHAINS])))
    assert all(e.known is None and not any(c.known for c in e.candidates) for e in without)
def test_marks_of_a_model_become_goals_and_repairs(meaning: CachedEncoder) -> None:
    """Interrupted: the rules lose such a repair, a model's marks do not."""
    people = {}
    for user in ("ann", "bob"):
        turns = []
        for d in range(4):
            turns.append(turn("play ago", d * DAY_S, user=user))
            turns.append(turn("set a timer", d * DAY_S + 20, "Timer", user))
            turns.append(turn("watch the movie go", d * DAY_S + 40, "Film", user, slots={"film": "go"}))
        people[user] = turns
    marks = {user: [Mark(i + 2, 0.9) if i % 3 == 0 else None for i in range(12)] for user in people}
    told = ("play ago", ["watch the movie go"])
    repaired = lambda known: learn_knowledge(people, meaning, 2, marks=known).shared.repaired(*told)  # noqa: E731
    assert repaired(None).tolist() == [[0, 0]]
    assert repaired(marks).tolist() == [[8, 2]]
    made = list(examples(Replay.of(people, meaning, blocks=2, min_people=2, mask=False, marks=marks)))
    goals = {e.goal.text for e in made if not e.goal.served}
    assert goals == {"watch the movie go"}


def test_labels_weigh_what_the_rules_decide(meaning: CachedEncoder) -> None:
    """Of each example made without labels there is one with, shown the same, and worth what its label says."""
    people = small_log()
    told = {user: [TurnLabel(_points(t), i, i, 0.9) for i, t in enumerate(turns)] for user, turns in people.items()}
    mumbled = next(i for i, t in enumerate(people["bob"]) if t.request.query == "mumble mumble")
    told["bob"][mumbled] = TurnLabel((0.1, 0.3, 0.4, 0.2, 0.0, 0.0), mumbled, None, 0.0)
    every, weighed = (made_of(people, meaning, of) for of in (None, told))
    assert len(every) == len(weighed)
    for a, b in zip(every, weighed, strict=True):
        assert a.x.tobytes() == b.x.tobytes() and a.outcome.tolist() == b.outcome.tolist() and a.weight == a.wish == 1
        at = people["bob"][mumbled].request.timestamp_ms
        if (b.user, b.timestamp_ms) == ("bob", at):
            assert b.weight == pytest.approx(0.6), "where other words would have helped"
        else:
            assert b.weight == (0.9 if b.goal.served else 1.0)


def _points(t: Interaction) -> tuple[float, ...]:
    return (0.0, 0.0, 1.0, 0.0, 0.0, 0.0) if t.interpretation is None else CORRECT


CORRECT = (0.9, 0.0, 0.1, 0.0, 0.0, 0.0)


def made_of(
    people: People, meaning: CachedEncoder, labels: Mapping[str, Sequence[TurnLabel]] | None
) -> list[Example]:
    return list(examples(Replay.of(people, meaning, blocks=3, min_people=2, mask=False, labels=labels)))


def test_what_no_other_words_would_have_helped_teaches_nothing(meaning: CachedEncoder) -> None:
    people = small_log()
    at = 11 * DAY_S + 40_000
    film = {"film": "go"}
    again = [
        turn("play go", at, "Film", "ann", slots=film, explicit=Explicit.NO, dwell_s=2),
        turn("play go", at + 20, "Film", "ann", slots=film, explicit=Explicit.YES, dwell_s=300),
    ]
    people["ann"] = [*people["ann"], *again]
    mined = mine_people(people, 2)
    labeller = Labeller(mined.reactions, FailurePoints(None, Usual.of(mined), PointWords({})), NoLinks(), Confidence())
    labels = {user: labeller.labels(turns) for user, turns in people.items()}
    rejected = again[0].request.timestamp_ms
    every = made_of(people, meaning, None)
    assert [e.goal for e in every if e.timestamp_ms == rejected] == [Goal(False, False)], "a chance to win"
    assert not [e for e in made_of(people, meaning, labels) if e.timestamp_ms == rejected]


class NoLinks:
    """As of a log in which nothing could be learned of goals."""

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        return {}


def test_a_repair_that_only_labels_see_is_learned_as_far_as_it_is_sure(meaning: CachedEncoder) -> None:
    """Said again after so much else that the rules do not see it."""
    people = small_log()
    at = 11 * DAY_S + 40_000
    between = [turn("call mom", at + 20 * n, "Call", "ann", slots={"contact": "mom"}) for n in range(1, 8)]
    said = [turn("play agog", at, user="ann"), *between, turn("play go", at + 160, "Film", "ann", slots={"film": "go"})]
    people["ann"] = [*people["ann"], *said]
    n = len(people["ann"])
    first = said[0].request.timestamp_ms

    def learned(probability: float) -> list[tuple[Goal, float]]:
        labels = {user: [TurnLabel(CORRECT, i, i, 0.9) for i in range(len(turns))] for user, turns in people.items()}
        told = Correction("play go", GO, probability, n - 1)
        labels["ann"][n - len(said)] = TurnLabel((0.0, 0.0, 1.0, 0.0, 0.0, 0.0), n - len(said), n - 1, 0.7, told)
        return [(e.goal, e.wish) for e in made_of(people, meaning, labels) if e.timestamp_ms == first]

    assert [(e.goal, e.wish) for e in made_of(people, meaning, None) if e.timestamp_ms == first] == [
        (Goal(False, False), 1.0)
    ]
    assert learned(0.7) == [(Goal(False, True, "play go", GO), 0.7)]
    assert learned(0.3) == [(Goal(False, False), 1.0)], "likelier wrong than right"
