"""Dialogues as numbers: every turn is asked about once, and nothing that comes later changes what is seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mining.dialogue import LONGEST, PAIR_FEATURES, TURN_FEATURES, batch, dialogue, windows
from mining.sessions import sessions
from retriever.interaction import Interaction
from tests.turns import turn

PAUSES = st.lists(st.sampled_from([1, 20, 100, 290, 301, 4000]), max_size=60)


def turns_of(pauses: list[int], words: str = "abc") -> list[Interaction]:
    at, out = 0, []
    for i, pause in enumerate(pauses):
        at += pause
        out.append(turn(f"play {words[i % len(words)]}", at, "Play" if i % 2 else None))
    return out


@given(PAUSES)
def test_every_turn_of_a_dialogue_is_asked_about_once(pauses: list[int]) -> None:
    turns = turns_of(pauses)
    asked = [i for window, _ in windows(turns) for i in range(window.first, window.last)]
    assert asked == [i for span in sessions(turns) if len(span) > 1 for i in span]
    for window, _ in windows(turns):
        assert window.start <= window.first < window.last <= window.stop <= window.start + LONGEST
        session = next(span for span in sessions(turns) if window.start in span)
        assert window.stop - 1 in session
        assert window.stop - window.last >= min(6, session.stop - window.last), "enough of what follows is in sight"


@given(PAUSES)
def test_later_sessions_change_nothing(pauses: list[int]) -> None:
    """What makes it possible to read each day's log once."""
    turns = turns_of(pauses)
    whole = [dialogue(turns[w.start : w.stop], habits) for w, habits in windows(turns)]
    for span in sessions(turns):
        early = turns[: span.stop]
        part = [dialogue(early[w.start : w.stop], habits) for w, habits in windows(early)]
        for one, other in zip(part, whole, strict=False):
            np.testing.assert_array_equal(one.turns, other.turns)
            np.testing.assert_array_equal(one.pairs, other.pairs)


def test_habits_are_those_of_earlier_sessions() -> None:
    day = [turn("play ago", 0), turn("watch the movie go", 10, "Watch")]
    turns = [*day, turn("play ago", 5000), turn("watch the movie go", 5010, "Watch")]
    first, second = [dialogue(turns[w.start : w.stop], h) for w, h in windows(turns)]
    followed, before = PAIR_FEATURES.index("followed_before"), TURN_FEATURES.index("said_before")
    assert first.pairs[0, 1, followed] == 0 < second.pairs[0, 1, followed]
    assert first.turns[0, before] == 0 < second.turns[0, before]


def test_a_batch_fills_up_with_nothing() -> None:
    turns = turns_of([1, 5, 5, 5000, 5])
    made = [dialogue(turns[w.start : w.stop], h) for w, h in windows(turns)]
    vectors = {f"play {c}": np.eye(3, dtype=np.float32)[i] for i, c in enumerate("abc")}
    b = batch(made, vectors)
    assert b.there.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert not b.turns[1, 2].any() and not b.vectors[1, 2].any()
    assert not b.pairs[1, 2].any() and not b.pairs[1, :, 2].any()
    assert not b.pairs[:, [0, 1, 2], [0, 1, 2]].any() and not b.pairs[:, 2, 0].any(), "later turns alone are paired"
    assert np.isfinite(b.turns).all() and np.isfinite(b.pairs).all()
