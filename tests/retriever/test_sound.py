"""Texts that sound alike lie near each other, whatever words the recogniser made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.normalise import normalise
from retriever.sound import DIMENSION, SoundSpace, sound_key

TEXTS = [
    "play music by linkin park",
    "watch the movie dewberry",
    "what's the weather in wilkerson",
    "what's the weather in boston",
    "what's the weather in denver",
    "turn on the kitchen light",
    "call anna please",
]


@pytest.fixture(scope="module")
def space() -> SoundSpace:
    return SoundSpace.fit(TEXTS)


@pytest.mark.parametrize(("heard", "meant"), [("stephen", "steven"), ("dew berry", "dewberry"), ("jon", "john")])
def test_equal_sound_gives_equal_keys(heard: str, meant: str) -> None:
    assert sound_key(heard) == sound_key(meant)


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("play music by lincoln park", TEXTS[0]),
        ("watch the movie dew berry", TEXTS[1]),
        ("weather in wilker son", TEXTS[2]),
    ],
)
def test_a_mishearing_is_nearest_to_what_was_meant(space: SoundSpace, heard: str, meant: str) -> None:
    near = space.encode(TEXTS) @ space.encode([heard])[0]
    assert TEXTS[int(near.argmax())] == meant


def test_a_name_weighs_more_than_the_frame_around_it(space: SoundSpace) -> None:
    boston = space.encode(["boston weather"])[0]
    near = space.encode(TEXTS) @ boston
    assert TEXTS[int(near.argmax())] == "what's the weather in boston"


@given(st.lists(st.text(max_size=60), max_size=5))
def test_rows_are_unit_or_zero(texts: list[str]) -> None:
    rows = SoundSpace.fit([]).encode([normalise(t) for t in texts])
    assert rows.shape == (len(texts), DIMENSION) and rows.dtype == np.float32
    norms = np.linalg.norm(rows, axis=1)
    assert all(abs(n - 1) < 1e-5 or n == 0 for n in norms)


def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        SoundSpace(np.ones(3, np.float32))
