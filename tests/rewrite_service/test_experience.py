"""Everybody's experience: notes, what no single user can do to it, and that no text is in it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.posterior import HALF_LIFE_MS, HARMFUL, Foretold
from rewrite_service.experience import LEAST_PEOPLE, MOST_PAIRS, Experience, key_of, own_experience, to_note
from rewrite_service.store.base import MAX_NOTE_BYTES

HEARD, ASKED = "play ago", "watch the movie go"
NOW = 1_767_614_400_000
SURE = Foretold(0.97, 0.2)


def turns(failed: int = 0, served: int = 0, at: int = NOW) -> list[tuple[int, float]]:
    return [(at, math.inf)] * failed + [(at, -math.inf)] * served


def note(failed: int = 0, served: int = 0, alone: int = 0, at: int = NOW) -> bytes:
    """Of one user: the rewrite failed and served so often, and the words left alone served so often."""
    found = {(HEARD, ASKED): turns(failed, served, at), (HEARD, HEARD): turns(0, alone, at)}
    return to_note({pair: of for pair, of in found.items() if of}, at)


def harm(experience: Experience, own=None) -> float:
    return experience.harm(HEARD, ASKED, own or {}, SURE)


def test_what_fails_for_several_people_does_harm() -> None:
    assert harm(Experience.of_notes([note(failed=3)] * LEAST_PEOPLE)) > HARMFUL


def test_no_one_user_can_have_a_rewrite_retired_for_others() -> None:
    assert harm(Experience.of_notes([note(failed=1000)])) == 0
    assert harm(Experience.of_notes([note(failed=1000)] * (LEAST_PEOPLE - 1))) == 0
    spoiler = [note(failed=1000)]
    assert harm(Experience.of_notes([*spoiler, *[note(served=3)] * 4])) < 0.1, "a thousand turns weigh three"


def test_words_that_serve_left_alone_speak_against_the_rewrite() -> None:
    half = [note(failed=1, served=2)] * 3
    assert harm(Experience.of_notes([*half, *[note(alone=3)] * 5])) > HARMFUL > harm(Experience.of_notes(half))


def test_ones_own_experience_counts_at_once_and_for_oneself() -> None:
    own = own_experience({(HEARD, ASKED): turns(failed=6)}, NOW)
    assert harm(Experience(), own) > HARMFUL
    assert harm(Experience()) == 0


def test_what_serves_this_user_stays_whatever_others_say() -> None:
    others = Experience.of_notes([note(failed=3)] * 9)
    assert harm(others) > HARMFUL
    assert harm(others, own_experience({(HEARD, ASKED): turns(served=4)}, NOW)) < 0.1


def test_old_turns_fade_beside_new_ones() -> None:
    old = NOW - 6 * HALF_LIFE_MS
    failed_once = [note(failed=3, at=old)] * 5
    assert harm(Experience.of_notes(failed_once)) > HARMFUL, "nothing newer is known"
    assert harm(Experience.of_notes([*failed_once, *[note(served=3)] * 3])) < 0.1


def test_a_note_has_no_text_and_a_bound() -> None:
    found = {(f"heard {n}", f"asked {n}"): turns(failed=n + 1) for n in range(200)}
    made = to_note(found, NOW)
    assert len(made) <= MAX_NOTE_BYTES
    assert b"heard" not in made and b"asked" not in made
    experience = Experience.of_notes([made] * LEAST_PEOPLE)
    assert len(experience.pairs) == MOST_PAIRS, "those with the most turns"
    assert key_of(("heard 199", "asked 199")) in experience.pairs
    assert to_note({}, NOW) == b""


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_notes_that_cannot_be_read_are_left_out(broken: list[bytes]) -> None:
    broken = [b for b in broken if len(b) < 8 or (len(b) - 8) % 116]
    whole = [note(failed=3)] * LEAST_PEOPLE
    assert harm(Experience.of_notes([*broken, *whole])) == pytest.approx(harm(Experience.of_notes(whole)))


def test_the_sum_does_not_depend_on_the_order() -> None:
    notes = [note(failed=3), note(served=2), note(failed=1, served=1, alone=4), note(alone=2, at=NOW - HALF_LIFE_MS)]
    assert harm(Experience.of_notes(notes)) == pytest.approx(harm(Experience.of_notes(notes[::-1])))
