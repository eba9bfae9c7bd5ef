"""A LightGBM model that travels: as text it is compared, hashed and sent to other processes and machines by pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import lightgbm

STEADY: dict[str, Any] = {
    "num_leaves": 15,
    "min_data_in_leaf": 30,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""How what is learned from users' reactions is trained: repeatable, on one thread, leaves drawn strongly to the mean,
since such labels are wrong now and then."""
_SETTINGS = STEADY | {"objective": "binary", "learning_rate": 0.05}


@dataclass(frozen=True, slots=True)
class Boosted:
    """`text`: the model as LightGBM writes it; empty: nothing was learned, and every probability is `share`."""

    text: str
    share: float = 0.0

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, weight: np.ndarray, names: Sequence[str], rounds: int) -> Boosted:
        """`x`: float32 (n, features), columns as in `names`; `y`: (n,) of 0 and 1; `weight`: (n,), > 0. The same data
        give the same model."""
        if len(y) == 0 or y.min() == y.max():
            return cls("", float(y[0]) if len(y) else 0.0)
        import lightgbm  # only now: what never labels needs none of it

        data = lightgbm.Dataset(x, y, weight=weight, feature_name=list(names))
        return cls(lightgbm.train(_SETTINGS, data, rounds).model_to_string(), float(np.average(y, weights=weight)))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 (n,): probabilities, not calibrated. `x`: float32 (n, features)."""
        if not self.text or not len(x):
            return np.full(len(x), self.share)
        return np.asarray(_opened(self.text).predict(x, num_threads=1))


@lru_cache(maxsize=8)
def _opened(text: str) -> lightgbm.Booster:
    import lightgbm

    return lightgbm.Booster(model_str=text)
