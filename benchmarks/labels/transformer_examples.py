"""What the dialogue transformer learns from: dialogues with turns swapped in from elsewhere, which need no labels, and
dialogues of which the log's own verdicts tell who pursues what, which turns served, and where failed ones did."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mining.defects import TurnEvidence
from mining.dialogue import Dialogue, Habits, dialogue, windows
from mining.dialogue_examples import Person, Strangers, as_turn_of
from mining.labels.goal_examples import Grouped, made, strangers_of
from mining.labels.point_features import NAMES, features, hidden
from mining.labels.point_rules import Weak, weak_points_of
from mining.labels.point_words import PointWords, said
from mining.labels.sights import sights
from mining.labels.turn_label import POINTS, FailurePoint
from mining.labels.usual import Usual
from mining.sessions import sessions
from retriever.interaction import Interaction

SWAPPED = 0.25


@dataclass(frozen=True, slots=True)
class Shown:
    """A dialogue with its targets, each NaN where not known. `evidence`: float32 (turns, NAMES), of each turn what the
    LightGBM of failure points sees. `swapped`, `served`: (turns,), that a turn was put in from elsewhere, that it
    served. `same`: (turns, turns), that the later turn (column) pursues what the earlier one did; `weight`: what each
    pair weighs. `point`: (turns, POINTS), what each failure point weighs as the turn's label; 0 where there is none."""

    dialogue: Dialogue
    evidence: np.ndarray
    swapped: np.ndarray
    served: np.ndarray
    same: np.ndarray
    weight: np.ndarray
    point: np.ndarray


@dataclass(frozen=True, slots=True)
class PointEvidence:
    """What the LightGBM of failure points would see of any user's turns."""

    usual: Usual
    words: PointWords

    def of(
        self, turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]
    ) -> tuple[np.ndarray, list[Weak | None]]:
        """float32 (turns, NAMES), and what the rules say of each."""
        seen = sights(turns, evidence, self.usual)
        weak = weak_points_of(seen, self.usual)
        return features(seen, self.usual, self.words, said(seen, weak)), weak


@dataclass(frozen=True)
class WeakPoints:
    """Of some people's turns, by interaction id: their evidence, and what each failure point weighs as their label, as
    `mining.labels.failure_points.teach` has them."""

    how: PointEvidence
    rows: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, people: Mapping[str, Person], usual: Usual) -> WeakPoints:
        own = []
        for turns, evidence in people.values():
            seen = sights(turns, evidence, usual)
            own.append(said(seen, weak_points_of(seen, usual)))
        how = PointEvidence(usual, PointWords.of(own))
        rows, labels = {}, {}
        for turns, evidence in people.values():
            for turn, row, weak in zip(turns, *how.of(turns, evidence), strict=True):
                rows[turn.request.interaction_id] = row
                if weak is not None and (weak[0] is not FailurePoint.CORRECT or turn.interpretation is None):
                    labels[turn.request.interaction_id] = _one_of(weak)
        return cls(how, rows, labels)

    def shown(self, turns: Sequence[Interaction]) -> tuple[np.ndarray, np.ndarray]:
        """Evidence and labels of a dialogue's turns. Where strangers' turns were put in, the evidence tells nothing of
        what came after a turn, since that was something else."""
        ids = [turn.request.interaction_id.partition("@") for turn in turns]
        nothing = np.zeros(len(POINTS), np.float32)
        labels = np.stack([self.labels.get(own, nothing) for own, _, _ in ids])
        rows = np.stack([self.rows[own] for own, _, _ in ids])
        return hidden(rows) if any(put_in for _, put_in, _ in ids) else rows, labels


def _one_of(weak: Weak) -> np.ndarray:
    out = np.zeros(len(POINTS), np.float32)
    out[POINTS.index(weak[0])] = weak[1]
    return out


def swapped_in(people: Mapping[str, Person], seed: int, until_ms: int) -> Iterator[Shown]:
    """The dialogues that end before `until_ms`, each turn swapped with a stranger's with probability `SWAPPED`."""
    rng, strangers = random.Random(seed), strangers_of(people, 0, until_ms)
    for user, (turns, _) in people.items():
        for window, habits in windows(turns):
            own = list(turns[window.start : window.stop])
            if own[-1].request.timestamp_ms < until_ms:
                gone = np.array([_swap(own, i, user, strangers, rng) for i in range(len(own))], float)
                yield _shown(dialogue(own, habits), swapped=gone)


def _swap(own: list[Interaction], i: int, user: str, strangers: Strangers, rng: random.Random) -> bool:
    if rng.random() >= SWAPPED or (stranger := strangers.turn(user, own, rng)) is None:
        return False
    own[i] = as_turn_of(stranger, own[i], own[i].request.timestamp_ms)
    return True


def told(people: Mapping[str, Person], points: WeakPoints, seed: int, until_ms: int) -> Iterator[Shown]:
    """The dialogues that end before `until_ms` and those made of them (`mining.labels.goal_examples`); and turns that
    are alone in their sessions, where it is known where they failed."""
    served = {t.request.interaction_id: 1 - e.defect for of in people.values() for t, e in zip(*of, strict=True)}
    for known in made(people, seed, 0, until_ms):
        yield _told(known, served, points)
    for turns, _ in people.values():
        for i, habits in alone(turns):
            turn = turns[i]
            if turn.request.interaction_id in points.labels and turn.request.timestamp_ms < until_ms:
                rows, labels = points.shown([turn])
                yield _shown(dialogue([turn], habits), evidence=rows, point=labels)


def _told(known: Grouped, served: Mapping[str, float], points: WeakPoints) -> Shown:
    n = len(known.turns)
    same, weight = np.full((n, n), np.nan), np.zeros((n, n))
    for i in range(n):
        for k in range(i + 1, n):
            same[i, k], weight[i, k] = known.same(i, k), known.weight(i, k)
    did = np.array([served[turn.request.interaction_id.partition("@")[0]] for turn in known.turns])
    rows, labels = points.shown(known.turns)
    d = dialogue(known.turns, known.habits)
    return _shown(d, evidence=rows, served=did, same=same, weight=weight, point=labels)


def _shown(d: Dialogue, **known: np.ndarray) -> Shown:
    n = len(d.texts)
    nothing = {
        "evidence": np.full((n, len(NAMES)), np.nan, np.float32),
        "swapped": np.full(n, np.nan),
        "served": np.full(n, np.nan),
        "same": np.full((n, n), np.nan),
        "weight": np.zeros((n, n)),
        "point": np.zeros((n, len(POINTS)), np.float32),
    }
    return Shown(d, **(nothing | known))


def alone(turns: Sequence[Interaction]) -> Iterator[tuple[int, Habits]]:
    """The turns of one user that are the only ones of their sessions, which are no dialogues, with the habits as they
    were before."""
    habits = Habits()
    for span in sessions(turns):
        if len(span) == 1:
            yield span.start, habits
        habits.add(turns[span.start : span.stop])
