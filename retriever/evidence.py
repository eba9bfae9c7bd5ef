"""What is known of one text from the turns in which it was said: the evidence that candidates carry to the ranker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from retriever.interaction import Interpretation

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Counts(dict[Interpretation, float]):
    """How often each meaning; what is not there counts 0. A `collections.Counter` takes ten times as long to make, and
    a user's load makes hundreds."""

    __slots__ = ()

    def __missing__(self, reading: Interpretation) -> float:
        return 0

    def __add__(self, other: Counts) -> Counts:
        return Counts({reading: self[reading] + other[reading] for reading in self | other})

    def total(self) -> float:
        return sum(self.values())


@dataclass(slots=True)
class TextEvidence:
    """One text's record, of one person or of everybody.

    `attempts`: turns that said it. `successes`: of these, how many served their user, expected (defect probabilities
    summed), 0 to `attempts`. `people`: how many said it with success. `last_success_ms`: 0 where never. `success_ms`:
    the times of the successes (one person's record only). `readings`: what the assistant made of it when it served,
    without and with a screen, since the same words may mean a song here and a film there. `understood`: the same
    whether it served or not, which is what the assistant will make of it again. `understood_by`: how many people were
    understood so: what the assistant takes from one person's account is nobody else's business.
    """

    text: str
    attempts: float = 0.0
    successes: float = 0.0
    people: int = 0
    last_success_ms: int = 0
    success_ms: list[int] = field(default_factory=list)
    readings: tuple[Counts, Counts] = field(default_factory=lambda: (Counts(), Counts()))
    understood: tuple[Counts, Counts] = field(default_factory=lambda: (Counts(), Counts()))
    understood_by: Counts = field(default_factory=Counts)

    def reading(self, has_screen: bool, min_people: int = 1) -> Interpretation | None:
        """The most usual reading on such a device; where there is none, the most usual on the other kind. `min_people`:
        None where fewer people than that were understood so."""
        counts = self.understood[has_screen] or self.understood[not has_screen]
        # The order of insertion breaks ties, which is the order of time.
        best = max(counts, key=counts.__getitem__) if counts else None
        return best if best is None or self.understood_by[best] >= min_people else None

    def agreement(self, has_screen: bool) -> float:
        """The share of that reading among all on such a device, 0 to 1: low where it depends on who asks; NaN
        unknown."""
        counts = self.understood[has_screen] or self.understood[not has_screen]
        return max(counts.values()) / counts.total() if counts else math.nan


@dataclass(frozen=True, slots=True)
class Repair:
    """A query that failed and the text that then reached its goal. `people`: with that repair; `times`: in all."""

    source: str
    target: str
    times: float
    people: int = 1


def success_rate(successes: float, attempts: float) -> float:
    """Smoothed share of successes, 0 to 1; one half where nothing is known (Laplace's rule)."""
    return (successes + 1.0) / (attempts + 2.0)
