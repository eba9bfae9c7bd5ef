"""Pairs of texts of one meaning, found in a log without annotators: what an encoder learns to bring together.

Misheard: a query that failed with the text that repaired it; what else the recogniser heard, with the text that served.
Said otherwise: two texts that served the same interpretation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from mining.defects import TurnEvidence
from retriever.interaction import Channel, Interaction, Interpretation
from retriever.normalise import normalise

ALTERNATIVES = 2
"""How many of the recogniser's further hypotheses count: the first are the likeliest to be heard again."""


class Kind(StrEnum):
    """How the two texts of a pair differ."""

    MISHEARD = "misheard"
    SAID_OTHERWISE = "said_otherwise"


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts in normal form that differ, and the interpretation that both are after."""

    heard: str
    meant: str
    goal: Interpretation
    kind: Kind


@dataclass(frozen=True, slots=True)
class Repair:
    """A query that failed, in normal form, and the interpretation that its user reached in the end."""

    heard: str
    goal: Interpretation


Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]


def served(people: Iterable[Person]) -> dict[Interpretation, list[str]]:
    """The texts that served, by what they were understood as, each once, in the order in which they were first said."""
    out: dict[Interpretation, dict[str, None]] = {}
    for turns, evidence in people:
        for turn, e in zip(turns, evidence, strict=True):
            if turn.interpretation is not None and not e.failed and (text := normalise(turn.request.query)):
                out.setdefault(turn.interpretation, {})[text] = None
    return {goal: list(texts) for goal, texts in out.items()}


def repairs(people: Iterable[Person], after_ms: int = 0) -> list[Repair]:
    """The failed queries, spoken from `after_ms` on, whose users reached their goal by another text."""
    out = []
    for turns, evidence in people:
        for turn, e in zip(turns, evidence, strict=True):
            if e.goal is None or turn.request.timestamp_ms < after_ms or turn.request.channel is not Channel.VOICE:
                continue
            goal = turns[e.goal]
            heard = normalise(turn.request.query)
            if goal.interpretation is not None and heard and heard != normalise(goal.request.query):
                out.append(Repair(heard, goal.interpretation))
    return out


def text_pairs(people: Sequence[Person]) -> list[TextPair]:
    """The pairs of a log, each once, in the order in which they were found."""
    out: dict[TextPair, None] = {}

    def note(heard: str, meant: str, goal: Interpretation, kind: Kind) -> None:
        if heard and meant and heard != meant:
            out[TextPair(heard, meant, goal, kind)] = None

    for turns, evidence in people:
        for turn, e in zip(turns, evidence, strict=True):
            heard = normalise(turn.request.query)
            if e.goal is not None:
                repair = turns[e.goal]
                meant, goal = normalise(repair.request.query), repair.interpretation
                others = turn.request.alternatives
            elif e.failed or turn.request.channel is not Channel.VOICE:
                continue
            else:
                meant, goal, others = heard, turn.interpretation, turn.request.alternatives
            if goal is None:
                continue
            for text in (heard, *map(normalise, others[:ALTERNATIVES])):
                note(text, meant, goal, Kind.MISHEARD)
    for goal, texts in served(people).items():
        for one, other in pairwise(texts):
            note(one, other, goal, Kind.SAID_OTHERWISE)
    return list(out)
