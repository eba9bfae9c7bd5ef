"""The log's own measure of labels, on its last days and without any truth: does what a failed request is said to have
reached agree with what the same words reached on earlier days, for whomever?

Only words count of which the earlier days speak with one voice, at least twice, and by rules and model alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.mining.dev_dialogues import Found, People
from retriever.interaction import Interpretation
from retriever.normalise import normalise

_LEAST = 2


def agreement(people: People, ways: Mapping[str, Found], from_ms: int) -> dict[str, dict[str, int]]:
    """Of each way: how many turns from `from_ms` on got a goal, and how many of these earlier days confirm or
    contradict. The first two ways say together what earlier days tell."""
    one, other = list(ways.values())[:2]
    meant = _meant(people, one, other, from_ms)
    out = {}
    for way, found in ways.items():
        count = Counter({"labelled": 0, "confirmed": 0, "contradicted": 0})
        for user, turns in people.items():
            for turn, goal in zip(turns, found[user], strict=True):
                if goal is None or turn.request.timestamp_ms < from_ms:
                    continue
                count["labelled"] += 1
                known = meant.get(normalise(turn.request.query))
                if known is not None:
                    count["confirmed" if turns[goal].interpretation == known else "contradicted"] += 1
        out[way] = dict(count)
    return out


def beside(rules: Found, marks: Found) -> dict[str, Sequence[int | None]]:
    """What the rules find, and where they find nothing, what the model marks."""
    return {
        user: [a if a is not None else b for a, b in zip(goals, marks[user], strict=True)]
        for user, goals in rules.items()
    }


def _meant(people: People, one: Found, other: Found, until_ms: int) -> dict[str, Interpretation]:
    reached: dict[str, Counter[Interpretation]] = defaultdict(Counter)
    for user, turns in people.items():
        for turn, a, b in zip(turns, one[user], other[user], strict=True):
            if a is not None and a == b and turn.request.timestamp_ms < until_ms:
                reading = turns[a].interpretation
                if reading is not None:
                    reached[normalise(turn.request.query)][reading] += 1
    return {
        text: next(iter(readings))
        for text, readings in reached.items()
        if len(readings) == 1 and readings.total() >= _LEAST
    }
