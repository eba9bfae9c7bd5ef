"""How probable it is that a label is right, and from which probability on so many are: found without annotators, from
how surely the model labels real failures and how surely it labels decoys (`mining.labels.decoys`).

A failure's score is how surely it is linked to the turn that its label is taken from, 0 where it has no label. Failures
are of two kinds: those whose wish came again, and those whose user went on to something else, whose scores are like
decoys'. The share of the latter is at most the share of failures without a label over that of decoys without one
(Storey 2002, "A direct approach to false discovery rates"). So many decoys, scaled to that share, are expected among
the labels above any score: the false discovery rate. The local rate, of labels near one score, is the slope of the
greatest convex minorant of the decoys' count over the labels' count, from the surest down (Grenander 1956; Strimmer
2008, "A unified approach to false discovery rate estimation").
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOUND = 0.9
"""How sure it is that the true precision is not below the one that is stated, as far as decoys behave like failures
that were given up."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """`scores`: ascending. `right`: of each, the probability that a label of this score, or of a higher one up to the
    next, takes its text from a turn that pursued the same; ascending, 0 to 1."""

    scores: tuple[float, ...] = ()
    right: tuple[float, ...] = ()

    def of(self, score: float) -> float:
        """Probability, 0 to 1, of a label's score."""
        at = bisect_left(self.scores, score)
        if at < len(self.scores) and self.scores[at] == score:
            return self.right[at]
        return self.right[at - 1] if at else 0.0


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Share of the failures that behave like decoys, 0 to 1: about `share`, and `at_most` as sure as `BOUND` says."""

    share: float
    at_most: float


def given_up(real: np.ndarray, decoys: np.ndarray) -> GivenUp:
    """From the scores of failures and decoys, 0 where there is no label. One failure without a label more is counted
    than there was: none seen is no proof of none."""
    without = float((decoys == 0).mean()) if len(decoys) else 0.0
    if not len(real) or not without:
        return GivenUp(1.0, 1.0)
    unlabelled = int((real == 0).sum())
    share, at_most = (unlabelled + 1) / (len(real) + 1), _upper(unlabelled, len(real))
    return GivenUp(min(1.0, share / without), min(1.0, at_most / without))


def _upper(times: int, of: int) -> float:
    """Upper bound of a share that was seen so many times (Clopper and Pearson 1934)."""
    from scipy.stats import beta  # only now: whoever labels needs none of it

    return float(beta.ppf(BOUND, times + 1, of - times)) if times < of else 1.0


def fit_confidence(real: np.ndarray, decoys: np.ndarray, gave_up: GivenUp) -> Confidence:
    """From the scores of failures and of decoys."""
    labels, false = np.sort(real[real > 0])[::-1], np.sort(decoys[decoys > 0])[::-1]
    if not len(labels):
        return Confidence()
    each = gave_up.share * len(real) / max(1, len(decoys))
    scores = np.unique(labels)[::-1]
    # One decoy more than there were, likewise.
    expected = each * (1 + np.searchsorted(-false, -scores, side="right"))
    count = np.searchsorted(-labels, -scores, side="right").astype(float)
    slopes = _slopes(np.concatenate([[0.0], count]), np.concatenate([[0.0], expected]))
    right = np.clip(1 - slopes, 0.0, 1.0)
    return Confidence(tuple(scores[::-1].tolist()), tuple(right[::-1].tolist()))


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slopes of the greatest convex minorant of the points between each and the one before; `x` ascending."""
    hull = [0]
    for n in range(1, len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[n] - x[b]) < (y[n] - y[b]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(n)
    slopes = np.diff(y[hull]) / np.diff(x[hull])
    return np.repeat(slopes, np.diff(hull))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Of failures or decoys, float64 (n,): `probability` of the label, and `wrong`, that of the turn that it is taken
    from having failed as well; 0 where there is no label."""

    probability: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True, slots=True)
class Threshold:
    """`least`: probability from which on labels are written. `precision`: share of them that are right, as estimated;
    `at_least`: its lower bound. `coverage`: share of the failures whose wish came again that get such a label, as
    estimated. `labels`: how many the held-out days have. All shares 0 to 1."""

    least: float
    precision: float
    at_least: float
    coverage: float
    labels: int


def thresholds(real: Labelled, decoys: Labelled, gave_up: GivenUp) -> list[Threshold]:
    """What each threshold leaves, from the highest down."""
    n, m = len(real.probability), len(decoys.probability)
    out = []
    for least in np.unique(real.probability[real.probability > 0])[::-1]:
        chosen = real.probability >= least
        labels, false = int(chosen.sum()), int((decoys.probability >= least).sum())
        failed = float(real.wrong[chosen].mean())
        precision = max(0.0, 1 - gave_up.share * n / labels * false / max(1, m) - failed)
        at_least = max(0.0, 1 - gave_up.at_most * n / labels * _upper(false, m) - failed)
        coverage = min(1.0, labels * precision / max(1.0, n * (1 - gave_up.share)))
        out.append(Threshold(float(least), precision, at_least, coverage, labels))
    return out


def lowest(found: Sequence[Threshold], precision: float) -> Threshold | None:
    """The one with the most labels of those that keep `precision` by its lower bound; None where none does."""
    return next((t for t in reversed(found) if t.at_least >= precision), None)
