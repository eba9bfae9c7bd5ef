"""Whether a rewrite does harm, from what came of it when it was served: Beta posteriors, with it and without.

A pair is what was heard and what was asked instead; left alone, the same text twice. Each turn counts as so much of a
failure as it probably was one, and less the older it is. The share of turns that serve their user has a Beta posterior
for each of the two ways, from what the bundle foretells of the request; they are compared exactly. Pure functions and
value objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv

from retriever.evidence import DAY_MS

HALF_LIFE_MS = 30 * DAY_MS
"""After so long a turn counts half: songs, devices and assistants change, and what was retired gets another chance."""
PRIOR_TURNS = 2.0
"""What the bundle's own probability weighs, in turns. Fewer, and two unlucky turns retire a good pair; more, and a
harmful one goes on for longer (benchmarks/chaos/poison.py compares)."""
HARMFUL = 0.9
"""A pair is retired where it does harm with more than this probability."""
LEAST_SERVED = 0.5
"""A rewrite that serves in fewer than so many of its turns does harm, however seldom the text serves left alone: it
answers something else than was asked, where the user would have been told that nothing was found."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_QUANTILES = (_NODES + 1) / 2


@dataclass(frozen=True, slots=True)
class Counts:
    """Turns, weighed: expected numbers of those that served their user and of those that did not, from 0."""

    served: float = 0.0
    failed: float = 0.0

    @property
    def turns(self) -> float:
        return self.served + self.failed

    def times(self, factor: float) -> Counts:
        return Counts(factor * self.served, factor * self.failed)


NONE = Counts()


@dataclass(frozen=True, slots=True)
class Foretold:
    """What the bundle foretells of a request: the probabilities, 0 to 1, that it serves when rewritten, and left
    alone."""

    rewritten: float
    alone: float


def decay(age_ms: float) -> float:
    """What a turn of that age weighs, 0 to 1; one from the future as much as one from just now."""
    return 0.5 ** (max(0.0, age_ms) / HALF_LIFE_MS)


def weigh(turns: Iterable[tuple[int, float]], now_ms: int, most: float = float("inf")) -> Counts:
    """`turns`: (milliseconds since 1970, probability of having failed) of each. `most`: what all weigh together at
    most, in turns; beyond, each weighs less, and the shares stay."""
    served = failed = 0.0
    for at_ms, defect in turns:
        weight = decay(now_ms - at_ms)
        served += weight * (1 - defect)
        failed += weight * defect
    total = served + failed
    return Counts(served, failed).times(min(1.0, most / total) if total > 0 else 1.0)


def _beta(counts: Counts, foretold: float) -> tuple[float, float]:
    """Of the share that serves. The prior never is quite sure, so that no evidence is in vain."""
    p = min(0.99, max(0.01, foretold))
    return PRIOR_TURNS * p + counts.served, PRIOR_TURNS * (1 - p) + counts.failed


def probably_less(one: tuple[float, float], other: tuple[float, float]) -> float:
    """P(X < Y), 0 to 1, for X of Beta(*one) and Y of Beta(*other), independent, all parameters above 0.

    It is the mean of P(Y > X) over X, taken over the quantiles of X by Gauss-Legendre quadrature: bounded and monotone
    in the quantile, whatever the shapes, so that it is stable where densities have poles: within 0.002 where all
    parameters are at least 1, and within 0.03 for the steepest poles. Closed forms (e.g. Cook 2005, "Exact calculation
    of beta inequalities") want whole numbers, and evidence here is fractional.
    """
    (a, b), (c, d) = one, other
    if mirrored := a > b:  # seen from the end where X is, near which floats are denser
        a, b, c, d = b, a, d, c
    below = betainc(c, d, betaincinv(a, b, _QUANTILES))
    above = below if mirrored else 1.0 - below
    return float(np.clip(0.5 * _WEIGHTS @ above, 0.0, 1.0))


def harm(rewritten: Counts, alone: Counts, foretold: Foretold) -> float:
    """The probability, 0 to 1, that a pair does harm: that its rewrite serves less often than the text left alone, or
    than in `LEAST_SERVED` of its turns. 0 where it was never served."""
    if rewritten.turns <= 0:
        return 0.0
    with_it, without = _beta(rewritten, foretold.rewritten), _beta(alone, foretold.alone)
    return max(probably_less(with_it, without), float(betainc(*with_it, LEAST_SERVED)))
