"""Dialogues of which it is known which turns pursue one goal: as the log's own repairs tell, and made of them.

A repair that the verdicts (`mining.defects`) have found, with the failed attempts before it, is one goal; a turn that
served is one by itself. So that links are also learned, and judged, where no rule sees them, each dialogue is shown
otherwise as well: with turns of other dialogues put in between, and with another's turn in the place of the repair, as
of somebody who gave up and went on. In both it is known from how the dialogue was made who pursues what.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mining.defects import TurnEvidence
from mining.dialogue import LONGEST, Habits, Window, windows
from mining.dialogue_examples import MOST_BETWEEN, UNSURE, Person, Strangers, as_turn_of, put_between
from retriever.interaction import Interaction

UNKNOWN = -1
MAYBE = 0.5
"""What it weighs that a failed turn without a repair has nothing to do with another: the verdicts do not see all."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """A dialogue of one user. `group`: of each turn a number that those of one goal share, or `UNKNOWN`. `asked`: of
    each turn, whether what follows it may be learned from."""

    turns: tuple[Interaction, ...]
    group: tuple[int, ...]
    asked: tuple[bool, ...]
    habits: Habits

    def weight(self, i: int, k: int) -> float:
        """What it weighs whether turn `k` pursues what turn `i` did; 0 where nobody knows."""
        if not self.asked[i]:
            return 0.0
        here, later = self.group[i], self.group[k]
        if here == UNKNOWN or later == UNKNOWN:
            return 0.0 if here == later else MAYBE
        return 1.0

    def same(self, i: int, k: int) -> bool:
        return self.group[i] == self.group[k] != UNKNOWN

    @property
    def pursued(self) -> list[int]:
        """The groups of more than one turn, in order."""
        return sorted({g for g in self.group if g != UNKNOWN and self.group.count(g) > 1})


def groups(evidence: Sequence[TurnEvidence], window: Window) -> tuple[int, ...]:
    """Of each turn of a window its goal, by the verdicts: the index of the turn that reached it, or `UNKNOWN`."""
    out = []
    reached = {evidence[i].goal for i in range(window.start, window.stop)}
    for i in range(window.start, window.stop):
        e = evidence[i]
        if e.goal is not None:
            out.append(e.goal)
        elif i in reached or e.defect <= UNSURE:
            out.append(i)
        else:
            out.append(UNKNOWN)
    return tuple(out)


def told(people: Mapping[str, Person], from_ms: int, until_ms: int) -> Iterator[tuple[str, Grouped]]:
    """The dialogues that begin at `from_ms` or later and end before `until_ms`, by user, as the verdicts tell them."""
    for user, (turns, evidence) in people.items():
        for window, habits in windows(turns):
            first, last = turns[window.start].request.timestamp_ms, turns[window.stop - 1].request.timestamp_ms
            if from_ms <= first and last < until_ms:
                asked = tuple(window.first <= i < window.last for i in range(window.start, window.stop))
                group = groups(evidence, window)
                yield user, Grouped(tuple(turns[window.start : window.stop]), group, asked, habits)


def interrupted(known: Grouped, user: str, strangers: Strangers, rng: random.Random) -> Grouped:
    """With one to three strangers' turns put in: between the turns of one goal where there is one of several."""
    room = LONGEST - len(known.turns)
    if room <= 0:
        return known
    first, last = 0, len(known.turns) - 1
    if known.pursued:
        group = rng.choice(known.pursued)
        first, *_, last = (i for i, g in enumerate(known.group) if g == group)
    after = rng.randrange(first, last)
    turns, n = put_between(known.turns, after, user, strangers, rng, min(MOST_BETWEEN, room))
    new = range(_fresh(known), _fresh(known) + n)
    groups_ = (*known.group[: after + 1], *new, *known.group[after + 1 :])
    asked = (*known.asked[: after + 1], *(True,) * n, *known.asked[after + 1 :])
    return Grouped(tuple(turns), groups_, asked, known.habits)


def given_up(known: Grouped, user: str, strangers: Strangers, rng: random.Random) -> Grouped | None:
    """With a stranger's turn where the last of some goal of several turns was, and without what followed; None where
    there is no such goal."""
    if not known.pursued:
        return None
    group = rng.choice(known.pursued)
    last = max(i for i, g in enumerate(known.group) if g == group)
    stranger = strangers.turn(user, known.turns, rng)
    if stranger is None:
        return None
    kept = known.turns[:last]
    turns = (*kept, as_turn_of(stranger, kept[-1], known.turns[last].request.timestamp_ms))
    return Grouped(turns, (*known.group[:last], _fresh(known)), (*known.asked[:last], True), known.habits)


def _fresh(known: Grouped) -> int:
    return max((*known.group, 0)) + 1


def made(people: Mapping[str, Person], seed: int, from_ms: int, until_ms: int, shown: int = 2) -> Iterator[Grouped]:
    """All of them: as they are, `shown` times interrupted where a goal was pursued in several turns and once where
    not, and given up. The habits that a dialogue holds are good until the next one is asked for. The same seed gives
    the same ones."""
    rng = random.Random(seed)
    strangers = strangers_of(people, from_ms, until_ms)
    for user, known in told(people, from_ms, until_ms):
        yield known
        for _ in range(shown if known.pursued else 1):
            yield interrupted(known, user, strangers, rng)
        if (without := given_up(known, user, strangers, rng)) is not None:
            yield without


def strangers_of(people: Mapping[str, Person], from_ms: int, until_ms: int) -> Strangers:
    within = {
        user: [turn for turn in turns if from_ms <= turn.request.timestamp_ms < until_ms]
        for user, (turns, _) in people.items()
    }
    return Strangers.of(within)
