"""Beta posteriors of pairs: the comparison against exact sums and draws, decay, caps, and what retires."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from ranker.posterior import HALF_LIFE_MS, HARMFUL, NONE, Counts, Foretold, decay, harm, probably_less, weigh

SURE = Foretold(0.97, 0.2)
NOW = 1_767_614_400_000


def exactly(one: tuple[int, int], other: tuple[int, int]) -> float:
    """P(X < Y) for whole numbers, by the closed sum (Cook 2005)."""
    (a, b), (c, d) = one, other
    return sum(math.exp(betaln(a + i, b + d) - math.log(d + i) - betaln(1 + i, d) - betaln(a, b)) for i in range(c))


@settings(deadline=None, max_examples=200)
@given(*[st.integers(1, 60)] * 4)
def test_the_comparison_is_exact(a: int, b: int, c: int, d: int) -> None:
    assert probably_less((a, b), (c, d)) == pytest.approx(exactly((a, b), (c, d)), abs=2e-3)


@settings(deadline=None, max_examples=100)
@given(*[st.floats(0.03, 500)] * 4)
def test_one_of_the_two_is_less(a: float, b: float, c: float, d: float) -> None:
    p = probably_less((a, b), (c, d))
    assert 0 <= p <= 1
    assert p + probably_less((c, d), (a, b)) == pytest.approx(1, abs=0.05)


def test_fractions_agree_with_draws() -> None:
    rng = np.random.default_rng(1)
    shapes = [(1.94, 3.1), (0.4, 1.6), (0.4, 0.1), (0.2, 0.9), (12.5, 2.2), (1.98, 0.02), (0.02, 1.98)]
    for one, other in product(shapes, shapes):
        x, y = rng.beta(*one, 50_000), rng.beta(*other, 50_000)
        drawn = (x < y).mean() + (x == y).mean() / 2
        assert probably_less(one, other) == pytest.approx(drawn, abs=0.02)


def test_a_turn_counts_half_after_a_half_life_and_never_more_than_one() -> None:
    assert (decay(0), decay(HALF_LIFE_MS), decay(2 * HALF_LIFE_MS)) == (1, 0.5, 0.25)
    assert decay(-1e15) == 1, "a clock that runs ahead must not make a turn weigh more"
    assert weigh([(NOW, 1.0), (NOW - HALF_LIFE_MS, 0.0)], NOW) == Counts(0.5, 1.0)


def test_so_many_turns_count_and_shares_stay() -> None:
    many = weigh([(NOW, 0.25)] * 400, NOW, most=3)
    assert (many.served, many.failed) == (pytest.approx(2.25), pytest.approx(0.75))
    assert weigh([(NOW, 0.25)], NOW, most=3) == Counts(0.75, 0.25)
    assert weigh([], NOW, most=3) == NONE


def test_what_was_never_served_does_no_harm() -> None:
    assert harm(NONE, Counts(50, 0), SURE) == 0


def test_more_failures_more_harm() -> None:
    harms = [harm(Counts(0, n), NONE, SURE) for n in range(1, 12)]
    assert harms == sorted(harms)
    assert harms[0] < HARMFUL < harms[-1]


def test_a_text_that_serves_left_alone_retires_its_rewrite_sooner() -> None:
    first = lambda alone: next(n for n in range(99) if harm(Counts(0, n), alone, SURE) > HARMFUL)  # noqa: E731
    assert first(Counts(6, 0)) < first(NONE) < first(Counts(0, 6)) + 1


def test_what_fails_left_alone_is_no_excuse_for_a_rewrite_that_fails() -> None:
    assert harm(Counts(0, 20), Counts(0, 20), SURE) > HARMFUL


def test_a_rewrite_that_mostly_serves_stays() -> None:
    assert harm(Counts(8, 2), Counts(1, 9), SURE) < 0.05
    assert harm(Counts(0, 1), NONE, SURE) < HARMFUL, "one failure is no proof"
