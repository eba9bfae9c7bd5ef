"""Which turns of a session pursue one goal, whether it was reached, and at which turn.

A goal begins with a turn and is open until a turn that pursues it served. A turn belongs to the open goal that it is
most surely linked to, if it is linked to one at all; so two goals may lie between each other's turns.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from mining.defects import TurnEvidence, assess
from mining.dialogue import LONGEST
from mining.labels.goal_model import Links
from mining.reactions import Reactions
from mining.rephrases import Mark
from mining.sessions import sessions
from retriever.interaction import Interaction

LINKED = 0.5
"""From this probability on two turns pursue one goal."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`turns`: indices, in order. `reached`: the last of them, or None. `link`: of each of `turns`, the probability
    that it pursues what those before it did; 1 for the first."""

    turns: tuple[int, ...]
    reached: int | None
    link: tuple[float, ...]


def marked(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], links: Links) -> list[Mark | None]:
    """Of each turn the later one that it is most surely linked to; one that served where there is any."""
    best: list[tuple[bool, float, int] | None] = [None] * len(turns)
    for (i, k), p in links.items():
        if p >= LINKED:
            candidate = not evidence[k].failed, p, k
            if (held := best[i]) is None or candidate > held:
                best[i] = candidate
    return [None if held is None else Mark(held[2], held[1]) for held in best]


def judged(
    turns: Sequence[Interaction],
    reactions: Reactions,
    links: Links,
    by_rules: Sequence[TurnEvidence] | None = None,
) -> list[TurnEvidence]:
    """The evidence of one user's turns, with what the links say of who repaired what in the place of the rules.
    `by_rules`: of `assess` without marks, where it is at hand."""
    first = assess(turns, reactions) if by_rules is None else by_rules
    return assess(turns, reactions, marked(turns, first, links))


def goals_of(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], links: Links) -> list[Goal]:
    """All goals of one user's turns (in time order), in the order in which they began. Every turn is of one."""
    out: list[Goal] = []
    for span in sessions(turns):
        begun: dict[int, tuple[list[int], list[float]]] = {}
        goal_of: dict[int, int] = {}
        reached: dict[int, int] = {}
        for k in span:
            near = range(max(span.start, k - LONGEST), k)
            best, first = max(((links.get((i, k), 0.0), goal_of[i]) for i in near if goal_of[i] not in reached),
                              default=(0.0, k))  # fmt: skip
            if best < LINKED:
                best, first = 1.0, k
            members, link = begun.setdefault(first, ([], []))
            members.append(k)
            link.append(best)
            goal_of[k] = first
            if not evidence[k].failed:
                reached[first] = k
        out += [Goal(tuple(own), reached.get(first), tuple(link)) for first, (own, link) in begun.items()]
    return out


def support(goal: Goal, i: int, links: Links) -> float:
    """How sure it is that turn `i` of a goal pursued what the turn that reached it did: as sure as they are linked, or
    as the weaker link of the best way over another attempt."""
    assert goal.reached is not None
    near = goal.turns[bisect_right(goal.turns, i) : bisect_left(goal.turns, min(goal.reached, i + LONGEST))]
    over = (min(links.get((i, j), 0.0), links.get((j, goal.reached), 0.0)) for j in near)
    return max(links.get((i, goal.reached), 0.0), *over, 0.0)


def missed(goal: Goal, evidence: Sequence[TurnEvidence], links: Links) -> float:
    """How probable it is that a goal that was not reached was, by the likeliest later turn that served; below
    `LINKED`."""
    own = set(goal.turns)
    later = ((i, k) for i in own for k in range(i + 1, min(i + LONGEST, len(evidence))))
    served = (links.get((i, k), 0.0) for i, k in later if k not in own and not evidence[k].failed)
    return max((p for p in served if p < LINKED), default=0.0)


def links_of_repairs(evidence: Sequence[TurnEvidence]) -> Links:
    """What the rules alone say: a failed turn and the one that repaired it."""
    by_goal: dict[int, list[int]] = {}
    for i, e in enumerate(evidence):
        if e.goal is not None:
            by_goal.setdefault(e.goal, []).append(i)
    return {(i, k): 1.0 for goal, of in by_goal.items() for n, i in enumerate(of) for k in (*of[n + 1 :], goal)}
