"""Makes a score mean what it says: of the rewrites given probability p, a share p wins.

Isotonic regression (Zadrozny and Elkan 2002) on held-out days, which assumes only that a higher score is no worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


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
    def fit(cls, scores: np.ndarray, won: np.ndarray, weight: np.ndarray) -> Calibration:
        """`scores`, `won` (0 to 1), `weight`: (n,). With fewer than 50 cases the scores are kept as they are."""
        if len(scores) < 50 or won.min() == won.max():
            return cls()
        from scipy.optimize import isotonic_regression  # only now: serving fits nothing, and it takes long to import

        order = np.argsort(scores, kind="stable")
        s, y, w = scores[order], won[order].astype(float), weight[order].astype(float)
        fitted = isotonic_regression(y, weights=w)
        knots_s, knots_p = [0.0], [0.0]
        for start, stop in zip(fitted.blocks[:-1], fitted.blocks[1:], strict=True):
            # A block's mean, drawn towards the scores' own mean as if by one more case: no block is quite sure.
            total = w[start:stop].sum()
            centre = float(np.average(s[start:stop], weights=w[start:stop]))
            knots_s.append(centre)
            knots_p.append(float((fitted.x[start] * total + centre) / (total + 1)))
        knots_s.append(1.0)
        knots_p.append(1.0 if knots_p[-1] > 0.999 else (knots_p[-1] + 1) / 2)
        p = np.maximum.accumulate(np.clip(knots_p, 0, 1))
        return cls(tuple(knots_s), tuple(p.tolist()))

    def apply(self, score: np.ndarray | float) -> np.ndarray:
        """Probabilities, same shape as `score`."""
        return np.asarray(np.interp(score, *self._knots))
