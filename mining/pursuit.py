"""How probable it is that the turn after a failed one pursues the same wish, from how alike they are and how soon it
comes: weighed by the log itself.

What people say next after an answer that served them is, on the whole, another wish: their likeness and their pauses
show what unrelated turns look like. What they say after a failure is a mixture of such turns and of repairs. The
mixture is fitted by expectation-maximisation with the unrelated part held fixed (a two-component mixture with a known
component; the same idea as an empirical null distribution, Efron 2004, "Large-scale simultaneous hypothesis testing").
Likeness and pause are taken as independent given the kind of turn.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

LIKENESS_EDGES = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
PAUSE_EDGES_S = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0)
_ROUNDS = 30


class Step(NamedTuple):
    """From a turn to a later one: likeness of the texts (0 to 1), pause before the later one in seconds, whether the
    later one was typed."""

    likeness: float
    pause_s: float
    typed: bool


Bin = tuple[int, int, bool]
"""Of a step: bin of its likeness, bin of its pause, whether the later turn was typed."""


# Shares by bin before a log was seen; they weigh as so many turns of each kind.
_PRIOR_TURNS = 40.0
_PRIOR_LIKENESS = np.array(
    [
        [0.10, 0.35, 0.20, 0.14, 0.09, 0.05, 0.035, 0.015, 0.012, 0.008],  # unrelated
        [0.01, 0.04, 0.05, 0.06, 0.08, 0.09, 0.15, 0.18, 0.20, 0.14],  # the same wish
    ]
)
_PRIOR_PAUSE = np.array(
    [
        [0.02, 0.04, 0.07, 0.10, 0.20, 0.22, 0.18, 0.17],
        [0.10, 0.15, 0.16, 0.15, 0.20, 0.13, 0.06, 0.05],
    ]
)
_PRIOR_SAME = (0.5, 0.85)
"""Share of the turns after a failure that pursue the same wish: spoken, typed."""


@dataclass(frozen=True, slots=True)
class Pursuit:
    """Log odds of pursuing the same wish: `prior` for spoken and typed turns, and what each bin of likeness and of
    pause adds."""

    prior: tuple[float, float]
    likeness: tuple[float, ...]
    pause: tuple[float, ...]

    def same(self, step: Step) -> float:
        """Probability, 0 to 1, that the later turn pursues what the failed one did."""
        return self.same_in(bin_of(step))

    def same_in(self, at: Bin) -> float:
        """The same of a step that falls into these bins."""
        likeness, pause, typed = at
        odds = self.prior[typed] + self.likeness[likeness] + self.pause[pause]
        return 1.0 / (1.0 + math.exp(-odds))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Pursuit:
        """From its fields, as a JSON object."""
        prior, likeness, pause = (tuple(record[name]) for name in ("prior", "likeness", "pause"))
        if (len(prior), len(likeness), len(pause)) != (2, len(LIKENESS_EDGES) + 1, len(PAUSE_EDGES_S) + 1):
            raise ValueError("pursuit: not of this version's bins")
        return cls(prior, likeness, pause)

    @classmethod
    def fit(cls, unrelated: Iterable[Step], after_failure: Iterable[Step]) -> Pursuit:
        """From steps away from turns that served, and from turns that failed; without any, the shares beforehand."""
        return cls.fit_counts(Counter(map(bin_of, unrelated)), Counter(map(bin_of, after_failure)))

    @classmethod
    def fit_counts(cls, unrelated: Mapping[Bin, int], after_failure: Mapping[Bin, int]) -> Pursuit:
        """The same from how many steps fell into each bin; whatever the order, to the last bit."""
        size, pauses = len(LIKENESS_EDGES) + 1, len(PAUSE_EDGES_S) + 1
        likeness, pause = _PRIOR_LIKENESS.copy(), _PRIOR_PAUSE.copy()
        by_likeness, by_pause, _, times = _columns(unrelated)
        likeness[0] = _drawn(np.bincount(by_likeness, times, size), likeness[0])
        pause[0] = _drawn(np.bincount(by_pause, times, pauses), pause[0])
        by_likeness, by_pause, typed, times = _columns(after_failure)
        share = np.array(_PRIOR_SAME)
        for _ in range(_ROUNDS if len(typed) else 0):
            same = share[typed] * likeness[1, by_likeness] * pause[1, by_pause]
            same = same / (same + (1 - share[typed]) * likeness[0, by_likeness] * pause[0, by_pause]) * times
            likeness[1] = _drawn(np.bincount(by_likeness, same, size), _PRIOR_LIKENESS[1])
            pause[1] = _drawn(np.bincount(by_pause, same, pauses), _PRIOR_PAUSE[1])
            count = np.bincount(typed, same, 2) + _PRIOR_TURNS * np.array(_PRIOR_SAME)
            share = count / (np.bincount(typed, times, 2) + _PRIOR_TURNS)
        return cls(
            prior=tuple(np.log(share / (1 - share)).tolist()),
            likeness=tuple(np.log(likeness[1] / likeness[0]).tolist()),
            pause=tuple(np.log(pause[1] / pause[0]).tolist()),
        )


def bin_of(step: Step) -> Bin:
    """Where a step counts."""
    return bisect_right(LIKENESS_EDGES, step.likeness), bisect_right(PAUSE_EDGES_S, step.pause_s), step.typed


def _columns(counts: Mapping[Bin, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bins of likeness and of pause, 1 where typed, and how many, in order of the bins."""
    rows = np.array([[*at, counts[at]] for at in sorted(counts)], dtype=int).reshape(-1, 4)
    return rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3].astype(float)


def _drawn(counts: np.ndarray, prior: np.ndarray) -> np.ndarray:
    counts = counts + _PRIOR_TURNS * prior
    return np.asarray(counts / counts.sum())


UNSEEN = Pursuit.fit((), ())
"""Before any log was seen."""
