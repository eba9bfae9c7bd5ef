"""How sure the goal of a turn is, and what the turn is worth to the ranker: as labels tell (`mining.labels`), which
weigh what the rules of `rewrite_service.goals` only decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from mining.labels.turn_label import POINTS, FailurePoint, TurnLabel
from rewrite_service.goals import Goal

LEAST = 0.02
"""What a goal or a turn weighs that is hardly probable."""
LIKELY = 0.5
_CORRECT = POINTS.index(FailurePoint.CORRECT)
_HELPED_BY_WORDS = [POINTS.index(p) for p in (FailurePoint.ASR, FailurePoint.NLU, FailurePoint.ENTITY_RESOLUTION)]
_BEYOND_WORDS = [POINTS.index(p) for p in (FailurePoint.FALSE_WAKE, FailurePoint.RESULT)]


@dataclass(frozen=True, slots=True)
class Sureness:
    """`wish`: how probable it is that the goal is what was wanted; what the candidates' outcomes weigh. `turn`: how
    probable that the turn shows what the ranker is for; what all of it weighs. Both from `LEAST` to 1."""

    wish: float = 1.0
    turn: float = 1.0


SURE = Sureness()


def by_label(goal: Goal | None, label: TurnLabel | None) -> tuple[Goal | None, Sureness]:
    """A turn's goal, as the rules say (None: nothing that can be relied on), or as its label says where they do not
    know it and the label is likelier right than not; None where nothing is to be learned. `label`: None where there is
    none, and the rules' word is taken.

    A turn that served is worth as much as it is sure that it did. Of one that failed, and of which nobody knows what
    was wanted, it is to be learned that it fails: as much as other words would have helped. They would not where it
    cannot be done at all, where nobody spoke to the assistant, and where it was understood and done wrongly. What is
    likely one of the last two teaches nothing, or it would count among the failures that a threshold is chosen by.
    """
    if label is None:
        return goal, SURE
    told = label.correction
    if told is not None:
        meant = Goal(False, True, told.text, told.interpretation)
        if goal is None or not goal.known:
            return (meant, Sureness(wish=told.probability)) if told.probability >= LIKELY else (goal, SURE)
        agrees = not goal.served and (goal.text == meant.text or goal.reading == meant.reading)
        sure = told.probability if agrees else 1 - told.probability
        return goal, Sureness(turn=max(LEAST, sure)) if goal.served else Sureness(wish=max(LEAST, sure))
    if goal is None or (goal.known and not goal.served):
        return goal, SURE
    if goal.served:
        return goal, Sureness(turn=max(LEAST, label.points[_CORRECT]))
    if sum(label.points[n] for n in _BEYOND_WORDS) >= LIKELY:
        return None, SURE
    helped = sum(label.points[n] for n in _HELPED_BY_WORDS)
    return goal, Sureness(turn=min(1.0, max(LEAST, helped)))
