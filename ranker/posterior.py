"""Whether a rewrite does harm, from what came of it when it was served: posteriors with it and without.

A pair is what was heard and what was asked instead; left alone, the same text twice. The rate at which each of the two
ways fails has a Beta prior, from what the bundle foretells of the request. Nobody says whether a turn failed: its
user's reaction makes it likelier or less so, by some odds (`mining.reactions`). To count such a turn as so much of a
failure, as for a Beta posterior, would draw every pair towards what is usual for answers in general. So the likelihood
of each rate is kept instead, on a grid of rates: exact for any odds, the Beta posterior where all are certain, and
still a sum over turns. Older turns count less. Pure functions and value objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from retriever.evidence import DAY_MS

CELLS = 24
RATES = np.sin(np.pi / 2 * (np.arange(CELLS) + 0.5) / CELLS) ** 2
"""Rates of failure, 0 to 1, one for each cell of the grid: denser towards the ends, so that as many turns tell any two
neighbours apart (the variance-stabilising transform of a proportion)."""
HALF_LIFE_MS = 30 * DAY_MS
"""After so long a turn counts half: songs, devices and assistants change, and what was retired gets another chance."""
PRIOR_TURNS = 0.75
"""What the bundle's own probability weighs, in turns. With more, a harmful pair goes on for longer, and good ones are
lost hardly less (docs/decisions/0024-experience-with-rewrites.md)."""
HARMFUL = 0.9
"""A pair is retired where it does harm with more than this probability."""
LEAST_SERVED = 0.5
"""A rewrite that serves in fewer than so many of its turns does harm, however seldom the text serves left alone: it
answers something else than was asked, where the user would have been told that nothing was found."""
_SUREST = 9.0
"""Log odds beyond which a single turn says no more."""
_EDGES = np.sin(np.pi / 2 * np.arange(CELLS + 1) / CELLS) ** 2
_OFTEN_FAILS = RATES > 1 - LEAST_SERVED


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """`turns`: how many, weighed, from 0. `likelihood`: float64 (CELLS,), the log likelihood of each of `RATES`."""

    turns: float = 0.0
    likelihood: np.ndarray = field(default_factory=lambda: np.zeros(CELLS))

    def at_most(self, turns: float) -> Evidence:
        """Each turn weighing less where all weigh more than `turns` together; shares stay."""
        scale = turns / self.turns if self.turns > turns else 1.0
        return Evidence(scale * self.turns, scale * self.likelihood)


NONE = Evidence()


@dataclass(frozen=True, slots=True)
class Foretold:
    """What the bundle foretells of a request: the probabilities, 0 to 1, that it serves when rewritten, and left
    alone."""

    rewritten: float
    alone: float


def decay(age_ms: np.ndarray) -> np.ndarray:
    """What turns of that age weigh, 0 to 1; those from the future as much as those from just now."""
    return np.asarray(0.5 ** (np.maximum(age_ms, 0.0) / HALF_LIFE_MS))


def weigh(turns: Iterable[tuple[int, float]], now_ms: int) -> Evidence:
    """`turns`: of each, milliseconds since 1970, and the log odds that its user's reaction adds to its having
    failed."""
    rows = np.array(list(turns), dtype=float).reshape(-1, 2)
    if not len(rows):
        return NONE
    weight = decay(now_ms - rows[:, 0])
    odds = np.exp(np.clip(rows[:, 1], -_SUREST, _SUREST))
    return Evidence(float(weight.sum()), weight @ np.log(RATES * odds[:, None] + 1 - RATES))


@lru_cache(maxsize=256)
def _prior(per_cent: int) -> np.ndarray:
    """Log prior of the rates of what serves in so many of a hundred turns; never quite sure, so that no evidence is in
    vain."""
    p = min(0.99, max(0.01, per_cent / 100))
    below = [_beta_below(PRIOR_TURNS * (1 - p), PRIOR_TURNS * p, float(edge)) for edge in _EDGES]
    return np.log(np.maximum(np.diff(below), 1e-300))


def _beta_below(a: float, b: float, x: float) -> float:
    """P(X < x) for X of Beta(a, b): the regularised incomplete beta function by its continued fraction (DLMF 8.17.22,
    Lentz's method). SciPy has it, and takes longer to import than all else that serving needs of it."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_below(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 200):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d), 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return math.exp(log_front) * fraction / a


def rates(evidence: Evidence, foretold: float) -> np.ndarray:
    """The posterior: float64 (CELLS,), the probability of each of `RATES`, summing to 1. `foretold`: that it serves."""
    log = _prior(round(100 * foretold)) + evidence.likelihood
    mass = np.exp(log - log.max())
    return np.asarray(mass / mass.sum())


def harm(rewritten: Evidence, alone: Evidence, foretold: Foretold) -> float:
    """The probability, 0 to 1, that a pair does harm: that its rewrite fails more often than the text left alone, or
    in more than 1 - `LEAST_SERVED` of its turns. 0 where it was never served."""
    if rewritten.turns <= 0:
        return 0.0
    with_it, without = rates(rewritten, foretold.rewritten), rates(alone, foretold.alone)
    below = np.cumsum(without) - without / 2  # rates in one cell: either way
    return float(min(1.0, max(with_it @ below, with_it[_OFTEN_FAILS].sum())))
