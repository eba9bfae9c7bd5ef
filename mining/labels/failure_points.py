"""Failure point isolation: of each turn, the first component that failed beyond recovery, with probabilities.

Whether a turn that got an answer failed at all is known from `mining.defects`, as a probability; here is told where, if
it did. Rules on repairs (`mining.labels.point_rules`) know it of turns that somebody repaired. LightGBM learns from
these weak labels what such turns look like (`mining.labels.point_features`): each is shown twice, with what came after
it and with that hidden, so that it also judges turns that nobody repaired (after Khaziev et al. 2022, "FPI: Failure
Point Isolation in Large-scale Conversational Assistants", who have annotators).
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mining.defects import TurnEvidence
from mining.labels.boosted import STEADY
from mining.labels.point_features import NAMES, features, hidden
from mining.labels.point_rules import Weak, weak_points, weak_points_of
from mining.labels.point_words import PointWords, said
from mining.labels.sights import Sight, sights
from mining.labels.turn_label import POINTS, FailurePoint
from mining.labels.usual import Usual
from retriever.interaction import Interaction, Outcome

__all__ = ["MAX_TURNS", "FailurePoints", "learn_failure_points", "weak_points"]

Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]

MAX_TURNS = 100_000
"""Turns that are learned from at most: of more, those of some of the people."""
_ROUNDS = 100
_PARAMETERS: dict[str, Any] = STEADY | {
    "objective": "multiclass",
    "num_class": len(POINTS),
    "learning_rate": 0.08,
    "feature_fraction": 0.4,
}
_CORRECT, _FALSE_WAKE, _ASR = map(POINTS.index, (FailurePoint.CORRECT, FailurePoint.FALSE_WAKE, FailurePoint.ASR))
_ENTITY, _RESULT = map(POINTS.index, (FailurePoint.ENTITY_RESOLUTION, FailurePoint.RESULT))
_ANY = [n for n in range(len(POINTS)) if n not in (_CORRECT, _FALSE_WAKE)]
_HARDLY = 1e-9


class FailurePoints:
    """Tells failure points of any user's turns. Immutable; pickles as the model's text, some hundred kilobytes, with
    what it knows of usual words."""

    def __init__(self, model: str | None, usual: Usual, words: PointWords) -> None:
        """`model`: as LightGBM writes it; None: where there was nothing to learn from, the rules alone."""
        self._model, self._usual, self._words = model, usual, words
        self._booster: Any = None

    def __getstate__(self) -> tuple[str | None, Usual, PointWords]:
        return self._model, self._usual, self._words

    def __setstate__(self, state: tuple[str | None, Usual, PointWords]) -> None:
        self._model, self._usual, self._words = state
        self._booster = None

    def of(self, turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> np.ndarray:
        """float64 (turns, POINTS): the probabilities of each of one user's turns, in time order with their evidence
        (`mining.defects.assess`). Rows sum to 1."""
        if not turns:
            return np.zeros((0, len(POINTS)))
        seen = sights(turns, evidence, self._usual)
        weak = weak_points_of(seen, self._usual)
        if self._model is None:
            found = _by_rules(weak)
        else:
            x = features(seen, self._usual, self._words, said(seen, weak))
            found = np.asarray(self._trees().predict(x, num_threads=1), float)
        return possible(found, seen, np.array([e.defect for e in evidence]))

    def _trees(self) -> Any:
        if self._booster is None:
            import lightgbm  # only now: its package takes long to import

            self._booster = lightgbm.Booster(model_str=self._model)
        return self._booster


def possible(found: np.ndarray, seen: Sequence[Sight], defect: np.ndarray) -> np.ndarray:
    """float64 (turns, POINTS), rows summing to 1: what was found, less what cannot be. What was typed was neither
    misheard nor overheard; nobody goes on from what was overheard; without an interpretation there is no slot that
    could be wrong, and no result but where an error was reported; and an answer failed as probably as is known
    (`defect`)."""
    out = np.maximum(found, _HARDLY)
    for row, sight, failed in zip(out, seen, defect.tolist(), strict=True):
        if not sight.spoken:
            row[_ASR] = 0.0
        if not sight.spoken or sight.tried_again or sight.repaired is not None:
            row[_FALSE_WAKE] = 0.0
        if sight.turn.interpretation is None:
            row[_ENTITY] = 0.0
            if sight.turn.outcome is not Outcome.ERROR:
                row[_RESULT] = 0.0
            row /= row.sum()
        else:
            row[_CORRECT] = 0.0
            row *= failed / row.sum()
            row[_CORRECT] = 1 - failed
    return np.asarray(out)


def _by_rules(weak: Sequence[Weak | None]) -> np.ndarray:
    """Where no rule knows it, nobody knows; but it takes a rule to find a false wake or what cannot be had."""
    out = np.zeros((len(weak), len(POINTS)))
    for row, label in zip(out, weak, strict=True):
        point, weight = (FailurePoint.CORRECT, 0.0) if label is None else label
        row[_ANY] = (1 - weight) / len(_ANY)
        row[POINTS.index(point)] += weight
    return out


def learn_failure_points(people: Iterable[Person], usual: Usual, seed: int = 7) -> FailurePoints:
    """From everybody's turns, each one's in time order with their evidence, or from as many of the people as hold
    `MAX_TURNS`; the same for the same seed, whatever the order of the people."""
    taught = teach(people, usual, seed)
    model = train(taught.x, taught.y, taught.weight, seed) if len(set(taught.y.tolist())) > 1 else None
    return FailurePoints(model, usual, taught.words)


@dataclass(frozen=True, slots=True)
class Taught:
    """What is learned from: of each turn that has a weak label a row with what came after it, and one with that hidden.
    `x`: float32 (rows, NAMES). `y`: int32 (rows,), the label's number in POINTS. `weight`: float64 (rows,), above 0."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    words: PointWords


