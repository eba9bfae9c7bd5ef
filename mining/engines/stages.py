"""What is mined, as stages: of each person alone, by plain functions, given what all people before it came to.

`REACT` needs nothing beforehand. `PURSUE` needs the strengths of reactions that everybody's rows of `REACT` gave,
`ASSESS` these with the pursuit that the rows of `PURSUE` gave, `TRY` the rules that enough people agree on. Each engine
runs these same functions, and sums the rows by the same statements (`mining.engines.statements`). What else is asked of
each person is a stage too, kept beside what it is for, and run by `Miner.further`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import mining
import retriever
from mining.chain_counts import chain_rows
from mining.completions import Example, Foretold, Key, Tries, examples_of, rules_of
from mining.defects import assess, signals_of, steps_of
from mining.engines import columns, rows
from mining.engines.rows import Row, key_of, parts_of, reading_of, reading_part
from mining.mishearings import pairs
from mining.reactions import FIELDS, Reactions
from mining.tables import MOST_PER_PERSON, collect, exactly, weight_of
from retriever.interaction import Interaction

Turns = Sequence[Interaction]
EXAMPLES = "examples"


def _react(turns: Turns, knowledge: None) -> Iterator[Row]:
    stamps = turns[0].request.timestamp_ms, turns[-1].request.timestamp_ms
    yield Row("volume", key_of("last"), (len(turns),), 1, stamps[1])
    yield Row("volume", key_of("first"), (), 0, -stamps[0])
    for signals, times in signals_of(turns).items():
        yield Row("signals", key_of(*FIELDS(signals)), (times,))


def _pursue(turns: Turns, knowledge: Reactions) -> Iterator[Row]:
    steps = steps_of(turns, knowledge)
    for kind, counts in (("unrelated", steps.unrelated), ("after_failure", steps.after_failure)):
        for at, times in counts.items():
            yield Row("steps", key_of(kind, *at), (times,))


def _assess(turns: Turns, knowledge: Reactions) -> Iterator[Row]:
    evidence = assess(turns, knowledge)
    own = collect(turns, evidence)
    for text, row in own.texts.items():
        weight = weight_of(row)
        shared = exactly(weight * row.attempts), exactly(weight * row.successes)
        own_amounts = exactly(row.attempts), exactly(row.successes)
        yield Row("texts", key_of(text), (*shared, *own_amounts), row.people, row.last_success_ms)
        for reading in row.understood_by:
            counts = [of[reading] for of in (*row.readings, *row.understood)]
            amounts = [exactly(weight * times) for times in counts]
            yield Row("readings", key_of(text, reading.intent, reading.slots), (*amounts, counts[0] + counts[1]), 1)
    for pair, repair in own.repairs.items():
        yield Row("repairs", key_of(*pair), (min(repair.times, MOST_PER_PERSON),), 1)
    for value, times in own.slot_values.items():
        yield Row("slot_values", key_of(value), (min(times, MOST_PER_PERSON),), 1)
    for heard, times in pairs(turns, evidence).items():
        name = "mishearings" if heard.repaired else "doubts"
        yield Row(name, key_of(heard.heard.hex(), heard.said.hex()), (times,), 0, -heard.rank)
    for *counted, weight in chain_rows(turns, evidence):
        yield Row("chains", key_of(*counted), (weight,))
    yield from _repairs(Counter(examples_of(turns, evidence)))


def _repairs(examples: Counter[Example]) -> Iterator[Row]:
    """The repairs as they were, and as rules."""
    keys: Counter[Key] = Counter()
    foretold: Counter[tuple[Key, Foretold]] = Counter()
    for example, times in examples.items():
        readings = [reading_part(reading) for reading in example.answered]
        yield Row(EXAMPLES, key_of(*example[:5], readings, example.goal, reading_part(example.reading)), (times,))
        for key, reading in rules_of(example):
            keys[key] += times
            foretold[key, reading] += times
    for key, times in keys.items():
        yield Row("rules", key_of(*key), (times,), 1)
    for (key, reading), times in foretold.items():
        yield Row("foretold", key_of(*key, reading), (times,))


def _try(theirs: Sequence[Row], knowledge: Tries) -> Iterator[Row]:
    out: dict[Key, list[int]] = {}
    for row in theirs:
        times = int(row.amounts[0])
        for rule, right, again in knowledge.of(example_of(row.key)):
            counts = out.setdefault((rule.pattern, rule.open_ended, rule.intent, rule.template), [0, 0, 0, 0])
            counts[0] += times
            counts[1] += times * right
            counts[2] += times * again
            counts[3] += times * (again and right)
    for key, counts in out.items():
        yield Row("tries", key_of(*key), tuple(counts))


def example_of(key: str) -> Example:
    """The repair of a row of `EXAMPLES`."""
    query, room, city, state, on, answered, goal, reading = parts_of(key)
    readings = tuple(reading_of(part) for part in answered)
    return Example(query, room, city, state, tuple(on), readings, goal, reading_of(reading))  # type: ignore[arg-type]


def _as_it_is(knowledge: Any) -> Any:
    return knowledge


@dataclass(frozen=True)
class Stage:
    """`mine`: one person's rows from their turns, or from their rows in the table `of_rows` of the stage `after`, and
    from what `prepare` made of the knowledge. `names`: of the tables that it makes. It goes to other processes and
    machines by pickle, so `mine` and `prepare` are functions of a module of `mining`."""

    name: str
    names: tuple[str, ...]
    mine: Callable[[Any, Any], Iterator[Row]]
    after: str | None = None
    of_rows: str | None = None
    prepare: Callable[[Any], Any] = _as_it_is

    def run(self, batches: Iterable[pa.RecordBatch], knowledge: Any) -> Iterator[pa.RecordBatch]:
        """Rows of all people in the batches, one person in memory at a time."""
        knowledge = self.prepare(knowledge)
        people = columns.people(batches) if self.of_rows is None else rows.people(batches)
        return rows.batches((bucket, user, self.mine(theirs, knowledge)) for bucket, user, theirs in people)


REACT = Stage("react", ("volume", "signals"), _react)
PURSUE = Stage("pursue", ("steps",), _pursue)
ASSESS = Stage(
    "assess",
    ("texts", "readings", "repairs", "slot_values", "mishearings", "doubts", "chains", EXAMPLES, "rules", "foretold"),
    _assess,
)
TRY = Stage("try", ("tries",), _try, after="assess", of_rows=EXAMPLES, prepare=Tries)
STAGES = {stage.name: stage for stage in (REACT, PURSUE, ASSESS, TRY)}
"""Those of every mining, by name."""


@cache
def code_fingerprint() -> str:
    """Of the code that mines: where it changes, rows that older code has mined are mined again."""
    digest = hashlib.sha256()
    for package in (mining, retriever):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
