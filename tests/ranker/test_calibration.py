"""What a score means: by the cases that were seen, and by what scores mean elsewhere where few were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.calibration import Calibration, Prior

PRIOR = Prior(offset=1.3, slope=1.25, cases=100)
SCORES = np.linspace(0.05, 0.95, 19)
NONE = np.zeros(0)


def test_a_prior_is_a_line_in_log_odds() -> None:
    assert Prior(0, 1, 1).probability(SCORES) == pytest.approx(SCORES)
    odds = np.exp(1.3 + 1.25 * np.log(SCORES / (1 - SCORES)))
    assert PRIOR.probability(SCORES) == pytest.approx(odds / (1 + odds))
    ends = PRIOR.probability(np.array([0.0, 1.0]))
    assert 0 < ends[0] < 1e-6 and 1 - 1e-6 < ends[1] <= 1


def test_without_a_case_scores_mean_what_they_mean_elsewhere() -> None:
    assert Calibration.fit(NONE, NONE, NONE, PRIOR).apply(SCORES) == pytest.approx(PRIOR.probability(SCORES), abs=0.03)
    assert Calibration.fit(NONE, NONE, NONE) == Calibration()


@pytest.mark.parametrize("times", [1, 100])
def test_the_more_cases_the_less_the_prior_says(times: int) -> None:
    """Scores that are right as they are, of which the prior says that they are too low."""
    rng = np.random.default_rng(0)
    scores = np.tile(np.linspace(0.01, 0.99, 40), times)
    won = (rng.random(len(scores)) < scores).astype(float)
    found = Calibration.fit(scores, won, np.ones(len(scores)), PRIOR).apply(SCORES)
    off_data = np.abs(found - SCORES).mean()
    off_prior = np.abs(found - PRIOR.probability(SCORES)).mean()
    assert (off_data < 0.03) if times == 100 else (off_prior < off_data)


cases = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 10)), max_size=80)
priors = st.none() | st.builds(Prior, st.floats(-3, 3), st.floats(0.1, 3), st.floats(1, 500))


@given(cases, priors)
def test_a_higher_score_never_means_less(seen: list[tuple[float, float, float]], prior: Prior | None) -> None:
    scores, won, weight = np.array(seen, dtype=float).reshape(-1, 3).T
    fitted = Calibration.fit(scores, won, weight, prior)
    p = fitted.apply(np.linspace(0, 1, 101))
    assert (np.diff(p) >= 0).all() and p.min() >= 0 and p.max() <= 1
    assert list(fitted.scores) == sorted(fitted.scores) and len(fitted.scores) == len(fitted.probabilities)


@given(cases.filter(bool), priors.filter(bool))
def test_wins_and_losses_weigh_as_they_came(seen: list[tuple[float, float, float]], prior: Prior) -> None:
    """Isotonic regression keeps the weighted sum: so many wins as there were, and as the prior foretells."""
    from ranker.calibration import _PRIOR_SCORES, _isotonic

    scores, won, weight = np.array(seen, dtype=float).reshape(-1, 3).T
    foretold = prior.probability(_PRIOR_SCORES)
    share = np.full(len(foretold), prior.cases / len(foretold))
    blocks = _isotonic(np.append(scores, _PRIOR_SCORES), np.append(won, foretold), np.append(weight, share))
    assert sum(p * total for _, p, total in blocks) == pytest.approx((won * weight).sum() + (foretold * share).sum())
