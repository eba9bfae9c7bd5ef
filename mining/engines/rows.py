"""Mined rows: what one person adds to one key of one table. Everybody's tables are the sums of them.

All that is mined of people has this one form, so that merging it is one statement, whatever the engine. Amounts are
whole numbers or multiples of 2^-20 (`mining.tables.exactly`), which add up without rounding: the sums are the same rows
in whatever order, on however many machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from retriever.interaction import Interpretation

AMOUNTS = 5
SCHEMA = pa.schema(
    [
        ("bucket", pa.int32()),
        ("user_id", pa.string()),
        ("name", pa.string()),
        ("key", pa.string()),
        *((f"amount_{n}", pa.float64()) for n in range(AMOUNTS)),
        ("people", pa.int64()),
        ("latest", pa.int64()),
    ]
)
"""`name`: of the table. `key`: JSON. `people`: 1 where the person counts for the key, so that their sum is the number
of people. `latest`: the greatest counts."""
SUMMED = pa.schema([field for field in SCHEMA if field.name not in ("bucket", "user_id")])
"""What is left of rows once everybody's are summed."""
_FLUSH = 1 << 14


class Row(NamedTuple):
    """One row of one person."""

    name: str
    key: str
    amounts: tuple[float, ...] = ()
    people: int = 0
    latest: int = 0


def key_of(*parts: Any) -> str:
    """Parts of strings, numbers and lists as a key."""
    return orjson.dumps(parts).decode()


def parts_of(key: str) -> list[Any]:
    parts: list[Any] = orjson.loads(key)
    return parts


def reading_part(reading: Interpretation | None) -> list[Any] | None:
    """An interpretation as a part of a key."""
    return None if reading is None else [reading.intent, reading.slots]


def reading_of(part: Sequence[Any] | None) -> Interpretation | None:
    """The inverse of `reading_part`."""
    return None if part is None else Interpretation(part[0], tuple((name, value) for name, value in part[1]))


class Person(NamedTuple):
    """One person's rows of earlier stages."""

    bucket: int
    user_id: str
    rows: list[Row]


def people(batches: Iterable[pa.RecordBatch]) -> Iterator[Person]:
    """People, one at a time, from batches in which each person's rows stand together; a person may go on from one batch
    into the next."""
    person: Person | None = None
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in SCHEMA.names]
        for bucket, user, name, key, *amounts, counts, latest in zip(*columns, strict=True):
            if person is None or person.user_id != user:
                if person is not None:
                    yield person
                person = Person(bucket, user, [])
            person.rows.append(Row(name, key, tuple(amounts), counts, latest))
    if person is not None:
        yield person


def batches(rows: Iterable[tuple[int, str, Iterable[Row]]]) -> Iterator[pa.RecordBatch]:
    """Record batches of `SCHEMA` from (bucket, user, their rows)."""
    held: list[tuple[Any, ...]] = []
    for bucket, user, theirs in rows:
        for name, key, amounts, counts, latest in theirs:
            held.append((bucket, user, name, key, *amounts, *_ZEROS[len(amounts) :], counts, latest))
        if len(held) >= _FLUSH:
            yield _batch(held)
            held = []
    if held:
        yield _batch(held)


_ZEROS = (0.0,) * AMOUNTS


def _batch(held: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [
        pa.array(column, type=field.type) for column, field in zip(zip(*held, strict=True), SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
