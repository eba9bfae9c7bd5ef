"""The noisy channel, against its slow twin, and on what people mishear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.mishearings import align
from retriever.hearing import Hearing, prior_shares
from retriever.pronunciation import ALPHABET, pronounce

HEARING = Hearing.of_shares(prior_shares())
SOUNDS = st.lists(st.integers(1, ALPHABET - 1), max_size=9).map(bytes)


def _within(heard: bytes, said: bytes) -> float:
    """The slow, obvious twin: every stretch of what was heard."""
    stretches = [heard[i:j] for i in range(len(heard) + 1) for j in range(i, len(heard) + 1)]
    return min(align(stretch, said, HEARING.costs.tolist())[0] for stretch in stretches)


@given(SOUNDS, st.lists(SOUNDS, min_size=1, max_size=4), st.lists(SOUNDS, max_size=3))
def test_costs_equal_those_of_the_cheapest_alignment(heard: bytes, whole: list[bytes], parts: list[bytes]) -> None:
    costs, places = HEARING.compare(heard, whole, parts)
    assert costs == pytest.approx([align(heard, said, HEARING.costs.tolist())[0] for said in whole], abs=1e-3)
    assert places == pytest.approx([_within(heard, said) for said in parts], abs=1e-3)


@given(st.lists(st.tuples(SOUNDS, SOUNDS), max_size=6))
def test_each_of_many_costs_what_it_costs_alone(pairs: list[tuple[bytes, bytes]]) -> None:
    costs = HEARING.each([heard for heard, _ in pairs], [said for _, said in pairs])
    assert costs == pytest.approx([align(h, s, HEARING.costs.tolist())[0] for h, s in pairs], abs=1e-3)


@given(SOUNDS, SOUNDS)
def test_an_alignment_tells_both_pronunciations(heard: bytes, said: bytes) -> None:
    cost, pairs = align(heard, said, HEARING.costs.tolist())
    assert bytes(s for s, _ in pairs if s) == said and bytes(h for _, h in pairs if h) == heard
    assert cost == pytest.approx(sum(HEARING.costs[s, h] for s, h in pairs), abs=1e-3)


def test_hearing_it_right_costs_nothing_and_nothing_costs_less() -> None:
    assert HEARING.each([pronounce("go")], [pronounce("go")])[0] == 0
    assert (HEARING.costs >= 0).all()


@pytest.mark.parametrize(
    ("heard", "meant", "others"),
    [
        ("lincoln park", "linkin park", ["pink floyd", "lincoln brewster", "long pond"]),
        ("shaw cure", "shakira", ["share", "shakin stevens", "shania twain"]),
        ("brew no", "bruno", ["brno", "go", "brenda"]),
        ("what wind", "watch winding", ["walk", "windsor"]),
    ],
)
def test_what_was_meant_is_likelier_than_what_looks_like_it(heard: str, meant: str, others: list[str]) -> None:
    costs = HEARING.compare(pronounce(heard), [pronounce(text) for text in (meant, *others)], [])[0]
    assert costs.argmin() == 0, dict(zip((meant, *others), costs.tolist(), strict=True))


def test_a_name_is_found_wherever_it_stands() -> None:
    _, parts = HEARING.compare(pronounce("please put on bruno right now"), [], [pronounce("bruno")])
    assert parts[0] == 0


def test_nothing_to_compare() -> None:
    costs, parts = HEARING.compare(pronounce("go"), [], [])
    assert costs.shape == (0,) and parts.shape == (0,)
    assert HEARING.each([b""], [pronounce("go")])[0] > 0


def test_costs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="costs"):
        Hearing(np.zeros((3, 3), np.float32))
