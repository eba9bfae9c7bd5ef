"""Where a turn failed: the rules on dialogues whose truth is plain, and what must hold of the model for any turns."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.defects import TurnEvidence, assess
from mining.labels import failure_points
from mining.labels.failure_points import FailurePoints, learn_failure_points, weak_points
from mining.labels.point_words import PointWords
from mining.labels.turn_label import POINTS, FailurePoint
from mining.labels.usual import NOTHING, Usual, own_records
from mining.mined import mine_people
from mining.reactions import PUBLISHED
from retriever.interaction import Channel, Explicit, Interaction, Outcome
from tests.turns import DAY_S, turn

Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]

CITIES = ("springfield", "salem", "newport", "auburn", "clinton", "dover", "milton", "oxford")
NAMES = (("go", "ago"), ("creed", "read"), ("ramones", "ramon show"), ("shakira", "sean cure"), ("muse", "news"))
ROOMS = ("den", "porch", "attic", "hall")
UNLIKE_ANYTHING = (
    "furthermore brothers gladly wrote", "neither parcel arrived yesterday", "grandmother knitted woolly jumpers",
    "nevertheless sergeants shouted loudly", "seventeen elephants swam across", "quietly folding paper boats",
)  # fmt: skip


def weather(text: str, at_s: float, city: str, state: str = "illinois", **more) -> Interaction:
    return turn(text, at_s, "Weather", slots={"city": city, "state": state}, **more)


def play(text: str, at_s: float, artist: str, **more) -> Interaction:
    return turn(text, at_s, "Play", slots={"artist": artist}, **more)


def light(room: str, at_s: float, action: str, **more) -> Interaction:
    slots = {"action": action, "device": f"{room} light"}
    return turn(f"turn {action} the {room} light", at_s, "Device", slots=slots, **more)


def dialogues(user: str, day: int, rng: random.Random) -> list[Interaction]:
    """One day of somebody who is misheard, whose follow-ups are not understood, and who means another Springfield."""
    start, mine = day * DAY_S, {"user": user}
    city, (name, heard), room = rng.choice(CITIES), rng.choice(NAMES), rng.choice(ROOMS)
    out = [
        weather(f"weather in {city}", start, city, **mine),
        light(room, start + 900, "on", **mine),
        play(f"play {name}", start + 1800, name, **mine),
        # Heard wrongly, said again.
        turn(f"play {heard}", start + 3600, asr_confidence=0.3, alternatives=(f"play {name}",), **mine),
        play(f"play {name}", start + 3612, name, **mine),
        # A follow-up that is not understood, said in full.
        light(room, start + 7200, "on", **mine),
        turn("turn it off", start + 7215, asr_confidence=0.8, **mine),
        light(room, start + 7225, "off", **mine),
        # Another place of that name.
        weather(f"what's the weather in {city}", start + 10800, city, barge_in=True, dwell_s=2, **mine),
        weather(f"what's the weather in {city} oregon", start + 10812, city, "oregon", **mine),
        # Heard wrongly, given up.
        turn(f"play {heard}", start + 14400, asr_confidence=0.3, alternatives=(f"play {name}",), **mine),
    ]
    return out if rng.random() < 0.8 else out[:5]


@pytest.fixture(scope="module")
def everybody() -> dict[str, list[Interaction]]:
    rng = random.Random(4)
    return {f"u{n}": [t for day in range(4) for t in dialogues(f"u{n}", day, rng)] for n in range(12)}


@pytest.fixture(scope="module")
def usual(everybody: dict[str, list[Interaction]]) -> Usual:
    return Usual.of(mine_people(everybody, 2))


@pytest.fixture(scope="module")
def assessed(everybody: dict[str, list[Interaction]], usual: Usual) -> list[Person]:
    return [(turns, assess(turns, usual.reactions)) for turns in everybody.values()]


@pytest.fixture(scope="module")
def learned(assessed: list[Person], usual: Usual) -> FailurePoints:
    return learn_failure_points(assessed, usual)


def ruled(turns: Sequence[Interaction], usual: Usual) -> list[FailurePoint | None]:
    return [weak and weak[0] for weak in weak_points(turns, assess(turns, PUBLISHED), usual)]


def told(model: FailurePoints, turns: Sequence[Interaction]) -> list[FailurePoint]:
    return [POINTS[int(row.argmax())] for row in model.of(turns, assess(turns, PUBLISHED))]


# ---- rules


def test_what_sounds_like_its_repair_was_misheard(usual: Usual) -> None:
    turns = [turn("play gale"), play("play yale", 10, "yale")]
    assert ruled(turns, usual) == [FailurePoint.ASR, FailurePoint.CORRECT]


def test_a_repair_that_the_recogniser_had_among_its_hypotheses_was_misheard(usual: Usual) -> None:
    turns = [
        play("play the cure", 0, "the cure", barge_in=True, dwell_s=1, alternatives=("play a cure", "play akira")),
        play("play akira", 10, "akira"),
    ]
    assert ruled(turns, usual)[0] is FailurePoint.ASR


def test_the_same_words_with_another_slot_failed_at_entity_resolution(usual: Usual) -> None:
    turns = [
        weather("what's the weather in salem", 0, "salem", barge_in=True, dwell_s=1),
        weather("what's the weather in salem oregon", 12, "salem", "oregon"),
    ]
    assert ruled(turns, usual)[0] is FailurePoint.ENTITY_RESOLUTION


def test_a_name_kept_in_another_frame_was_heard_right(usual: Usual) -> None:
    turns = [
        weather("what's the forecast like in salem", 0, "salem", barge_in=True, dwell_s=1),
        weather("what's the weather in salem oregon", 12, "salem", "oregon"),
    ]
    assert ruled(turns, usual)[0] is FailurePoint.ENTITY_RESOLUTION


def test_a_follow_up_said_in_full_failed_at_understanding(usual: Usual) -> None:
    turns = [light("cellar", 0, "on"), turn("turn it off", 12), light("cellar", 20, "off")]
    assert ruled(turns, usual)[1] is FailurePoint.NLU


def test_another_intent_for_the_same_words_failed_at_understanding(usual: Usual) -> None:
    turns = [
        play("play alien", 0, "alien", barge_in=True, dwell_s=1),
        turn("play the movie alien", 10, "Video", slots={"title": "alien"}),
    ]
    assert ruled(turns, usual)[0] is FailurePoint.NLU


def test_what_was_typed_was_not_misheard(usual: Usual) -> None:
    turns = [turn("play gale", channel=Channel.APP), play("play yale", 10, "yale", channel=Channel.APP)]
    assert ruled(turns, usual)[0] is FailurePoint.NLU


def test_the_same_interpretation_asked_again_and_kept_failed_in_its_result(usual: Usual) -> None:
    turns = [
        play("play yale", 0, "yale", explicit=Explicit.NO, dwell_s=2),
        play("play yale", 20, "yale", explicit=Explicit.YES, dwell_s=200),
    ]
    assert ruled(turns, usual) == [FailurePoint.RESULT, FailurePoint.CORRECT]
    given_up = [turns[0], play("play yale", 20, "yale", explicit=Explicit.NO, dwell_s=2)]
    assert ruled(given_up, usual) == [None, None]


def test_an_answer_that_broke_off_failed_in_its_result(usual: Usual) -> None:
    assert ruled([replace(play("play yale", 0, "yale"), outcome=Outcome.ERROR)], usual) == [FailurePoint.RESULT]


def broken(text: str, at_s: float = 0, **more) -> Interaction:
    """An error, and nothing understood."""
    return replace(turn(text, at_s, **more), outcome=Outcome.ERROR)


def test_an_error_on_words_that_then_served_failed_in_its_result(usual: Usual) -> None:
    assert ruled([broken("play yale"), play("play yale", 12, "yale")], usual)[0] is FailurePoint.RESULT
    misheard = [broken("play gale", alternatives=("play yale",)), play("play yale", 12, "yale")]
    assert ruled(misheard, usual)[0] is FailurePoint.ASR
    silent = [turn("play yale"), play("play yale", 12, "yale")]
    assert ruled(silent, usual)[0] is FailurePoint.NLU


def test_an_error_that_nobody_repaired_failed_in_its_result_where_the_words_serve_others(usual: Usual) -> None:
    assert ruled([broken("play shakira", user="newcomer")], usual) == [FailurePoint.RESULT]
    assert ruled([broken("play gale", user="newcomer")], usual) == [None]


def test_the_model_tells_an_error_as_a_failed_result(everybody: dict[str, list[Interaction]]) -> None:
    people = {}
    for user, turns in everybody.items():
        errors = []
        for day in range(4):
            at = day * DAY_S + 50_000
            errors += [broken("play muse", at, user=user), play("play muse", at + 12, "muse", user=user)]
        people[user] = sorted([*turns, *errors], key=lambda t: t.request.timestamp_ms)
    usual = Usual.of(mine_people(people, 2))
    model = learn_failure_points([(turns, assess(turns, usual.reactions)) for turns in people.values()], usual)
    assert told(model, [broken("play shakira", user="newcomer")]) == [FailurePoint.RESULT]
    assert told(model, [turn("play shakira", user="newcomer")]) != [FailurePoint.RESULT]


def test_an_error_that_was_recovered_from_is_none(usual: Usual) -> None:
    turns = [weather("wetter in salem", 0, "salem", asr_confidence=0.1, dwell_s=30)]
    assert ruled(turns, usual) == [FailurePoint.CORRECT]


def test_given_up_without_a_word_tells_nothing(usual: Usual) -> None:
    assert ruled([turn("play gale")], usual) == [None]


def with_more(everybody: dict[str, list[Interaction]], texts: Sequence[str], each: int) -> dict[str, list[Interaction]]:
    """Everybody saying these words now and then, without an answer, and going on to nothing."""
    out = {}
    for n, (user, turns) in enumerate(everybody.items()):
        spoken = [
            turn(texts[(n + len(everybody) * k) % len(texts)], k * DAY_S / each + 40_000, user=user, asr_confidence=0.1)
            for k in range(4 * each)
        ]
        out[user] = sorted([*turns, *spoken], key=lambda t: t.request.timestamp_ms)
    return out


def test_what_many_ask_and_nobody_ever_gets_is_no_failure(everybody: dict[str, list[Interaction]]) -> None:
    people = with_more(everybody, ["order me a pizza"], 1)
    usual = Usual.of(mine_people(people, 2))
    assert ruled([turn("order me a pizza", user="newcomer")], usual) == [FailurePoint.CORRECT]
    assert ruled([turn("turn it off", user="newcomer")], usual) == [None], "others repair it"
    model = learn_failure_points([(turns, assess(turns, usual.reactions)) for turns in people.values()], usual)
    assert told(model, [turn("order me a pizza", user="newcomer")]) == [FailurePoint.CORRECT]


def test_what_resembles_nothing_and_is_never_tried_again_was_overheard(everybody: dict[str, list[Interaction]]) -> None:
    texts = [f"{words} {n}" for n, words in enumerate(UNLIKE_ANYTHING * 24)]
    people = with_more(everybody, texts, 3)
    usual = Usual.of(mine_people(people, 2))
    overheard = turn("whatever mother bought last week", user="newcomer", asr_confidence=0.1)
    assert ruled([overheard], usual) == [FailurePoint.FALSE_WAKE]
    assert ruled([turn("play gale", user="newcomer")], usual) == [None], "it is much like what people ask"
    assert ruled([overheard, turn("whatever mother bought last", 10)], usual)[0] is None, "tried again"
    typed = turn("whatever mother bought last week", channel=Channel.TEXT)
    assert ruled([typed], usual) == [None]
    model = learn_failure_points([(turns, assess(turns, usual.reactions)) for turns in people.values()], usual)
    assert told(model, [overheard]) == [FailurePoint.FALSE_WAKE]
    assert told(model, [turn("play ramon show", user="newcomer", asr_confidence=0.3)]) == [FailurePoint.ASR]


def test_a_log_without_false_wakes_has_none(usual: Usual) -> None:
    assert ruled([turn("whatever mother bought last week", user="newcomer", asr_confidence=0.1)], usual) == [None]


# ---- the model


def test_the_model_knows_where_turns_fail_that_nobody_repaired(learned: FailurePoints) -> None:
    misheard = turn("play sean cure", user="new", asr_confidence=0.3, alternatives=("play shakira",))
    follow_up = [light("den", 0, "on", user="new"), turn("turn it off", 15, user="new", asr_confidence=0.8)]
    guessed = weather("what's the weather in dover", 0, "dover", user="new", barge_in=True, dwell_s=1)
    assert told(learned, [misheard]) == [FailurePoint.ASR]
    assert told(learned, follow_up) == [FailurePoint.CORRECT, FailurePoint.NLU]
    found = learned.of([guessed], [TurnEvidence(frozenset(), 0.9)])
    assert POINTS[int(found[0].argmax())] is FailurePoint.ENTITY_RESOLUTION
    assert found[0, 0] == pytest.approx(0.1), "whether it failed at all is told by the evidence"


def test_the_same_seed_gives_the_same_model_whatever_the_order(
    assessed: list[Person], usual: Usual, learned: FailurePoints
) -> None:
    again = learn_failure_points(iter(assessed[::-1]), usual)
    assert pickle.dumps(again) == pickle.dumps(learned)


def test_too_many_people_are_sampled_whatever_the_order(
    assessed: list[Person], usual: Usual, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_points, "MAX_TURNS", 100)
    some = failure_points._some(assessed, 7)
    assert 100 <= sum(len(turns) for turns, _ in some) < 200
    ids = {turns[0].request.user_id for turns, _ in some}
    assert {turns[0].request.user_id for turns, _ in failure_points._some(assessed[::-1], 7)} == ids
    assert {turns[0].request.user_id for turns, _ in failure_points._some(assessed, 8)} != ids


def test_it_pickles_and_tells_the_same(learned: FailurePoints, assessed: list[Person]) -> None:
    copy = pickle.loads(pickle.dumps(learned))
    for turns, evidence in assessed:
        assert np.array_equal(copy.of(turns, evidence), learned.of(turns, evidence))
    assert len(pickle.dumps(learned)) < 2_000_000


def test_users_never_mix(learned: FailurePoints, assessed: list[Person]) -> None:
    """What is told of one user's turns is the same whoever was judged before."""
    turns, evidence = assessed[0]
    alone = pickle.loads(pickle.dumps(learned)).of(turns, evidence)
    for other, of_other in assessed[1:]:
        learned.of(other, of_other)
    assert np.array_equal(learned.of(turns, evidence), alone)


