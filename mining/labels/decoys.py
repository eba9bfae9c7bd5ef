"""Dialogues in which nothing that follows a failure can be its repair: what a label's false friends look like.

In each session with a failure all that follows one failed turn is taken away, and what followed a turn that had served
is put there instead, from another session: the same user's in half of the cases. A label that takes its text from there
is wrong, and how surely the model gives such labels is known without anybody's having looked at one. (Competing against
decoys is how peptides are identified: Elias and Gygi 2007, "Target-decoy search strategy".)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mining.dialogue_examples import Person, as_turn_of
from mining.sessions import SESSION_GAP_MS, sessions
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

SERVED = 0.05
"""Below this probability of having failed, what comes next is taken for another wish."""
_OWN = 0.5
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Decoy:
    """One user's turns, in time order. `cut`: by the first turn (index) of a session that was changed, the last turn
    that was left: those after it, to the end of the session, come from elsewhere."""

    turns: list[Interaction]
    cut: dict[int, int]


class Continuations:
    """What people went on to after they had been served: the later turns of those sessions."""

    def __init__(self, people: Mapping[str, Person], from_ms: int) -> None:
        self._all: list[Sequence[Interaction]] = []
        self._own: dict[str, list[Sequence[Interaction]]] = {}
        for user, (turns, evidence) in people.items():
            for span in sessions(turns):
                if turns[span.start].request.timestamp_ms < from_ms:
                    continue
                for i in span[:-1]:
                    if evidence[i].defect < SERVED:
                        later = turns[i : span.stop]
                        self._all.append(later)
                        self._own.setdefault(user, []).append(later)

    def after(self, turn: Interaction, not_: set[Interpretation], rng: random.Random) -> list[Interaction]:
        """Turns that may follow `turn`, as if its user had said them, each as long after it as it was after the one
        that had served; none of them means any of `not_`, or says what `turn` does. None where none is found."""
        said = normalise(turn.request.query)
        for _ in range(_TRIES if self._all else 0):
            own = self._own.get(turn.request.user_id) if rng.random() < _OWN else None
            served, *later = rng.choice(own or self._all)
            if any(t.interpretation in not_ or normalise(t.request.query) == said for t in later):
                continue
            shift = turn.request.timestamp_ms - served.request.timestamp_ms
            return [as_turn_of(t, turn, t.request.timestamp_ms + shift) for t in later]
        return []


def decoy_of(person: Person, continuations: Continuations, from_ms: int, rng: random.Random) -> Decoy:
    """One user's turns with every session from `from_ms` on changed in which a failure is followed by anything."""
    turns, evidence = person
    out: list[Interaction] = []
    cut: dict[int, int] = {}
    for span in sessions(turns):
        failed = [i for i in span[:-1] if evidence[i].failed]
        start = len(out)
        if failed and turns[span.start].request.timestamp_ms >= from_ms:
            last = rng.choice(failed)
            reached = {evidence[i].goal for i in failed} - {None}
            meant = {turns[g].interpretation for g in reached if g is not None}
            later = continuations.after(turns[last], {m for m in meant if m is not None}, rng)
            if span.stop < len(turns):  # the next session stays one
                end = turns[span.stop].request.timestamp_ms - SESSION_GAP_MS
                later = [turn for turn in later if turn.request.timestamp_ms < end]
            out += [*turns[span.start : last + 1], *later]
            if later:
                cut[start] = start + last - span.start
        else:
            out += turns[span.start : span.stop]
    return Decoy(out, cut)
