"""Labels of a user's turns: where each failed, which goal it pursued, and what a failed one should have been.

All knowledge that it takes is learned from a log, of which it is known what was repaired; no one annotates. It is kept
in one `Labeller`, which is asked of one person at a time, on whatever engine.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mining.defects import TurnEvidence, assess
from mining.dialogue_examples import Person
from mining.labels.confidence import Confidence, Threshold
from mining.labels.failure_points import FailurePoints, learn_failure_points
from mining.labels.goal_examples import made
from mining.labels.goal_model import GoalModel, LinkModel, Links
from mining.labels.goals import Goal, goals_of, judged, missed, support
from mining.labels.trial import tried
from mining.labels.turn_label import Correction, TurnLabel
from mining.labels.usual import Usual
from mining.reactions import Reactions
from retriever.interaction import Interaction
from retriever.normalise import normalise

if TYPE_CHECKING:
    from mining.mined import Mined

HELD_OUT_SHARE = 0.25
"""Of the turns, the last: not learned from, so that they tell how right the labels are."""
SEED = 7


@dataclass(frozen=True, slots=True)
class Labeller:
    """`found`: what each threshold left of the held-out days, from the highest down."""

    reactions: Reactions
    failure_points: FailurePoints
    goals: LinkModel
    confidence: Confidence
    found: tuple[Threshold, ...] = ()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(pickle.dumps(self)).hexdigest()[:16]

    def labels(self, turns: Sequence[Interaction], evidence: Sequence[TurnEvidence] | None = None) -> list[TurnLabel]:
        """Of each of one user's turns, in time order; from these turns alone. `evidence`: of `assess` with the same
        reactions, where it is at hand."""
        links = self.goals.links(turns)
        told = judged(turns, self.reactions, links, evidence)
        points = self.failure_points.of(turns, told).tolist()
        out: dict[int, TurnLabel] = {}
        for goal in goals_of(turns, told, links):
            first = goal.turns[0]
            reached = missed(goal, told, links) if goal.reached is None else self._right(told, goal, first, links)
            for i in goal.turns:
                correction = self._correction(turns, told, goal, i, links)
                out[i] = TurnLabel(tuple(points[i]), first, goal.reached, reached, correction)
        return [out[i] for i in range(len(turns))]

    def _correction(
        self, turns: Sequence[Interaction], told: Sequence[TurnEvidence], goal: Goal, i: int, links: Links
    ) -> Correction | None:
        if goal.reached is None or goal.reached == i:
            return None
        there = turns[goal.reached]
        if there.interpretation is None:
            return None
        right = self._right(told, goal, i, links)
        return Correction(normalise(there.request.query), there.interpretation, right, goal.reached)

    def _right(self, told: Sequence[TurnEvidence], goal: Goal, i: int, links: Links) -> float:
        """How probable it is that the turn that reached the goal gave what turn `i` had been for."""
        assert goal.reached is not None
        served = 1 - told[goal.reached].defect
        return served if i == goal.reached else served * self.confidence.of(support(goal, i, links))


def held_out_from(people: Mapping[str, Sequence[Interaction]]) -> int:
    """The moment (ms) from which on turns are not learned from."""
    stamps = sorted(turn.request.timestamp_ms for turns in people.values() for turn in turns)
    return stamps[int(len(stamps) * (1 - HELD_OUT_SHARE))] if stamps else 0


def learn_labeller(
    people: Mapping[str, Sequence[Interaction]],
    mined: Mined,
    progress: Callable[[str], None] = lambda what: None,
) -> Labeller:
    """From people of a log, by user, each one's turns in time order, held in memory; and from what was mined of
    everybody. `progress`: is told what is done next. The same turns give the same labeller."""
    reactions = mined.reactions
    known: dict[str, Person] = {user: (turns, assess(turns, reactions)) for user, turns in people.items()}
    cut = held_out_from(people)
    progress("learning goals")
    goals = GoalModel.fit(made(known, SEED, 0, cut))
    progress("judging labels on the held-out days")
    confidence, found = tried(known, reactions, goals, cut, SEED)
    progress("learning failure points")
    points = learn_failure_points(known.values(), Usual.of(mined))
    return Labeller(reactions, points, goals, confidence, found)