def test_what_oneself_says_tells_nothing_of_others() -> None:
    """One's own turns are in everybody's tables; without them, nothing is known of what only one has said."""
    mine = [turn("play xylophonia", day * DAY_S, None if day % 3 else "Play", user="me") for day in range(13)]
    mined = mine_people({"me": mine}, 2)
    usual, evidence = Usual.of(mined), assess(mine, mined.reactions)
    assert usual.texts["play xylophonia"].asked == 10, "as much as one person weighs"
    assert usual.of_others("play xylophonia", own_records(mine, evidence)) == NOTHING
    say = [frozenset({(("play", word), FailurePoint.ASR)}) for word in ("alone", "both", "both")]
    assert list(PointWords.of(say).people) == [("play", "both")]


def test_nothing_to_learn_from_leaves_the_rules(usual: Usual) -> None:
    model = learn_failure_points([], usual)
    turns = [turn("play gale"), play("play yale", 10, "yale")]
    assert told(model, turns) == [FailurePoint.ASR, FailurePoint.CORRECT]
    assert model.of([], []).shape == (0, len(POINTS))
    empty = Usual.of(mine_people({}, 2))
    assert told(learn_failure_points([], empty), turns)[1] is FailurePoint.CORRECT


HOSTILE = ("\ud800", "a " * 400, "日本")
TEXTS = st.sampled_from(
    ["", "play ago", "play go", "turn it off", "turn off the den light", "weather in salem", *HOSTILE]
)


