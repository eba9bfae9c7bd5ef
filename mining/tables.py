"""Who says what, with what success: tables of texts, repairs, words and slot values from turns and their evidence.

`collect` serves one person's turns (the personal layer, online too) and everybody's (the global layer, in a build).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mining.defects import TurnEvidence, assess
from mining.reactions import PUBLISHED, Reactions
from retriever.evidence import Repair, TextEvidence
from retriever.interaction import Interaction, Interpretation, Outcome
from retriever.normalise import normalise, word_pairs

T = TypeVar("T")


@dataclass(slots=True)
class Tables:
    """`texts`: by normal form. `repairs`: by (source, target). `slot_values`: successes by value of any slot."""

    texts: dict[str, TextEvidence] = field(default_factory=dict)
    repairs: dict[tuple[str, str], Repair] = field(default_factory=dict)
    slot_values: Counter[str] = field(default_factory=Counter)

    def words(self) -> Counter[str]:
        """Successes by word."""
        return self._served(str.split)

    def word_pairs(self) -> Counter[tuple[str, str]]:
        """Successes by two neighbouring words, borders included."""
        return self._served(word_pairs)

    def _served(self, parts: Callable[[str], Iterable[T]]) -> Counter[T]:
        out: Counter[T] = Counter()
        for e in self.texts.values():
            for part in parts(e.text) if e.success_ms else ():
                out[part] += len(e.success_ms)
        return out


def collect(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> Tables:
    """Tables over the turns of some people, each person's in time order with their evidence (`mining.defects.assess`).

    The result does not depend on the order of the people, but for ties.
    """
    out = Tables()
    repairs: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0])
    for turns, evidence in people:
        succeeded: set[str] = set()
        understood: set[tuple[str, Interpretation]] = set()
        repaired: set[tuple[str, str]] = set()
        for turn, e in zip(turns, evidence, strict=True):
            text = normalise(turn.request.query)
            if not text:
                continue
            row = out.texts.get(text)
            if row is None:
                row = out.texts[text] = TextEvidence(text)
            row.attempts += 1
            row.successes += 1 - e.defect
            if e.goal is not None:
                target = normalise(turns[e.goal].request.query)
                if target and target != text:
                    repairs[text, target][0] += 1
                    repaired.add((text, target))
            screen = turn.request.context.has_screen
            if turn.interpretation is not None and turn.outcome is Outcome.OK:
                row.understood[screen][turn.interpretation] += 1
                understood.add((text, turn.interpretation))
            if e.failed or turn.interpretation is None:
                continue
            succeeded.add(text)
            stamp = turn.request.timestamp_ms
            row.last_success_ms = max(row.last_success_ms, stamp)
            row.success_ms.append(stamp)
            row.readings[screen][turn.interpretation] += 1
            for _, value in turn.interpretation.slots:
                out.slot_values[normalise(value)] += 1
        for text in succeeded:
            out.texts[text].people += 1
        for text, reading in understood:
            out.texts[text].understood_by[reading] += 1
        for pair in repaired:
            repairs[pair][1] += 1
    out.repairs = {
        (source, target): Repair(source, target, times, int(people))
        for (source, target), (times, people) in repairs.items()
    }
    return out


def personal_tables(
    turns: Sequence[Interaction], reactions: Reactions = PUBLISHED
) -> tuple[Tables, list[TurnEvidence]]:
    """One person's tables and the evidence of each of their turns."""
    evidence = assess(turns, reactions)
    return collect([(turns, evidence)]), evidence
