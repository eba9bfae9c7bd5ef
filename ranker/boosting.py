"""How all LightGBM models here are trained: repeatable, on one thread, leaves drawn strongly to the mean.

Labels come from what users did next and are wrong now and then; a model that can follow single examples learns their
noise (compared out of time on held-out days of a log).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ranker.trees import Trees

STEADY: dict[str, Any] = {
    "min_data_in_leaf": 30,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def train(
    parameters: Mapping[str, Any],
    rounds: int,
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
) -> Trees:
    """`x`: float32 (n, features) with columns as in `names`, NaN where not known; `y`, `weight`: (n,), weights > 0."""
    import lightgbm  # only now: serving trains nothing, and its Python package takes long to import

    data = lightgbm.Dataset(x, y, weight=weight, feature_name=list(names), free_raw_data=True)
    return Trees.trained(lightgbm.train(dict(parameters), data, rounds))
