"""Stopping early: what is passed at once loses next to no win, on days that were not learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranker.feature_names import QUERY_FEATURES
from ranker.triage import LEAST_WINS, Triage, TriageTrials

WIDTH = len(QUERY_FEATURES)


def days(n: int, seed: int, folds: int = 4, noise: float = 0.05) -> TriageTrials:
    """A world in which a third of the queries look suspicious, and only of these some are won."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, WIDTH)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    suspicious = np.nan_to_num(x[:, 3]) + 0.3 * np.nan_to_num(x[:, 7]) > 0.4
    won = (suspicious & (rng.random(n) < 0.4)) | (rng.random(n) < noise * 0.01)
    win = np.clip(won * 0.8 + rng.normal(0.05, 0.03, n), 0, 1)
    return TriageTrials(x, win, won.astype(float), rng.integers(0, folds, n))


def test_it_spares_most_of_what_is_fine_and_loses_next_to_nothing() -> None:
    triage, report = Triage.fit(days(6000, 0), 0.01)
    later = days(6000, 1)
    passed = np.array([triage.win(row) < triage.threshold for row in later.x[:1500]])
    won = later.won[:1500]
    assert report["wins_lost"] <= 0.01 and report["passed"] > 0.4
    assert passed.mean() > 0.4, "what held on the days of learning holds later"
    assert won[passed].sum() <= 0.03 * won.sum()


def test_no_more_wins_are_lost_than_allowed() -> None:
    for most in (0.0, 0.005, 0.05, 0.2):
        _, report = Triage.fit(days(3000, 2), most)
        assert report["wins_lost"] <= most + 1e-9


def test_more_may_be_passed_the_more_may_be_lost() -> None:
    shares = [Triage.fit(days(3000, 3), most)[1]["passed"] for most in (0.0, 0.02, 0.1, 0.5)]
    assert shares == sorted(shares) and shares[-1] > shares[0]


def test_with_few_wins_nothing_is_passed() -> None:
    few = days(400, 4)
    won = np.zeros_like(few.won)
    won[: int(LEAST_WINS) - 1] = 1.0
    triage, report = Triage.fit(TriageTrials(few.x, few.win, won, few.fold), 0.1)
    assert triage.threshold == 0.0 and report["passed"] == 0.0
    assert triage.win(few.x[0]) >= 0.0


def test_a_saved_one_says_the_same(tmp_path: Path) -> None:
    trials = days(1500, 5)
    triage, _ = Triage.fit(trials, 0.01)
    triage.save(tmp_path / "triage.txt")
    again = Triage.open(tmp_path / "triage.txt", triage.threshold)
    assert [again.win(row) for row in trials.x[:50]] == [triage.win(row) for row in trials.x[:50]]


def test_one_of_other_features_is_refused(tmp_path: Path) -> None:
    triage, _ = Triage.fit(days(600, 6), 0.01)
    triage.save(tmp_path / "triage.txt")
    text = (tmp_path / "triage.txt").read_text()
    (tmp_path / "triage.txt").write_text(text.replace("query_words", "query_wards"))
    with pytest.raises(ValueError, match="other features"):
        Triage.open(tmp_path / "triage.txt", 0.1)
