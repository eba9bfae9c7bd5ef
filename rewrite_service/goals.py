"""What the user of each turn wanted, as far as the log tells: what a failed turn was meant to be is known from the turn
that repaired it; a turn that was fine wanted what it got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mining.completions import answered_before
from mining.defects import FAILED, TurnEvidence
from mining.rephrases import AFFINITY_AFTER_FAILURE, affinity
from retriever.candidates import Candidate
from retriever.completion import Completer
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise


@dataclass(frozen=True, slots=True)
class Goal:
    """What a turn's user wanted, as far as the log tells. `served`: the turn as it was gave it. `known`: whether the
    wish is known; if not, only that the turn failed."""

    served: bool
    known: bool
    text: str = ""
    reading: Interpretation | None = None

    def met_by(self, candidate: Candidate) -> bool:
        """Whether asking `candidate` instead would have given it."""
        return candidate.text == self.text or (self.reading is not None and candidate.reading == self.reading)


def goal_of(
    turns: Sequence[Interaction],
    evidence: Sequence[TurnEvidence],
    i: int,
    completer: Completer,
    meant_by: Mapping[str, int],
) -> Goal | None:
    """The goal of turn `i`; None where the signals contradict each other and the turn teaches nothing.

    `completer`: rules for follow-ups; where a sure rule fires, a supposed repair that it contradicts was another wish.
    `meant_by`: what this user means by words that were given up this time (see `told`).
    """
    e, turn = evidence[i], turns[i]
    if e.goal is not None and not contradicted(turns, i, e.goal, completer):
        reached = turns[e.goal]
        return Goal(False, True, normalise(reached.request.query), reached.interpretation)
    if turn.interpretation is None:
        other = meant_by.get(normalise(turn.request.query))
        if other is not None and not contradicted(turns, i, other, completer):
            reached = turns[other]
            return Goal(False, True, normalise(reached.request.query), reached.interpretation)
        return Goal(False, False)
    if min(e.defect, 1 - e.defect) > UNSURE:
        return None
    if e.defect >= FAILED:
        return Goal(False, False)
    return Goal(True, True, normalise(turn.request.query), turn.interpretation)


UNSURE = 0.15
"""A turn that is likelier than this to be the other of right and wrong teaches nothing."""
SURE_SUPPORT, SURE_PRECISION = 5, 0.7
"""A rule for follow-ups that so many people are behind, and that is right so often, outweighs a single mined repair."""


def told(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> dict[str, int]:
    """What one user means by words that got no answer, by the user's own repairs of them: text to a turn that reached
    it. Only where all repairs of a text agree, and what they say is not unlike it."""
    goals: dict[str, list[int]] = {}
    for turn, e in zip(turns, evidence, strict=True):
        if e.goal is not None and turn.interpretation is None:
            goals.setdefault(normalise(turn.request.query), []).append(e.goal)
    return {
        text: found[-1]
        for text, found in goals.items()
        if len({turns[goal].interpretation for goal in found}) == 1
        and affinity(text, normalise(turns[found[-1]].request.query)) >= AFFINITY_AFTER_FAILURE
    }


def contradicted(turns: Sequence[Interaction], i: int, goal: int, completer: Completer) -> bool:
    """Whether sure rules say what turn `i` meant, and `goal` is nothing of that. "Play it again", then after a minute
    another song, is a user who gave up and went on."""
    turn, reached = turns[i], turns[goal]
    before = answered_before(turns, i, turn.request.timestamp_ms)
    made = completer.complete(normalise(turn.request.query), turn.request, before)
    sure = [c for c in made if c.support >= SURE_SUPPORT and c.precision >= SURE_PRECISION]
    if not sure:
        return False
    for heard in turn.request.alternatives:  # "switch it on" may have been "off"
        made += completer.complete(normalise(heard), turn.request, before)
    text = normalise(reached.request.query)
    return not any(c.text == text or (c.reading and c.reading == reached.interpretation) for c in made)
