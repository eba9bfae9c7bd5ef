"""HabitBench's dev days with the truth about goals: which turns of a session pursue one, at which turn it was reached,
and whether what a failed turn is said to have been is what its user wanted.

What was wanted is known of first attempts alone. Each begins a goal. A later turn of the session that is no first
attempt belongs to the latest first attempt before it if asking it gives what that one wanted, or if it lies between
that one and the first such turn. Of all other turns (nobody was served, or something else was) nobody knows what they
were after: they are left out of segmentation, and counted. Turns that were put in between are each a goal of their own.

How the benchmark is made says more: whoever fails says it again or gives up, and everything else is a first attempt. By
that every turn that is none belongs to the latest; `everything` takes it so, and leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from benchmarks.mining.dev_dialogues import DevDialogues
from mining.labels.turn_label import Correction, TurnLabel
from mining.sessions import sessions
from retriever.interaction import Interaction
from retriever.normalise import normalise


@dataclass
class Counts:
    """Of pairs of turns of one session: together in truth, together as said, both. `unknown`: turns left out."""

    together: int = 0
    said: int = 0
    both: int = 0
    unknown: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def f1(self) -> float:
        return 2 * self.both / max(1, self.together + self.said)


@dataclass(frozen=True)
class GoalTruth:
    """`dev`: dev days; `people` of which are judged may be those, or the same interrupted."""

    dev: DevDialogues

    def goals(self, turns: Sequence[Interaction], span: range, everything: bool = False) -> list[int | None]:
        """Of each turn of a session the first turn of its goal; None where nobody knows."""
        out: list[int | None] = []
        attempt: int | None = None
        for k in span:
            if self.dev.asked(turns[k]):
                attempt = k
                out.append(k)
            elif "@" in turns[k].request.interaction_id:
                out.append(k)
            else:
                known = attempt is not None and (everything or k <= self._until(turns, attempt, span))
                out.append(attempt if known else None)
        return out

    def _until(self, turns: Sequence[Interaction], attempt: int, span: range) -> int:
        """The last turn before the next first attempt that gives what this one wanted; itself where there is none."""
        until = attempt
        for k in range(attempt + 1, span.stop):
            if self.dev.asked(turns[k]):
                break
            if "@" not in turns[k].request.interaction_id and self._gives(turns, attempt, k):
                until = k
        return until

    def _gives(self, turns: Sequence[Interaction], attempt: int, k: int) -> bool:
        return turns[k].interpretation is not None and self.dev.gives(turns[attempt], turns[k])

    def segmentation(self, turns: Sequence[Interaction], labels: Sequence[TurnLabel], everything: bool) -> Counts:
        """Over the sessions of one user's turns that hold a first attempt."""
        out = Counts()
        for span in sessions(turns):
            if not any(self.dev.asked(turns[i]) for i in span):
                continue
            goals = dict(zip(span, self.goals(turns, span, everything), strict=True))
            known = [i for i in span if goals[i] is not None]
            out.unknown += len(span) - len(known)
            for n, i in enumerate(known):
                for k in known[n + 1 :]:
                    together, said = goals[i] == goals[k], labels[i].goal == labels[k].goal
                    out.together += together
                    out.said += said
                    out.both += together and said
        return out

    def reached(self, turns: Sequence[Interaction], attempt: int, span: range) -> int | None:
        """The first turn from a first attempt on that gave what it wanted, itself included."""
        return next((k for k in range(attempt, span.stop) if self._gives(turns, attempt, k)), None)

    def said(self, turn: Interaction) -> str:
        """What the user of a first attempt said, in normal form."""
        return normalise(self.dev.truth.said(self.dev.request(turn.request.interaction_id)))

    def right(self, turns: Sequence[Interaction], attempt: int, correction: Correction) -> tuple[bool, bool]:
        """Whether a correction's text gives what was wanted, and whether its interpretation is what was wanted."""
        asked = turns[attempt].request.interaction_id
        request = self.dev.request(asked)
        return self.dev.truth.right(request, correction.text), self.dev.truth.means(request, correction.interpretation)
