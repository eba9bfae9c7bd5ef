"""What the turn after a failure is about: learned from what unrelated turns look like."""

from __future__ import annotations

import random
from dataclasses import asdict

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.defects import assess, learn_reactions
from mining.pursuit import LIKENESS_EDGES, PAUSE_EDGES_S, UNSEEN, Pursuit, Step
from mining.reactions import PUBLISHED
from tests.turns import turn


def unrelated(rng: random.Random) -> Step:
    return Step(min(1.0, max(0.0, rng.gauss(0.42, 0.08))), rng.uniform(10, 90), False)


def repair(rng: random.Random, mean: float = 0.75) -> Step:
    return Step(min(1.0, max(0.0, rng.gauss(mean, 0.12))), rng.uniform(2, 40), rng.random() < 0.3)


def world(seed: int, turns: int = 2000, share: float = 0.6) -> tuple[list[Step], list[tuple[bool, Step]]]:
    """Steps after turns that served, and after failures with whether they pursue the same wish."""
    rng = random.Random(seed)
    after = []
    for _ in range(turns):
        same = rng.random() < share
        after.append((same, repair(rng) if same else unrelated(rng)))
    return [unrelated(rng) for _ in range(turns)], after


def error(p: Pursuit, seen: list[tuple[bool, Step]]) -> float:
    return sum((p.same(s) - same) ** 2 for same, s in seen) / len(seen)


def test_repairs_are_told_from_other_wishes_without_being_told_which() -> None:
    background, after = world(0)
    fitted = Pursuit.fit(background, [s for _, s in after])
    later = world(1)[1]
    assert error(fitted, later) < min(0.06, 0.8 * error(UNSEEN, later))
    sure = [same for same, s in later if fitted.same(s) > 0.9]
    assert len(sure) > 500 and sum(sure) / len(sure) > 0.95


def test_it_learns_how_usual_repairs_are() -> None:
    step = Step(0.55, 25.0, False)
    often, seldom = (
        Pursuit.fit(background, [s for _, s in after])
        for background, after in (world(2, share=0.8), world(2, share=0.2))
    )
    assert often.same(step) > seldom.same(step) + 0.2


def test_a_short_log_stays_with_what_was_known_beforehand() -> None:
    background, after = world(3, turns=3)
    few = Pursuit.fit(background, [s for _, s in after])
    for _, s in world(4, turns=50)[1]:
        assert few.same(s) == pytest.approx(UNSEEN.same(s), abs=0.2)
    assert Pursuit.fit((), ()) == UNSEEN


def test_before_any_log_likeness_haste_and_typing_speak_for_the_same_wish() -> None:
    likely = [UNSEEN.same(Step(edge, 25.0, False)) for edge in (0.0, *LIKENESS_EDGES)]
    assert likely == sorted(likely)
    hasty = [UNSEEN.same(Step(0.5, edge, False)) for edge in (0.0, *PAUSE_EDGES_S)]
    assert hasty == sorted(hasty, reverse=True)
    assert UNSEEN.same(Step(0.5, 25.0, True)) > UNSEEN.same(Step(0.5, 25.0, False))


@given(st.floats(0, 1), st.floats(0, 1e6), st.booleans())
def test_always_a_probability(likeness: float, pause_s: float, typed: bool) -> None:
    assert 0 < UNSEEN.same(Step(likeness, pause_s, typed)) < 1


def test_kept_as_a_record() -> None:
    background, after = world(5, turns=200)
    fitted = Pursuit.fit(background, [s for _, s in after])
    assert Pursuit.of_record(orjson.loads(orjson.dumps(asdict(fitted)))) == fitted
    with pytest.raises(ValueError, match="pursuit"):
        Pursuit.of_record(asdict(fitted) | {"pause": [0.0]})


def test_what_looks_like_every_next_wish_is_no_repair() -> None:
    """In a log whose users go on in the same frames within a minute, likeness of frames is no sign of a repair."""
    names = [f"{a}{b}" for a in ("alu", "bero", "cima", "dova", "efto") for b in ("rin", "sel", "tov", "wex", "pam")]

    def day(person: int) -> list:
        rng, turns = random.Random(person), []
        for n in range(60):
            first, second = rng.sample(names, 2)
            turns.append(turn(f"play {first}", n * 4000, "Play", slots={"artist": first}, dwell_s=99.0))
            turns.append(turn(f"play {second}", n * 4000 + 50, "Play", slots={"artist": second}, dwell_s=99.0))
        return turns

    learned = learn_reactions([day(person) for person in range(8)])
    later = [turn("play cima", 0), turn("play berorin", 50, "Play", slots={"artist": "berorin"})]
    quick = [turn("play zyx quon", 0), turn("play zyxquon", 6, "Play", slots={"artist": "zyxquon"})]
    assert assess(later, PUBLISHED)[0].goal == 1, "by what was known beforehand, it looks like one"
    assert assess(later, learned)[0].goal is None
    assert assess(quick, learned)[0].goal == 1
    assert learned.pursuit.same(Step(0.6, 50.0, False)) < UNSEEN.same(Step(0.6, 50.0, False))
