"""What is said of labels' precision holds where failures are a known mixture, and is careful where little is seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.labels.confidence import (
    Confidence,
    GivenUp,
    Labelled,
    _slopes,
    fit_confidence,
    given_up,
    lowest,
    thresholds,
)


def drawn(rng: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of failures, a `share` of them given up, and which are right. Of those given up one in five has a label,
    with a score that leans low; of the others nine in ten, leaning high."""
    gave_up = rng.random(n) < share
    labelled = rng.random(n) < np.where(gave_up, 0.2, 0.9)
    score = np.where(gave_up, 0.5 + 0.5 * rng.beta(1, 4, n), 0.5 + 0.5 * rng.beta(5, 1, n))
    return np.where(labelled, score, 0.0), ~gave_up


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_precision_is_as_it_is_said_to_be(share: float) -> None:
    rng = np.random.default_rng(5)
    scores, right = drawn(rng, 6000, share)
    decoys, _ = drawn(rng, 12000, 1.0)
    gave_up = given_up(scores, decoys)
    assert share <= gave_up.share <= gave_up.at_most < share + 0.12
    confidence = fit_confidence(scores, decoys, gave_up)
    p, none = np.array([confidence.of(s) for s in scores]), np.zeros(len(scores))
    p_decoys = np.array([confidence.of(s) for s in decoys])
    found = thresholds(Labelled(p, none), Labelled(p_decoys, np.zeros(len(decoys))), gave_up)
    assert len(found) > 10
    for t in found[5:]:
        chosen = p >= t.least
        assert chosen.sum() == t.labels
        precision = right[chosen].mean()
        assert t.at_least <= precision + 0.01 and abs(precision - t.precision) < 0.05
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        band = (p >= low) & (p < high)
        if band.sum() > 100:
            assert abs(right[band].mean() - p[band].mean()) < 0.08


def test_few_failures_show_little() -> None:
    """Ten labels, none of them like a decoy, are no proof of 98 %."""
    scores, decoys = np.full(10, 0.9), np.zeros(40)
    gave_up = given_up(scores, decoys)
    assert gave_up.share > 0.05 and gave_up.at_most > 0.2
    none = np.zeros(10)
    found = thresholds(Labelled(scores, none), Labelled(decoys, np.zeros(40)), gave_up)
    assert [t.labels for t in found] == [10] and 0.9 < found[0].at_least < 0.99 < found[0].precision
    assert lowest(found, 0.999) is None


def test_a_turn_that_may_have_failed_costs_precision() -> None:
    scores, decoys = np.full(500, 0.9), np.zeros(2000)
    found = thresholds(Labelled(scores, np.full(500, 0.1)), Labelled(decoys, np.zeros(2000)), given_up(scores, decoys))
    assert found[0].precision == pytest.approx(0.9)


def test_the_lowest_threshold_that_keeps_the_precision_is_chosen() -> None:
    rng = np.random.default_rng(1)
    scores, _ = drawn(rng, 4000, 0.5)
    decoys, _ = drawn(rng, 8000, 1.0)
    gave_up = given_up(scores, decoys)
    confidence = fit_confidence(scores, decoys, gave_up)
    labelled = [Labelled(np.array([confidence.of(s) for s in of]), np.zeros(len(of))) for of in (scores, decoys)]
    found = thresholds(*labelled, gave_up)
    chosen = {p: lowest(found, p) for p in (0.9, 0.95, 0.98)}
    assert all(t is not None and t.at_least >= p for p, t in chosen.items())
    leasts = [t.least for t in chosen.values() if t is not None]
    assert leasts == sorted(leasts)
    for p, t in chosen.items():
        assert t is not None and not any(f.labels > t.labels and f.at_least >= p for f in found)


def test_without_anything_nothing_is_sure() -> None:
    empty = np.zeros(0)
    assert given_up(empty, empty) == GivenUp(1.0, 1.0)
    assert fit_confidence(empty, empty, GivenUp(1.0, 1.0)).of(0.9) == 0.0
    assert thresholds(Labelled(empty, empty), Labelled(empty, empty), GivenUp(1.0, 1.0)) == []
    assert lowest([], 0.5) is None


def test_a_score_between_two_is_as_sure_as_the_lower() -> None:
    confidence = Confidence((0.5, 0.7, 0.9), (0.6, 0.8, 0.95))
    assert [confidence.of(s) for s in (0.4, 0.5, 0.6, 0.7, 0.95)] == [0.0, 0.6, 0.6, 0.8, 0.95]


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 5)), min_size=1, max_size=12))
@settings(max_examples=100)
def test_slopes_are_those_of_the_greatest_convex_minorant(steps: list[tuple[int, float]]) -> None:
    x = np.concatenate([[0.0], np.cumsum([dx for dx, _ in steps])])
    y = np.concatenate([[0.0], np.cumsum([dy for _, dy in steps])])
    slopes = _slopes(x, y)
    assert len(slopes) == len(steps) and (np.diff(slopes) >= -1e-9).all()
    below = np.concatenate([[0.0], np.cumsum(slopes * np.diff(x))])
    assert (below <= y + 1e-6).all() and below[-1] == pytest.approx(y[-1], abs=1e-6)
    for n in range(len(x)):  # the slow twin: the lowest chord over each point
        chords = [
            y[a] + (y[b] - y[a]) * (x[n] - x[a]) / (x[b] - x[a])
            for a in range(n + 1) for b in range(n, len(x)) if a < b
        ]  # fmt: skip
        assert below[n] == pytest.approx(min([y[n], *chords]), abs=1e-6)
