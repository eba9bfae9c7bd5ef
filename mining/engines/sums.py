"""Everybody's rows, summed, as what they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mining.chain_counts import ChainRow, sum_rows
from mining.chains import Chains
from mining.completions import Foretold, Key, Tried, drafted
from mining.engines import statements
from mining.engines.rows import AMOUNTS, key_of, parts_of, reading_of, reading_part
from mining.frames import CountPeople, Pair
from mining.mishearings import Mishearing
from mining.pursuit import Bin
from mining.reactions import After, Signals
from mining.tables import Tables, in_order, without_cycles
from retriever.completion import Rule
from retriever.evidence import Repair, TextEvidence

Sums = Mapping[str, pa.Table]
"""Everybody's rows of each table, by its name: columns as in `mining.engines.rows.SUMMED`."""


def by_name(summed: pa.Table, names: Iterable[str]) -> dict[str, pa.Table]:
    """The rows of each table, from those of all in one."""
    return {name: summed.filter(pc.equal(summed.column("name"), name)) for name in names}


def _rows(table: pa.Table) -> Iterator[tuple[list[Any], list[float], int, int]]:
    """Of each summed row the parts of its key, amounts, people, latest."""
    for batch in table.to_batches(1 << 14):
        columns = [batch.column(name).to_pylist() for name in batch.schema.names]
        for _, key, *amounts, people, latest in zip(*columns, strict=True):
            yield parts_of(key), amounts, people, latest


@dataclass(frozen=True, slots=True)
class Volume:
    """How much was mined: turns, each id of a user once; people; the first and the last turn's time."""

    turns: int
    people: int
    from_ms: int
    to_ms: int


def volume(sums: Sums) -> Volume:
    found = {parts[0]: (amounts, people, latest) for parts, amounts, people, latest in _rows(sums["volume"])}
    if not found:
        return Volume(0, 0, 0, 0)
    (turns, *_), people, last = found["last"]
    return Volume(int(turns), people, -found["first"][2], last)


def signals(sums: Sums) -> dict[Signals, int]:
    """How many answered turns showed what."""
    return {
        Signals(barge, dwell, explicit, After(after), intent, sure): int(amounts[0])
        for (barge, dwell, explicit, after, intent, sure), amounts, *_ in _rows(sums["signals"])
    }


def steps(sums: Sums) -> dict[str, dict[Bin, int]]:
    """How many steps fell into each bin: `unrelated`, and `after_failure`."""
    out: dict[str, dict[Bin, int]] = {"unrelated": {}, "after_failure": {}}
    for (kind, likeness, pause, typed), amounts, *_ in _rows(sums["steps"]):
        out[kind][likeness, pause, typed] = int(amounts[0])
    return out


def tables(sums: Sums) -> Tables:
    out = Tables()
    for (text,), amounts, people, latest in _rows(sums["texts"]):
        out.texts[text] = TextEvidence(text, amounts[0], amounts[1], people, latest)
    for (text, *made), amounts, people, _ in _rows(sums["readings"]):
        row, reading = out.texts[text], reading_of(made)
        assert reading is not None
        row.understood_by[reading] = people
        for whole, amount in zip((*row.readings, *row.understood), amounts, strict=False):
            if amount:
                whole[reading] = amount
    for pair, amounts, people, _ in _rows(sums["repairs"]):
        out.repairs[pair[0], pair[1]] = Repair(pair[0], pair[1], amounts[0], people)
    out.repairs = without_cycles(out.repairs)
    out.slot_values = Counter({value: int(amounts[0]) for (value,), amounts, *_ in _rows(sums["slot_values"])})
    out.texts = {text: in_order(row) for text, row in out.texts.items()}
    return out


def served_pairs(sums: Sums) -> dict[Pair, int]:
    """How often each text served as what it was understood as."""
    out = {}
    for (text, *made), amounts, *_ in _rows(sums["readings"]):
        reading = reading_of(made)
        if amounts[AMOUNTS - 1] and reading is not None:
            out[text, reading] = int(amounts[AMOUNTS - 1])
    return out


def counter_of_people(query: Callable[[str, Mapping[str, pa.Table]], pa.Table]) -> CountPeople:
    """Counts different people of groups of pairs. `query`: answers a statement over the rows of `ASSESS`."""

    def count(groups: Iterable[tuple[Pair, Hashable]]) -> Mapping[Hashable, int]:
        number: dict[Hashable, int] = {}
        keys, numbers = [], []
        for (text, reading), group in groups:
            keys.append(key_of(text, *(reading_part(reading) or ())))
            numbers.append(number.setdefault(group, len(number)))
        if not keys:
            return {}
        grouped = pa.table({"key": pa.array(keys, pa.string()), "number": pa.array(numbers, pa.int64())})
        found = query(statements.PEOPLE_OF_GROUPS, {"grouped": grouped})
        people = dict(zip(found.column("number").to_pylist(), found.column("people").to_pylist(), strict=True))
        return {group: people[n] for group, n in number.items()}

    return count


def mishearings(sums: Sums) -> dict[Mishearing, int]:
    """What is learned from at most."""
    return {
        Mishearing(bytes.fromhex(heard), bytes.fromhex(said), repaired): int(amounts[0])
        for name, repaired in (("mishearings", True), ("doubts", False))
        for (heard, said), amounts, *_ in _rows(sums[name])
    }


def chains(sums: Sums) -> Chains:
    rows = (ChainRow._make((*key, int(amounts[0]))) for key, amounts, *_ in _rows(sums["chains"]))
    return Chains.of_sums(sum_rows(rows))


def draft(sums: Sums) -> list[Rule]:
    """The rules that enough people agree on, which are all that `sums` has, not tried yet."""
    people: dict[Key, int] = {}
    for (pattern, open_ended, intent, template), _, n, _ in _rows(sums["rules"]):
        people[pattern, open_ended, intent, template] = n
    readings: dict[Key, dict[Foretold, int]] = {key: {} for key in people}
    for (*key, reading), amounts, *_ in _rows(sums["foretold"]):
        if (known := readings.get(tuple(key))) is not None:
            foretold = None if reading is None else (reading[0], tuple((name, value) for name, value in reading[1]))
            known[foretold] = int(amounts[0])
    return drafted(people, readings)


def tried(sums: Sums, rules: Iterable[Rule]) -> dict[Rule, Tried]:
    """What came of trying the rules on all repairs."""
    by_key = {(r.pattern, r.open_ended, r.intent, r.template): r for r in rules}
    return {by_key[tuple(key)]: Tried(*map(int, amounts[:4])) for key, amounts, *_ in _rows(sums["tries"])}
