"""What one more feature would be worth: the ranker with a further column, judged on the last blocks of a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ranker import model as ranker_model
from ranker.boosting import train
from ranker.feature_names import NAMES
from ranker.model import WRONG, RankerModel
from ranker.policy import choose, tally
from ranker.trees import Trees
from rewrite_service import learning
from rewrite_service.examples import Example
from rewrite_service.held_out_days import doubted, trial

HELD_OUT = 2


class WiderModel(RankerModel):
    """The ranker, which also takes one feature more than there is a name for."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> RankerModel:
        names = [*NAMES, "further"][: x.shape[1]]
        return cls(train(ranker_model._PARAMETERS, ranker_model.ROUNDS, names, x, y, weight))


def with_column(some: Sequence[Example], column: Callable[[Example], np.ndarray]) -> list[Example]:
    """The examples with a further column: `column` gives float32 (candidates,) of each, NaN where it is not known."""
    return [replace(e, x=np.hstack([e.x, column(e)[:, None]])) for e in some]


def judge(some: Sequence[Example]) -> dict[str, float]:
    """What the ranker does on the last blocks, each predicted from those before it."""
    usual, learning.RankerModel = learning.RankerModel, WiderModel
    try:
        judged, calibrations = doubted(learning.predict_out_of_time(some, HELD_OUT, 1))
    finally:
        learning.RankerModel = usual
    trials = [trial(j, calibrations) for j in judged]
    failed = sum(j.failed for j in judged)
    found = tally(trials, failed, choose(trials, failed, calibrations.all, 20.0, 0.03))
    wrong = [
        float(j.probabilities[i, WRONG]) - (j.example.outcome[i] == WRONG)
        for j in judged
        for i in range(1, len(j.probabilities))
        if j.example.outcome[i] >= 0
    ]
    return {
        "reduction": round(found.reduction, 4),
        "wins_per_harm": round(found.ratio, 2),
        "brier_wrong": round(float(np.mean(np.square(wrong))), 5),
    }
