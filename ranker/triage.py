"""Whether a request is worth a search: told from the query alone, before anything is encoded, searched or ranked.

Most requests are fine, and look it. A small model foretells from the query features the probability of winning that
the whole pipeline would find; where it is so low that next to no rewrite ever came of such a query, the pipeline stops
there. The first stage of a cascade (Viola and Jones 2001), distilled from what comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ranker.boosting import STEADY, train
from ranker.feature_names import QUERY_FEATURES
from ranker.trees import Trees

_PARAMETERS = {**STEADY, "objective": "cross_entropy", "num_leaves": 31, "learning_rate": 0.1}
_ROUNDS = 80
_NAMES = tuple(name for name, _ in QUERY_FEATURES)
LEAST_WINS = 50.0
"""With fewer wins to judge by, nothing is passed at once."""


@dataclass(frozen=True, slots=True)
class TriageTrials:
    """Held-out requests as the whole pipeline judged them, n of each. `x`: float32 (n, query features). `win`: 0 to 1,
    the best candidate's probability of winning. `won`: expected wins of the decision, 0 where it was to pass. `fold`:
    int, the block of days."""

    x: np.ndarray
    win: np.ndarray
    won: np.ndarray
    fold: np.ndarray


class Triage:
    """`threshold`: on the foretold probability of winning; below it a query passes at once. Thread-safe."""

    def __init__(self, trees: Trees, threshold: float) -> None:
        if trees.feature_names != _NAMES:
            raise ValueError("the triage was trained on other features than this version computes")
        self._trees, self.threshold = trees, threshold

    @classmethod
    def fit(cls, trials: TriageTrials, most_lost: float) -> tuple[Triage, dict[str, float]]:
        """From trials; `most_lost`: share of the wins that may be passed by. Also what it does on days that it has not
        learned from: the share of requests passed at once, and of wins lost. Thresholds come from such days too."""
        scores = np.zeros(len(trials.x))
        folds = np.unique(trials.fold)
        for fold in folds if len(folds) > 1 else ():
            held = trials.fold == fold
            scores[held] = _train(trials.x[~held], trials.win[~held]).predict(trials.x[held])
        total = float(trials.won.sum())
        threshold = 0.0
        if total >= LEAST_WINS:
            order = np.argsort(scores, kind="stable")
            lost = np.cumsum(trials.won[order])
            first_too_many = int(np.searchsorted(lost, most_lost * total, side="right"))
            if first_too_many < len(order):
                threshold = float(scores[order[first_too_many]])
        passed = scores < threshold
        report = {
            "passed": round(float(passed.mean()), 4),
            "wins_lost": round(float(trials.won[passed].sum()) / total, 4) if total else 0.0,
        }
        return cls(_train(trials.x, trials.win), threshold), report

    @classmethod
    def open(cls, path: Path, threshold: float) -> Triage:
        return cls(Trees.open(path), threshold)

    def save(self, path: Path) -> None:
        self._trees.save(path)

    def win(self, row: np.ndarray) -> float:
        """0 to 1: the foretold probability of winning. `row`: float32 (query features,)."""
        return float(self._trees.predict(row[None])[0])


def _train(x: np.ndarray, win: np.ndarray) -> Trees:
    return train(_PARAMETERS, _ROUNDS, _NAMES, x, np.clip(win, 0.0, 1.0))
