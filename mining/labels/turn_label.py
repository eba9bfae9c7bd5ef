"""What the turns around a turn tell of it: where it failed, which goal it pursued, and what it should have been.

The failure points are those of Khaziev et al. 2022, "FPI: Failure Point Isolation in Large-scale Conversational
Assistants".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from retriever.interaction import Interpretation


class FailurePoint(StrEnum):
    """The first component that failed beyond recovery. An error that the components after it made good is none, and
    neither is a request for what the assistant cannot do at all: both are CORRECT."""

    CORRECT = "correct"
    FALSE_WAKE = "false_wake"  # nobody spoke to the assistant
    ASR = "asr"  # the recogniser heard other words, and that changed the answer
    NLU = "nlu"  # the words were right; the intent, or that there is one, was not seen
    ENTITY_RESOLUTION = "entity_resolution"  # the intent was right; a slot came to mean something else
    RESULT = "result"  # the interpretation was right; what was done was not what was asked for


POINTS = tuple(FailurePoint)
"""Their order, wherever there is one number for each."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a turn that failed should have been. `text`: in normal form. `probability`: that both are right, 0 to 1.
    `turn`: index (in the user's turns) of the turn that it was taken from."""

    text: str
    interpretation: Interpretation
    probability: float
    turn: int


@dataclass(frozen=True, slots=True)
class TurnLabel:
    """`points`: probability of each of `POINTS`, summing to 1. `goal`: index (in the user's turns) of the first turn of
    the session that pursued the same goal; its own where it is that. `reached`: index of the turn at which that goal
    was reached, or None. `reached_probability`: that the goal was reached at all, 0 to 1. `correction`: None where the
    turn did not fail or nobody knows what was wanted."""

    points: tuple[float, ...]
    goal: int
    reached: int | None
    reached_probability: float
    correction: Correction | None = None

    @property
    def point(self) -> FailurePoint:
        """The likeliest."""
        return POINTS[max(range(len(POINTS)), key=self.points.__getitem__)]
