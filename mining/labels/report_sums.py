"""Everybody's rows of the report, summed, as the figures that they stand for.

Two people who must never meet must not do so here either. Whatever names something of a person (a text, an intent, a
slot's value) is asked for with `least_people`, so that the engine itself leaves out what is rarer, and looked at once
more when it comes; the rest is what is left of the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from mining.engines.rows import parts_of, reading_of
from mining.labels.report_figures import (
    NO_DEFECTS,
    Count,
    Day,
    FailedRequest,
    Figures,
    Meaning,
    Part,
    Split,
    Wanted,
    summed,
)
from mining.labels.report_rows import DAYS, MEANT, PARTS, REQUESTS, WANTED, WHOLE

Ask = Callable[[Sequence[str], int], Mapping[str, pa.Table]]
"""Everybody's rows of some tables, summed by key, by name of the table; of keys that so many people have at least."""
_EPOCH = date(1970, 1, 1)


def figures_of(ask: Ask, min_people: int) -> Figures:
    """The figures of a log. `min_people`: who must share a thing for it to be named."""
    sums = {**ask((*WHOLE, *DAYS), 0), **ask((*PARTS, *REQUESTS, *MEANT, WANTED), min_people)}
    wholes = {name: Part("", people, count) for (name,), people, count in _paired(sums, WHOLE)}
    whole, bounded = (wholes.get(name, Part("", 0, Count())) for name in ("all", "requests"))
    days = sorted((number, people, count) for (number,), people, count in _paired(sums, DAYS))
    shown = tuple(Day(_EPOCH + timedelta(n), people, count) for n, people, count in days if people >= min_people)
    said = {text: people for (text,), _, people in _rows(sums[REQUESTS[0]]) if people >= min_people and text}
    requests = _requests(sums, min_people, said)
    return Figures(
        min_people=min_people,
        whole=whole,
        days=shown,
        other_days=whole.count - summed(day.count for day in shown),
        intents=_split(sums, "intent", whole.count, min_people),
        devices=_split(sums, "device", whole.count, min_people),
        locales=_split(sums, "locale", whole.count, min_people),
        requests=requests,
        other_requests=bounded.count - summed(request.count for request in requests),
        repeats=whole.count - bounded.count,
        wanted=_wanted(sums, min_people, said),
        said=frozenset(said),
    )


def _rows(table: pa.Table) -> Iterator[tuple[list[Any], list[float], int]]:
    """Of each summed row the parts of its key, amounts, people."""
    for batch in table.to_batches(1 << 14):
        columns = [batch.column(name).to_pylist() for name in batch.schema.names]
        for _, key, *amounts, people, _latest in zip(*columns, strict=True):
            yield parts_of(key), amounts, people


def _paired(sums: Mapping[str, pa.Table], names: tuple[str, str]) -> Iterator[tuple[list[Any], int, Count]]:
    """Of each key of a pair of tables its people, and the counts of both. Keys that are in one alone are left out."""
    defects = {tuple(key): amounts for key, amounts, _ in _rows(sums[names[1]])}
    for key, amounts, people in _rows(sums[names[0]]):
        if (by_point := defects.get(tuple(key))) is not None:
            yield key, people, _count(amounts, by_point)


def _count(amounts: Sequence[float], by_point: Sequence[float]) -> Count:
    turns, rewritten, repaired, *_ = amounts
    return Count(turns, rewritten, repaired, tuple(by_point))


def _split(sums: Mapping[str, pa.Table], kind: str, whole: Count, min_people: int) -> Split:
    parts = [
        Part(key[1], people, count)
        for key, people, count in _paired(sums, PARTS)
        if key[0] == kind and people >= min_people
    ]
    parts.sort(key=lambda part: (-part.count.defects, part.name))
    return Split(tuple(parts), whole - summed(part.count for part in parts))


def _requests(sums: Mapping[str, pa.Table], min_people: int, said: Mapping[str, int]) -> tuple[FailedRequest, ...]:
    failed = {text: (amounts, people) for (text,), amounts, people in _rows(sums[REQUESTS[1]])}
    meanings = _meanings(sums, min_people, said)
    out = []
    for (text,), amounts, _ in _rows(sums[REQUESTS[0]]):
        by_point, people = failed.get(text, (NO_DEFECTS, 0))
        if text in said and people >= min_people:
            count = _count(amounts, by_point)
            out.append(FailedRequest(text, people, said[text], count, tuple(meanings.get(text, ()))))
    return tuple(sorted(out, key=lambda request: (-request.count.defects, request.text)))


def _wanted(sums: Mapping[str, pa.Table], min_people: int, said: Mapping[str, int]) -> tuple[Wanted, ...]:
    found = [
        Wanted(text, people, tuple(amounts))
        for (text,), amounts, people in _rows(sums[WANTED])
        if people >= min_people and text in said
    ]
    return tuple(sorted(found, key=lambda wanted: (-sum(wanted.by_point), wanted.text)))


def _meanings(
    sums: Mapping[str, pa.Table], min_people: int, said: Mapping[str, int]
) -> dict[str, list[Meaning]]:
    """What was meant by each text, what most people meant first. What is meant must have been said by enough people
    itself: what some were only ever served in its place is not theirs."""
    readings: dict[tuple[str, str], list[tuple[int, list[Any]]]] = defaultdict(list)
    for (text, wanted, *reading), _, people in _rows(sums[MEANT[1]]):
        if people >= min_people and reading:
            readings[text, wanted].append((people, reading))
    out: dict[str, list[Meaning]] = defaultdict(list)
    for (text, wanted), amounts, people in _rows(sums[MEANT[0]]):
        if people >= min_people and wanted in said:
            most = min(readings.get((text, wanted), ()), key=lambda r: (-r[0], r[1]), default=None)
            out[text].append(Meaning(wanted, reading_of(most and most[1]), people, tuple(amounts)))
    for found in out.values():
        found.sort(key=lambda meaning: (-meaning.people, -sum(meaning.by_point), meaning.text))
    return out