@st.composite
def some_turns(draw: st.DrawFn) -> list[Interaction]:
    at, out = 0.0, []
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.sampled_from([0, 5, 30, 119, 400]))
        intent = draw(st.sampled_from([None, None, "Play", "Device"]))
        made = turn(
            draw(TEXTS),
            at,
            intent,
            id=f"t{len(out)}",
            slots={"x": draw(TEXTS)} if intent else None,
            barge_in=draw(st.booleans()),
            explicit=draw(st.sampled_from([None, Explicit.YES, Explicit.NO])),
            dwell_s=draw(st.sampled_from([None, 0.0, 3.0, 1e6])),
            channel=draw(st.sampled_from(list(Channel))),
            asr_confidence=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
            alternatives=tuple(draw(st.lists(TEXTS, max_size=5))),
        )
        out.append(replace(made, outcome=draw(st.sampled_from(list(Outcome)))) if draw(st.booleans()) else made)
    return out


@settings(max_examples=60)
@given(turns=some_turns(), trained=st.booleans())
def test_of_any_turns(learned: FailurePoints, usual: Usual, turns: list[Interaction], trained: bool) -> None:
    model = learned if trained else FailurePoints(None, usual, PointWords({}))
    evidence = assess(turns, usual.reactions)
    found = model.of(turns, evidence)
    assert found.shape == (len(turns), len(POINTS)) and found.dtype == np.float64
    assert np.isfinite(found).all() and (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(turns)))
    asr, wake = POINTS.index(FailurePoint.ASR), POINTS.index(FailurePoint.FALSE_WAKE)
    for row, one, e in zip(found, turns, evidence, strict=True):
        if one.request.channel is not Channel.VOICE:
            assert row[asr] == row[wake] == 0
        if e.goal is not None:
            assert row[wake] == 0, "somebody went on from it"
        if one.interpretation is not None:
            assert row[0] == pytest.approx(1 - e.defect)
        else:
            assert row[POINTS.index(FailurePoint.ENTITY_RESOLUTION)] == 0
            assert row[POINTS.index(FailurePoint.RESULT)] == 0 or one.outcome is Outcome.ERROR


def test_a_huge_session_of_long_texts_at_one_moment_is_bearable(learned: FailurePoints) -> None:
    """Work grows with the turns, not with their square, and with no text beyond what a request may be."""
    rng = random.Random(1)
    words = [f"w{n}" for n in range(300)]
    turns = [turn(" ".join(rng.choices(words, k=rng.choice((2, 150)))), 0, id=f"t{n}") for n in range(1000)]
    evidence = [TurnEvidence(frozenset(), 1.0, n + 1 if n % 2 else None) for n in range(999)]
    found = learned.of(turns, [*evidence, TurnEvidence(frozenset(), 1.0)])
    assert found.shape == (1000, len(POINTS)) and np.isfinite(found).all()
