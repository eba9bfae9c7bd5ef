"""Posteriors of pairs: against Beta posteriors where it is certain what failed, decay, caps, and what retires."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import beta

from ranker.posterior import (
    HALF_LIFE_MS,
    HARMFUL,
    NONE,
    PRIOR_TURNS,
    RATES,
    Evidence,
    Foretold,
    _beta_below,
    decay,
    harm,
    rates,
    weigh,
)

SURE = Foretold(0.97, 0.2)
NOW = 1_767_614_400_000
FAILED, SERVED, NOTHING_SAID = math.inf, -math.inf, 0.0


def turns(served: int, failed: int) -> Evidence:
    return weigh([(NOW, SERVED)] * served + [(NOW, FAILED)] * failed, NOW)


@settings(max_examples=100)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(5, 95))
def test_with_certainty_it_is_the_beta_posterior(served: int, failed: int, per_cent: int) -> None:
    mass = rates(turns(served, failed), per_cent / 100)
    p = per_cent / 100
    exact = beta(PRIOR_TURNS * (1 - p) + failed, PRIOR_TURNS * p + served)
    assert mass.sum() == pytest.approx(1)
    assert mass @ RATES == pytest.approx(exact.mean(), abs=0.03)
    assert mass[RATES > 0.5].sum() == pytest.approx(exact.sf(0.5), abs=0.08)


@settings(max_examples=50)
@given(*[st.integers(0, 30)] * 4)
def test_the_comparison_agrees_with_draws(a: int, b: int, c: int, d: int) -> None:
    rng = np.random.default_rng(1)
    foretold = Foretold(0.6, 0.4)
    w = PRIOR_TURNS
    draw = lambda served, failed, p: rng.beta(w * p + served, w * (1 - p) + failed, 20_000)  # noqa: E731
    with_it, alone = draw(a, b, 0.6), draw(c, d, 0.4)
    expected = max((with_it < alone).mean(), (with_it < 0.5).mean()) if a + b else 0
    assert harm(turns(a, b), turns(c, d), foretold) == pytest.approx(expected, abs=0.08)


def test_what_nobody_reacted_to_says_nothing() -> None:
    silent = weigh([(NOW, NOTHING_SAID)] * 50, NOW)
    assert silent.turns == 50
    assert rates(silent, 0.9) == pytest.approx(rates(NONE, 0.9))


def test_a_turn_counts_half_after_a_half_life_and_never_more_than_one() -> None:
    assert decay(np.array([0, HALF_LIFE_MS, 2 * HALF_LIFE_MS])).tolist() == [1, 0.5, 0.25]
    assert decay(np.array([-1e15])) == 1, "a clock that runs ahead must not make a turn weigh more"
    old, new = weigh([(NOW - HALF_LIFE_MS, FAILED)] * 2, NOW), weigh([(NOW, FAILED)], NOW)
    assert (old.turns, old.likelihood.tolist()) == (new.turns, pytest.approx(new.likelihood.tolist()))


def test_so_many_turns_count_and_shares_stay() -> None:
    many, few = turns(300, 100).at_most(4), turns(3, 1)
    assert many.turns == pytest.approx(4)
    assert many.likelihood == pytest.approx(few.likelihood)
    assert few.at_most(9).likelihood is not None and few.at_most(9).turns == few.turns
    assert weigh([], NOW) is NONE


def test_what_was_never_served_does_no_harm() -> None:
    assert harm(NONE, turns(50, 0), SURE) == 0


def test_more_failures_more_harm() -> None:
    harms = [harm(turns(0, n), NONE, SURE) for n in range(1, 12)]
    assert harms == sorted(harms)
    assert harms[0] < HARMFUL < harms[-1]


def test_a_text_that_serves_left_alone_retires_its_rewrite_sooner() -> None:
    first = lambda alone: next(n for n in range(99) if harm(turns(0, n), alone, SURE) > HARMFUL)  # noqa: E731
    assert first(turns(6, 0)) < first(NONE) <= first(turns(0, 6))


def test_what_fails_left_alone_is_no_excuse_for_a_rewrite_that_fails() -> None:
    assert harm(turns(0, 20), turns(0, 20), SURE) > HARMFUL


def test_a_rewrite_that_mostly_serves_stays() -> None:
    assert harm(turns(8, 2), turns(1, 9), SURE) < 0.05
    assert harm(turns(0, 1), NONE, SURE) < HARMFUL, "one failure is no proof"


def test_many_hints_make_a_certainty() -> None:
    """Turns that failed by the odds, none of them for certain: counted as parts of failures they would look usual."""
    hints = weigh([(NOW, math.log(6))] * 30, NOW)
    assert rates(hints, 0.97) @ RATES > 0.8
    assert harm(hints, NONE, SURE) > HARMFUL


def test_any_odds_and_numbers_stay_probabilities() -> None:
    for odds in (FAILED, SERVED, 700.0, -700.0):
        for count in (1, 20_000):
            value = harm(weigh([(NOW, odds)] * count, NOW), weigh([(NOW, -odds)] * count, NOW), SURE)
            assert 0 <= value <= 1


@given(st.floats(0.01, 50), st.floats(0.01, 50), st.floats(0, 1, allow_subnormal=False))
def test_the_incomplete_beta_function_is_that_of_scipy(a: float, b: float, x: float) -> None:
    """But for the subnormal numbers, below 2.3e-308: there SciPy's own is right to three digits only."""
    assert _beta_below(a, b, x) == pytest.approx(betainc(a, b, x), abs=1e-9)
