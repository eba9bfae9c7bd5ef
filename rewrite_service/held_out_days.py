"""Requests of held-out days: what rewriting each would have done, as far as the log tells, and what a score means.

The log tells by what its users did, and users are no judges: some stay silent on a wrong answer, some turn to something
else, which looks like a repair. Taken at its word, such a log calls good rewrites harmful, and where a few in a hundred
failures leave no sign, no threshold keeps twenty wins to a harm. So what it tells is doubted (`doubted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ranker.calibration import Calibration, Prior
from ranker.model import NEEDLESS, WIN, WRONG
from ranker.policy import Trial, best_of, judge
from rewrite_service.examples import Example

MEANING_ELSEWHERE = Prior(offset=1.3, slope=1.25, cases=100)
"""What the ranker's score means on logs of which the truth is known (`make bench-generated`): much the same on each,
and more than it says."""
_ROUNDS = 2
"""With four the reduction moves by less than two points (docs/decisions/0041)."""
_LEAST_WEIGHT = 1e-6
"""A calibration takes no case that weighs nothing."""
_LEAST_PROBABILITY = 1e-3
"""No probability of a model counts as nearer to 0 or 1 in the odds that it gives."""
_MOST_SIGN = 40.0
"""Log odds; what is surer than this is certain."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A held-out example with the model's outcome probabilities, (candidates, 3). `failed`: how probable it is that the
    query failed as it was; `wish`: that a wish which is known is what was wanted; 0 to 1."""

    example: Example
    probabilities: np.ndarray
    failed: float
    wish: float

    @classmethod
    def as_told(cls, example: Example, probabilities: np.ndarray) -> Judged:
        """As the log has it."""
        return cls(example, probabilities, float(not example.goal.served), example.wish)


@dataclass(frozen=True, slots=True)
class Calibrations:
    """What a score means: `all`: of any request for which a rewrite makes a difference; `failed`: of one that is known
    to fail as it is, where a rewrite cannot break what served."""

    all: Calibration
    failed: Calibration


def calibrate(judged: Sequence[Judged]) -> Calibrations:
    """From the best candidate of each held-out request whose wish is known and for which a rewrite makes a
    difference, and from what scores mean elsewhere."""
    seen = []
    for j in judged:
        best = best_of(j.example.candidates, j.probabilities)
        if best is None or not j.example.goal.known:
            continue
        outcome, served = int(j.example.outcome[best.index]), j.example.goal.served
        if outcome != NEEDLESS:
            counts = max(_LEAST_WEIGHT, 1 - j.failed if served else j.wish)
            seen.append((best.score, float(outcome == WIN), counts, not served))
    scores, won, weight, failed = np.array(seen, dtype=float).reshape(-1, 4).T
    of = failed > 0
    return Calibrations(
        *(Calibration.fit(scores[some], won[some], weight[some], MEANING_ELSEWHERE) for some in (slice(None), of))
    )


def _query_fails(j: Judged) -> float:
    """The model's probability that the query fails: at least that of its best candidate's winning, which is only won
    where it does. Where the query was answered as that candidate would have been, both are right or both are wrong."""
    alone = j.probabilities[0]
    fails = float(alone[WRONG] / (alone[WRONG] + alone[NEEDLESS]))
    best = best_of(j.example.candidates, j.probabilities)
    if best is None:
        return fails
    return best.wrong if j.example.outcome[best.index] == NEEDLESS else max(fails, best.win)


def _odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(p / (1 - p))


def doubted(judged: Sequence[Judged]) -> tuple[list[Judged], Calibrations]:
    """The requests with what the log tells of them weighed against what the model expects, and the calibrations by
    that. By Bayes' theorem: the model has not seen what came of these very requests, and only its calibrations have.

    - Whoever stays silent on a wrong answer looks served. The odds that the query failed are those that the model
      gives, calibrated, times what the user's reaction adds (`Example.sign`).
    - A turn taken for the repair may have been another wish, or a failure that looked fine. Where a likely candidate is
      not what it asked for, either is mistaken: the odds of the label are weighed against the candidate's.

    Calibrated on doubted labels and doubted again, as expectation-maximisation does (the noise of the labels is known:
    Dawid and Skene 1979)."""
    now = list(judged)
    expected = np.array([_query_fails(j) for j in now])
    sign = np.array([j.example.sign for j in now], dtype=float)
    served = np.array([j.example.goal.served for j in now], dtype=bool)
    for _ in range(_ROUNDS):
        calibrations = calibrate(now)
        failing = Calibration.fit(expected, np.array([j.failed for j in now]), np.ones(len(now)))
        against = np.exp(-np.clip(sign, -_MOST_SIGN, _MOST_SIGN)) / _odds(failing.apply(expected))
        failed = np.where(served, 1 / (1 + against), 1.0).tolist()
        now = [replace(j, failed=f, wish=_wish(j, calibrations)) for j, f in zip(now, failed, strict=True)]
    return now, calibrate(now)


def _wish(j: Judged, calibrations: Calibrations) -> float:
    """How probable it is that the label has the wish right, where the model's best candidate is another."""
    example, best = j.example, best_of(j.example.candidates, j.probabilities)
    if best is None or example.goal.served or example.outcome[best.index] != WRONG or not example.goal.known:
        return example.wish
    candidate = float(_odds(calibrations.all.apply(best.score)))
    return example.wish / (example.wish + (1 - example.wish) * candidate)


def trial(j: Judged, calibrations: Calibrations) -> Trial:
    """What rewriting to the best candidate would have done. Where the wish is not known (the user gave up, or failed
    without a sign), and as far as it is not sure, a win as probably as for other failed requests of that score, and a
    miss otherwise: counting all of these as missed would punish exactly the requests that need help most."""
    example = j.example
    verdict = judge(example.candidates, j.probabilities, calibrations.all)
    best = best_of(example.candidates, j.probabilities)
    if best is None:
        return Trial(verdict, 0, 0, 0, 0)
    goal, outcome = example.goal, int(example.outcome[best.index])
    met, helps = outcome in (WIN, NEEDLESS), float(calibrations.failed.apply(best.score))
    if goal.served:
        win = j.failed * helps * (not met)  # what means the same as the query helps nobody whom that has failed
        return Trial(verdict, win, (1 - j.failed) * (not met), j.failed - win, (1 - j.failed) * met)
    sure = j.wish if goal.known else 0.0
    win = sure * met + (1 - sure) * helps
    return Trial(verdict, win, 0.0, 1 - win, 0.0)
