"""How probable it is that a later turn of a dialogue pursues what an earlier one did: LightGBM on what a dialogue's
numbers (`mining.dialogue`) say of both turns, of the pair, and of who else comes into question.

No sentence vectors: whoever labels on many machines needs no encoder there. A transformer over dialogues that has them
is no better (`benchmarks.labels.transformer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mining.dialogue import PAIR_FEATURES, TURN_FEATURES, Dialogue, dialogue, windows
from mining.labels.boosted import Boosted
from mining.labels.goal_examples import Grouped
from retriever.interaction import Interaction

FEATURES = (
    *PAIR_FEATURES,
    *(f"earlier_{name}" for name in TURN_FEATURES),
    *(f"later_{name}" for name in TURN_FEATURES),
    "answered_between", "nearer_than_other_later", "nearer_than_other_earlier",
)  # fmt: skip
ROUNDS = 200
MAX_PAIRS = 1_000_000
"""Pairs of turns that are learned from at most: some 250 MB."""
_AFFINITY = PAIR_FEATURES.index("affinity")
_ANSWERED = TURN_FEATURES.index("answered")
Links = dict[tuple[int, int], float]
"""By an earlier and a later turn (indices), the probability that both pursue one goal."""


class LinkModel(Protocol):
    """Whatever tells links."""

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        """Of one user's turns, in time order; pairs of one window of a session. `from_ms`: of windows alone that begin
        then or later."""


@dataclass(frozen=True, slots=True)
class GoalModel:
    """What was learned of a log."""

    pairs: Boosted

    @classmethod
    def fit(cls, known: Iterable[Grouped], rounds: int = ROUNDS) -> GoalModel:
        """From dialogues whose goals are known, each put into numbers as it comes, until there are `MAX_PAIRS`."""
        rows, right, weights = [], [], []
        room = MAX_PAIRS
        for one in known:
            if room <= 0:
                break
            x, places = rows_of(dialogue(one.turns, one.habits))
            weight = np.array([one.weight(i, k) for i, k in places])
            counts = weight > 0
            room -= int(counts.sum())
            rows.append(x[counts])
            right.append(np.array([one.same(i, k) for i, k in places], float)[counts])
            weights.append(weight[counts])
        if not rows:
            return cls(Boosted(""))
        x, y, weight = np.concatenate(rows), np.concatenate(right), np.concatenate(weights)
        return cls(Boosted.fit(x, y, weight, FEATURES, rounds))

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        """Of one user's turns, in time order; pairs of one window of a session. `from_ms`: of windows alone that begin
        then or later."""
        rows, places = [], []
        for window, habits in windows(turns):
            if turns[window.start].request.timestamp_ms < from_ms:
                continue
            x, within = rows_of(dialogue(turns[window.start : window.stop], habits))
            for row, (i, k) in zip(x, within, strict=True):
                if window.first <= window.start + i < window.last:
                    rows.append(row)
                    places.append((window.start + i, window.start + k))
        if not rows:
            return {}
        return dict(zip(places, self.pairs.predict(np.stack(rows)).tolist(), strict=True))


def rows_of(d: Dialogue) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """float32 (pairs, FEATURES) of each earlier and later turn of a dialogue, and which two each row is of."""
    n = len(d.texts)
    places = list(_places(n))
    if not places:
        return np.zeros((0, len(FEATURES)), np.float32), []
    earlier, later = (np.array(side) for side in zip(*places, strict=True))
    alike = d.pairs[:, :, _AFFINITY]
    answered = np.concatenate([[0], np.cumsum(d.turns[:, _ANSWERED])])
    between = answered[later] - answered[earlier + 1]
    further = np.stack(
        [between, alike[earlier, later] - _best_other(alike, 1)[earlier, later],
         alike[earlier, later] - _best_other(alike, 0)[earlier, later]], axis=1,
    )  # fmt: skip
    x = np.concatenate([d.pairs[earlier, later], d.turns[earlier], d.turns[later], further], axis=1)
    return x.astype(np.float32), places


def _places(n: int) -> Iterator[tuple[int, int]]:
    return ((i, k) for i in range(n) for k in range(i + 1, n))


def _best_other(alike: np.ndarray, axis: int) -> np.ndarray:
    """Of each pair, the highest likeness among the others of its row (`axis` 1) or column (0); 0 for none."""
    first = alike.max(axis=axis, keepdims=True)
    at = np.expand_dims(alike.argmax(axis=axis), axis)
    rest = alike.copy()
    np.put_along_axis(rest, at, 0.0, axis=axis)
    second = rest.max(axis=axis, keepdims=True)
    index = np.arange(alike.shape[axis])
    index = index[None, :] if axis == 1 else index[:, None]
    return np.asarray(np.where(index == at, second, first))
