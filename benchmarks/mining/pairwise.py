"""The pairwise classifier: LightGBM on a pair of turns and all that a dialogue's numbers say of the two, without the
turns around them. It learns from the same examples as the model that reads the whole dialogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import lightgbm
import numpy as np

from mining.dialogue import Dialogue, Encode, batch, dialogue, windows
from mining.dialogue_examples import Example
from retriever.interaction import Interaction

_ROUNDS = 200
_SETTINGS = {
    "objective": "binary", "num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 20, "verbose": -1,
    "num_threads": 1, "seed": 7,
}  # fmt: skip


class Pairwise:
    """Finds the later turn likeliest to be a turn's rephrase, among those of its dialogue, each pair judged alone."""

    def __init__(self, examples: Sequence[Example], encode: Encode) -> None:
        self._encode = encode
        vectors = _vectors([e.dialogue for e in examples], encode)
        rows, right, weight = [], [], []
        for e in examples:
            for i, later in _pairs(e.dialogue, vectors):
                if e.weight[i]:
                    rows.append(later)
                    right += [float(e.goal[i] == k) for k in range(i + 1, len(e.goal))]
                    weight += [e.weight[i]] * len(later)
        self._model = lightgbm.train(
            _SETTINGS, lightgbm.Dataset(np.concatenate(rows), np.array(right), weight=np.array(weight)), _ROUNDS
        )

    def rephrases(self, turns: Sequence[Interaction], least: float = 0.5) -> list[int | None]:
        """Of each of one user's turns, in time order."""
        out: list[int | None] = [None] * len(turns)
        for window, habits in windows(turns):
            d = dialogue(turns[window.start : window.stop], habits)
            for i, later in _pairs(d, _vectors([d], self._encode)):
                p = np.asarray(self._model.predict(later, num_threads=1))
                if window.first <= window.start + i < window.last and p.max() >= least:
                    out[window.start + i] = window.start + i + 1 + int(p.argmax())
        return out


def _vectors(dialogues: Sequence[Dialogue], encode: Encode) -> dict[str, np.ndarray]:
    texts = list(dict.fromkeys(text for d in dialogues for text in d.texts))
    return dict(zip(texts, encode(texts), strict=True))


def _pairs(d: Dialogue, vectors: Mapping[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Each turn but the last, with a row for each later turn: the pair's features, and those of both turns."""
    pairs = batch([d], vectors).pairs[0]
    for i in range(len(d.texts) - 1):
        here = np.broadcast_to(d.turns[i], (len(d.texts) - 1 - i, d.turns.shape[1]))
        yield i, np.concatenate([pairs[i, i + 1 :], here, d.turns[i + 1 :]], axis=1)
