"""The ranker: one LightGBM model that gives every candidate the probabilities of three outcomes.

WRONG: the user would not get what was wanted. NEEDLESS: would, but the query alone would have done. WIN: would, and the
query alone would have failed. For the row that leaves the query alone, NEEDLESS means that the query serves as it is,
so that leaving competes with rewriting in one ranking.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ranker.boosting import STEADY, train
from ranker.feature_names import NAMES
from ranker.trees import Trees

WRONG, NEEDLESS, WIN = 0, 1, 2

_PARAMETERS = {
    **STEADY,
    "objective": "multiclass",
    "num_class": 3,
    "learning_rate": 0.08,
    "num_leaves": 15,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}
ROUNDS = 180


class RankerModel:
    """A trained model. Predicting is thread-safe; one thread a call, since a request has few rows."""

    def __init__(self, trees: Trees) -> None:
        if trees.feature_names != NAMES:
            raise ValueError(
                "the model was trained on other features than this version computes; build the bundle anew"
            )
        self._trees = trees

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> RankerModel:
        """`x`: float32 (n, features); `y`: (n,) of WRONG, NEEDLESS, WIN; `weight`: (n,), > 0. The same data give the
        same model."""
        return cls(train(_PARAMETERS, ROUNDS, NAMES, x, y, weight))

    @classmethod
    def open(cls, path: Path) -> RankerModel:
        return cls(Trees.open(path))

    def save(self, path: Path) -> None:
        self._trees.save(path)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 (n, 3): probabilities of WRONG, NEEDLESS, WIN, not calibrated."""
        return self._trees.predict(x)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """float64 (n, features): what each feature adds to the score of WIN (SHAP of trees, Lundberg 2018)."""
        return self._trees.contributions(x)[:, WIN, : len(NAMES)]

    def importance(self) -> dict[str, float]:
        """Total gain by feature, as shares of 1."""
        gain = self._trees.gain()
        return dict(zip(NAMES, (gain / max(gain.sum(), 1e-9)).tolist(), strict=True))