def teach(people: Iterable[Person], usual: Usual, seed: int = 7, served: bool = False) -> Taught:
    """See `learn_failure_points`. `served`: with the answers that served, of which `FailurePoints` need learn nothing,
    since whether an answer failed is told by its evidence."""
    seen = [sights(turns, evidence, usual) for turns, evidence in _some(people, seed)]
    weak = [weak_points_of(theirs, usual) for theirs in seen]
    own = [said(theirs, labels) for theirs, labels in zip(seen, weak, strict=True)]
    words = PointWords.of(own)
    rows = [np.zeros((0, len(NAMES)), np.float32)]
    found: list[Weak] = []
    for theirs, labels, say in zip(seen, weak, own, strict=True):
        known = [
            (i, label)
            for i, label in enumerate(labels)
            if label is not None
            and (served or label[0] is not FailurePoint.CORRECT or theirs[i].turn.interpretation is None)
        ]
        x = features(theirs, usual, words, say)[[i for i, _ in known]]
        rows += [x, hidden(x)]
        found += [label for _, label in known] * 2
    return Taught(
        x=np.concatenate(rows),
        y=np.array([POINTS.index(point) for point, _ in found], np.int32),
        weight=np.array([weight for _, weight in found], np.float64),
        words=words,
    )


def _some(people: Iterable[Person], seed: int) -> list[Person]:
    """Those who come first in an order that the seed shuffles, until their turns are enough; not many more are held in
    memory at any time."""
    held: list[tuple[int, str, int, Person]] = []  # the last in that order first
    room = MAX_TURNS
    for n, person in enumerate(people):
        if not person[0]:
            continue
        user = person[0][0].request.user_id
        heapq.heappush(held, (-zlib.crc32(f"{seed} {user}".encode("utf-8", "replace")), user, n, person))
        room -= len(person[0])
        while room + len(held[0][-1][0]) <= 0:
            room += len(heapq.heappop(held)[-1][0])
    return [person for *_, person in sorted(held, key=lambda h: h[:3])]


def train(x: np.ndarray, y: np.ndarray, weight: np.ndarray, seed: int = 7) -> str:
    """A model of rows as in `Taught`, as LightGBM writes it."""
    import lightgbm

    data = lightgbm.Dataset(x, y, weight=weight, feature_name=list(NAMES))
    return str(lightgbm.train(_PARAMETERS | {"seed": seed}, data, _ROUNDS).model_to_string())
