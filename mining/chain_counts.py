"""What one user's turns add to everybody's chains: rows of counts, which any engine can sum.

`chain_rows` is pure and knows one user alone; `sum_rows` only adds up. Weights are whole millionths of a turn, so that
sums are the same in whatever order they are made, and by whatever engine. The chains themselves: `mining.chains`.

Turns that were asked with a rewrite of this service are kept apart: what came of them says how good the rewrite is, and
nothing of what users would have done without it (after Ponnusamy et al. 2022, "Self-aware feedback-based self-learning
in large-scale conversational AI").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import orjson

from mining.defects import TurnEvidence
from mining.tables import MOST_PER_PERSON
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

TURN = 1_000_000
"""What a turn weighs."""


class Kind(StrEnum):
    """What a row counts. Of turns, but for those of people, where each user adds one turn's weight at most."""

    MOVED = "moved"  # from a state to the next attempt at the same goal
    SERVED = "served"  # absorbed: served as it was
    FAILED = "failed"  # absorbed: failed, and not tried again
    PEOPLE = "people"  # who came from a state to the one that served, directly or by others
    SAID = "said"  # on a device without a screen
    SAID_ON_SCREEN = "said_on_screen"
    OWN_SERVED = "own_served"  # asked with a rewrite of ours, from the heard text to the asked one
    OWN_FAILED = "own_failed"
    OWN_PEOPLE = "own_people"


class State(NamedTuple):
    """A text in normal form, with what the assistant made of it as JSON (`reading_key`); "" for nothing."""

    text: str
    reading: str = ""


NO_STATE = State("")


class RowKey(NamedTuple):
    """What is counted. `target`: `NO_STATE` where the row is about one state alone."""

    kind: Kind
    source: State
    target: State = NO_STATE


class ChainRow(NamedTuple):
    """One row as engines see it: five strings that are summed by, and a weight in millionths of a turn."""

    kind: str
    text: str
    reading: str
    to_text: str
    to_reading: str
    weight: int


def reading_key(reading: Interpretation | None) -> str:
    """An interpretation as a string, equal where they are."""
    return "" if reading is None else orjson.dumps([reading.intent, reading.slots]).decode()


def reading_of(key: str) -> Interpretation | None:
    """The inverse of `reading_key`."""
    if not key:
        return None
    intent, slots = orjson.loads(key)
    return Interpretation(intent, tuple((name, value) for name, value in slots))


Next = Callable[[Sequence[Interaction], Sequence[TurnEvidence], int], int | None]
"""From a user's turns with their evidence and the index of one that failed to the index of the turn that the user went
on to, or None."""


def next_attempt(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], i: int) -> int | None:
    """The next turn that pursues the goal that turn `i` reached in the end; None where it reached none. What the user
    asked between that was another wish is no part of the chain."""
    goal = evidence[i].goal
    if goal is None:
        return None
    return next((k for k in range(i + 1, goal) if evidence[k].goal == goal), goal)


def chain_rows(
    turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], following: Next = next_attempt
) -> list[ChainRow]:
    """The rows of one user: `turns` in time order with their evidence (`mining.defects.assess`), each key once, in a
    fixed order. All turns of one state, or of one pair of ours, weigh at most `MOST_PER_PERSON` turns.

    Of a turn 1 - defect is served, and the rest goes on to `following`, or fails where there is none. A turn from which
    the user went on to one that we rewrote is left out: nobody knows where it would have led.
    """
    states = [State(normalise(turn.request.query), reading_key(turn.interpretation)) for turn in turns]
    own = [_heard(turn, state) for turn, state in zip(turns, states, strict=True)]
    sums: Counter[RowKey] = Counter()
    times: Counter[RowKey] = Counter()
    people: set[RowKey] = set()
    for i, (state, e) in enumerate(zip(states, evidence, strict=True)):
        failed = round(TURN * e.defect)
        if not state.text:
            continue
        if (heard := own[i]) is not None:
            pair = State(heard), State(state.text)
            sums[RowKey(Kind.OWN_SERVED, *pair)] += TURN - failed
            sums[RowKey(Kind.OWN_FAILED, *pair)] += failed
            times[RowKey(Kind.OWN_PEOPLE, *pair)] += 1
            people.add(RowKey(Kind.OWN_PEOPLE, *pair))
            continue
        after = following(turns, evidence, i)
        if after is not None and own[after] is not None:
            continue
        times[RowKey(Kind.SAID, state)] += 1
        screen = turns[i].request.context.has_screen
        sums[RowKey(Kind.SAID_ON_SCREEN if screen else Kind.SAID, state)] += TURN
        sums[RowKey(Kind.SERVED, state)] += TURN - failed
        to = NO_STATE if after is None else states[after]
        sums[RowKey(Kind.MOVED, state, to) if to.text else RowKey(Kind.FAILED, state)] += failed
        reached = _reached(turns, evidence, i, following) if e.failed else None
        if reached is not None and own[reached] is None and states[reached].text not in ("", state.text):
            people.add(RowKey(Kind.PEOPLE, state, states[reached]))
    return list(_rows(sums, times, people))


def _reached(
    turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], i: int, following: Next
) -> int | None:
    """The turn at which the user who went on from `i` was served; None where that never came."""
    at: int | None = i
    while at is not None and evidence[at].failed:
        at = following(turns, evidence, at)
    return at


def _rows(
    sums: Mapping[RowKey, int], times: Mapping[RowKey, int], people: Iterable[RowKey]
) -> Iterator[ChainRow]:
    for key, weight in sorted(sums.items()):
        ours = key.kind in (Kind.OWN_SERVED, Kind.OWN_FAILED)
        said = times[key._replace(kind=Kind.OWN_PEOPLE) if ours else RowKey(Kind.SAID, key.source)]
        if bounded := weight * min(said, int(MOST_PER_PERSON)) // said:
            yield ChainRow(key.kind, *key.source, *key.target, bounded)
    for key in sorted(people):
        yield ChainRow(key.kind, *key.source, *key.target, TURN)


def _heard(turn: Interaction, asked: State) -> str | None:
    """What was heard, where we had something else asked; None where the user's own words were."""
    heard = None if turn.heard is None else normalise(turn.heard)
    return heard if heard and heard != asked.text else None


def sum_rows(rows: Iterable[ChainRow]) -> dict[RowKey, int]:
    """Weights by what they count, in millionths of a turn: the sums of all users' rows, or of sums of them."""
    sums: Counter[RowKey] = Counter()
    for kind, text, reading, to_text, to_reading, weight in rows:
        sums[RowKey(Kind(kind), State(text, reading), State(to_text, to_reading))] += weight
    return dict(sums)
