"""The plain rules that everybody begins with: the next turn, if it comes soon and is alike, is the rephrase; a turn
without an answer, refused, cut short, or rephrased, has failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from mining.defects import TurnEvidence
from retriever.interaction import Explicit, Interaction, Outcome
from retriever.normalise import normalise

Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]
SECONDS = (5, 10, 15, 20, 30, 45, 60, 120)
ALIKE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class PlainRule:
    """`seconds`: within which the next turn comes; `alike`: least share of letters in common, 0 to 1."""

    seconds: float
    alike: float

    def rephrases(self, turns: Sequence[Interaction]) -> list[int | None]:
        """Of each of one user's turns, the next one where it is its rephrase."""
        out: list[int | None] = [None] * len(turns)
        for i in range(len(turns) - 1):
            here, after = turns[i].request, turns[i + 1].request
            a, b = normalise(here.query), normalise(after.query)
            soon = after.timestamp_ms - here.timestamp_ms <= 1000 * self.seconds
            if soon and a != b and fuzz.ratio(a, b) >= 100 * self.alike:
                out[i] = i + 1
        return out

    def failed(self, turns: Sequence[Interaction]) -> list[bool]:
        return [
            t.interpretation is None
            or t.outcome is not Outcome.OK
            or t.feedback.explicit is Explicit.NO
            or t.feedback.barge_in
            or rephrase is not None
            for t, rephrase in zip(turns, self.rephrases(turns), strict=True)
        ]

    @classmethod
    def for_rephrases(cls, people: Iterable[Person]) -> PlainRule:
        """The one that finds most of the goals that `mining.defects` finds in a log, by F1: its best chance."""
        known = list(people)

        def f1(rule: PlainRule) -> float:
            right = found = there = 0
            for turns, evidence in known:
                for goal, e in zip(rule.rephrases(turns), evidence, strict=True):
                    right += goal is not None and goal == e.goal
                    found += goal is not None
                    there += e.goal is not None
            return 2 * right / max(1, found + there)

        return max(cls._all(), key=f1)

    @classmethod
    def for_defects(cls, people: Iterable[Person]) -> PlainRule:
        """The one that finds most of the failures, likewise."""
        known = list(people)

        def f1(rule: PlainRule) -> float:
            right = found = there = 0
            for turns, evidence in known:
                for failed, e in zip(rule.failed(turns), evidence, strict=True):
                    right += failed and e.failed
                    found += failed
                    there += e.failed
            return 2 * right / max(1, found + there)

        return max(cls._all(), key=f1)

    @classmethod
    def _all(cls) -> list[PlainRule]:
        return [cls(s, a) for s in SECONDS for a in ALIKE]
