"""When the lookup serves: the choice against every threshold tried, and never where the bound does not hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.lookup import NEVER, LookupPolicy, LookupTrial, choose_lookup, tally_lookup
from ranker.policy import Tally
from retriever.known_rewrites import KnownRewrite

EVERYBODY = 10**9
known = st.builds(
    KnownRewrite,
    st.just("a"),
    st.sampled_from([0.0, 0.0, 0.125, 0.5]),
    st.integers(4, 8).map(lambda n: n / 8),
    st.just(EVERYBODY),
)
trials = st.builds(LookupTrial, known, st.booleans(), st.sampled_from([True, True, True, False, None]))


def allowed(t: Tally, requests: int, wins_per_harm: float, max_needless: float) -> bool:
    return t.wins >= wins_per_harm * max(1.0, t.losses + t.missed) and t.needless <= max_needless * requests


@settings(max_examples=120)
@given(st.lists(trials, max_size=30), st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([0.0, 0.1, 1.0]))
def test_the_choice_is_the_best_of_all_allowed_thresholds(
    cases: list[LookupTrial], wins_per_harm: float, max_needless: float
) -> None:
    chosen = choose_lookup(cases, 100, wins_per_harm, max_needless)
    got = tally_lookup(cases, 10.0, chosen)
    thresholds = {t.known.score for t in cases}
    tried = [tally_lookup(cases, 10.0, LookupPolicy(score, wins_per_harm)) for score in thresholds]
    gains = [t.wins - t.losses for t in tried if allowed(t, 100, wins_per_harm, max_needless)]
    assert got.wins - got.losses == pytest.approx(max([0.0, *gains]))
    if chosen != NEVER:
        assert allowed(got, 100, wins_per_harm, max_needless)
        assert chosen.probability == pytest.approx((got.wins + 1) / (got.wins + got.losses + got.missed + 2))
        assert all(t.known.goes >= wins_per_harm * t.known.stays for t in cases if chosen.accepts(t.known))


def of(score: float, failed: bool = True, met: bool | None = True, count: int = 1) -> list[LookupTrial]:
    return [LookupTrial(KnownRewrite("a", 0.0, score, EVERYBODY), failed, met)] * count


def test_it_never_serves_where_no_threshold_keeps_the_bound() -> None:
    assert choose_lookup([], 100, 20, 0.03) == NEVER
    assert choose_lookup(of(0.5, count=19), 100, 20, 0.03) == NEVER, "too few to know"
    assert choose_lookup(of(0.5, count=39) + of(0.5, False, False, 2), 100, 20, 0.03) == NEVER
    assert not NEVER.accepts(KnownRewrite("a", 0.0, 1.0, EVERYBODY))


def test_it_serves_above_what_did_harm() -> None:
    chosen = choose_lookup(of(0.8, count=30) + of(0.4, True, False, 9) + of(0.4, count=3), 1000, 20, 0.03)
    assert 0.4 < chosen.threshold <= 0.8 and chosen.probability == pytest.approx(31 / 32)
    assert chosen.accepts(KnownRewrite("a", 0.0, 1.0, 4)) and not chosen.accepts(KnownRewrite("a", 0.0, 0.5, 4))


def test_one_that_would_lose_by_its_own_figures_is_never_served() -> None:
    """However well others do: of three who say it one is served as it is."""
    chosen = choose_lookup(of(0.5, count=100), 1000, 20, 0.03)
    assert not chosen.accepts(KnownRewrite("a", 0.3, 0.7, EVERYBODY))
    assert not chosen.accepts(KnownRewrite("a", 0.05, 0.95, EVERYBODY))
    assert chosen.accepts(KnownRewrite("a", 0.04, 0.9, EVERYBODY))


def test_needless_rewrites_are_bounded() -> None:
    needless = of(0.5, False, True, 31)
    assert choose_lookup(of(0.5, count=100) + needless, 1000, 20, 0.03) == NEVER
    assert choose_lookup(of(0.5, count=100) + needless[:30], 1000, 20, 0.03).threshold < math.inf


def test_a_wish_that_nobody_knows_counts_by_the_chains_forecast() -> None:
    total = tally_lookup(of(0.75, count=40) + of(0.75, True, None, 8), 50.0, LookupPolicy(0.1))
    assert total.wins == pytest.approx(40 + 6) and total.missed == pytest.approx(2)
