"""Makes a score mean what it says: of the rewrites given probability p, a share p wins.

Isotonic regression (Zadrozny and Elkan 2002) on held-out days, which assumes only that a higher score is no worse.
Where few cases have been seen, what scores mean elsewhere can stand in for more of them (`Prior`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_PRIOR_SCORES = (np.arange(20) + 0.5) / 20
_LEAST = 1e-6
"""No score counts as nearer to 0 or 1 in its log odds."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What scores mean before a case is seen: the log odds of winning are `offset` + `slope` (above 0) times those of
    the score, as Platt (1999) has it. `cases`: as many it weighs, spread evenly over the scores."""

    offset: float
    slope: float
    cases: float

    def probability(self, scores: np.ndarray) -> np.ndarray:
        s = np.clip(scores, _LEAST, 1 - _LEAST)
        return np.asarray(1 / (1 + np.exp(-self.offset) * ((1 - s) / s) ** self.slope))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A monotone map from score to probability: linear between `scores` (ascending), flat outside."""

    scores: tuple[float, ...] = (0.0, 1.0)
    probabilities: tuple[float, ...] = (0.0, 1.0)
    _knots: tuple[np.ndarray, np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # As arrays, which `interp` would make of them at each call.
        object.__setattr__(self, "_knots", (np.array(self.scores), np.array(self.probabilities)))

    @classmethod
    def fit(
        cls, scores: np.ndarray, won: np.ndarray, weight: np.ndarray, prior: Prior | None = None
    ) -> Calibration:
        """`scores`, `won` (0 to 1), `weight`: (n,). `prior`: cases to begin with, for any number of others, none among
        them. Without one, the scores are kept as they are where there are fewer than 50 cases, or all or none won."""
        if prior is not None:
            expected = prior.probability(_PRIOR_SCORES)
            share = np.full(len(expected), prior.cases / len(expected))
            given = (scores, won, weight), (_PRIOR_SCORES, expected, share)
            blocks = _isotonic(*(np.concatenate(both) for both in zip(*given, strict=True)))
            knots = [(centre, p) for centre, p, _ in blocks]
        elif len(scores) < 50 or won.min() == won.max():
            return cls()
        else:
            # A block's mean, drawn towards the scores' own mean as if by one more case: no block is quite sure.
            blocks = _isotonic(scores, won, weight)
            knots = [(centre, (p * total + centre) / (total + 1)) for centre, p, total in blocks]
        last = knots[-1][1]
        knots = [(0.0, 0.0), *knots, (1.0, 1.0 if last > 0.999 else (last + 1) / 2)]
        p = np.maximum.accumulate(np.clip([p for _, p in knots], 0, 1))
        return cls(tuple(score for score, _ in knots), tuple(p.tolist()))

    def apply(self, score: np.ndarray | float) -> np.ndarray:
        """Probabilities, same shape as `score`."""
        return np.asarray(np.interp(score, *self._knots))


def _isotonic(scores: np.ndarray, won: np.ndarray, weight: np.ndarray) -> list[tuple[float, float, float]]:
    """Blocks of ascending scores: mean score, mean of `won`, weight."""
    from scipy.optimize import isotonic_regression  # only now: serving fits nothing, and it takes long to import

    order = np.argsort(scores, kind="stable")
    s, y, w = scores[order], won[order].astype(float), weight[order].astype(float)
    fitted = isotonic_regression(y, weights=w)
    return [
        (float(np.average(s[start:stop], weights=w[start:stop])), float(fitted.x[start]), float(w[start:stop].sum()))
        for start, stop in zip(fitted.blocks[:-1], fitted.blocks[1:], strict=True)
    ]
