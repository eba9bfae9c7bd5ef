"""Turns as columns: how they are kept in the work folder, and back.

One row is one line of the log as it was read; which line of an id counts is decided when people's turns are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from mining.schema import parse_interaction
from retriever.interaction import (
    Channel,
    Context,
    Explicit,
    Feedback,
    Interaction,
    Interpretation,
    Outcome,
    Request,
)
from retriever.packed import key_hash

SCHEMA = pa.schema(
    [
        ("bucket", pa.int32()),
        ("user_id", pa.string()),
        ("sequence", pa.int64()),
        ("interaction_id", pa.string()),
        ("timestamp_ms", pa.int64()),
        ("query", pa.string()),
        ("channel", pa.string()),
        ("alternatives", pa.list_(pa.string())),
        ("asr_confidence", pa.float64()),
        ("device_id", pa.string()),
        ("device_type", pa.string()),
        ("has_screen", pa.bool_()),
        ("room", pa.string()),
        ("device_state", pa.string()),
        ("locale", pa.string()),
        ("city", pa.string()),
        ("state", pa.string()),
        ("intent", pa.string()),
        ("slots", pa.string()),
        ("outcome", pa.string()),
        ("barge_in", pa.bool_()),
        ("explicit", pa.string()),
        ("dwell_s", pa.float64()),
        ("heard", pa.string()),
    ]
)
"""`bucket`: of the user, see `bucket_of`. `sequence`: number of the import, then of the line in it, so that a later
line of the same id has the greater one. `device_state`, `slots`: JSON; `intent` and `slots` are null where nothing was
understood. `query`: what the assistant was asked, and `heard`, where that was a rewrite, what was heard. The others as
in the log."""
IMPORT_BITS = 40
"""A sequence is the import's number times two to this, plus the line's number."""


def sequence(number: int, line: int) -> int:
    return number << IMPORT_BITS | line


def bucket_of(user_id: str, buckets: int) -> int:
    """0 to `buckets` - 1. Buckets are ranges of the hash by which archives of people are ordered."""
    return key_hash(user_id) * buckets >> 64


def row_of(record: Any) -> tuple[Any, ...]:
    """The columns of a record of the log from `interaction_id` on, with `user_id` before them. Raises SchemaError."""
    return _plain_row(record) or _columns_of(parse_interaction(record))


def _columns_of(turn: Interaction) -> tuple[Any, ...]:
    r, c, made, f = turn.request, turn.request.context, turn.interpretation, turn.feedback
    return (
        r.user_id,
        r.interaction_id,
        r.timestamp_ms,
        r.query,
        r.channel.value,
        list(r.alternatives),
        r.asr_confidence,
        c.device_id,
        c.device_type,
        c.has_screen,
        c.room,
        _json(dict(c.device_state)),
        c.locale,
        c.city,
        c.state,
        made and made.intent,
        made and _json(made.slots),
        turn.outcome.value,
        f.barge_in,
        f.explicit and f.explicit.value,
        f.dwell_s,
        turn.heard,
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


_CHANNELS = frozenset(channel.value for channel in Channel)
_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
_EXPLICITS = frozenset({None, *(explicit.value for explicit in Explicit)})
_MOST_ID, _MOST_STAMP = 128, 4_102_444_800_000


def _texts(values: Iterable[Any]) -> bool:
    return all(type(value) is str for value in values)


def _plain_row(record: Any) -> tuple[Any, ...] | None:
    """`_columns_of` a record that has each field in its plainest form, as nearly all have, in a third of the time; None
    where anything is unusual, right or wrong."""
    try:
        context, made, feedback = record["context"], record["interpretation"], record["feedback"]
        location, devices = context["location"], context["device_state"]
        user, turn, stamp, query = (
            record["user_id"],
            record["interaction_id"],
            record["timestamp_ms"],
            record["query"],
        )
        others, sure, dwell = record["alternatives"], record["asr_confidence"], feedback["dwell_s"]
        intent = slots = None
        if made is not None:
            intent = made["intent"]
            pairs = sorted(made["slots"].items())
            if type(intent) is not str or not intent or not _texts(value for _, value in pairs):
                return None
            slots = _json(pairs)
        row = (
            user,
            turn,
            stamp,
            query,
            record["channel"],
            others,
            sure,
            context["device_id"],
            context["device_type"],
            context["has_screen"],
            context["room"],
            _json(devices),
            context["locale"],
            location["city"],
            location["state"],
            intent,
            slots,
            record["outcome"],
            feedback["barge_in"],
            feedback["explicit"],
            dwell,
            None,
        )
        plain = (
            _texts((user, turn, query, row[7], row[8], row[10], row[12], row[13], row[14]))
            and 0 < len(user) <= _MOST_ID
            and 0 < len(turn) <= _MOST_ID
            and type(stamp) is int
            and 0 < stamp < _MOST_STAMP
            and type(others) is list
            and _texts(others)
            and row[4] in _CHANNELS
            and row[17] in _OUTCOMES
            and row[19] in _EXPLICITS
            and type(row[9]) is bool
            and type(row[18]) is bool
            and (sure is None or (type(sure) is float and 0 <= sure <= 1))
            and (dwell is None or (type(dwell) is float and 0 <= dwell <= 1e9))
            and type(devices) is dict
            and _texts(devices.values())
            and record.get("rewritten_query") in (None, "")
        )
    except (KeyError, TypeError, AttributeError):
        return None
    return row if plain else None


@lru_cache(maxsize=1 << 16)
def _interpretation(intent: str, slots: str) -> Interpretation:
    return Interpretation(intent, tuple((name, value) for name, value in orjson.loads(slots)))


@lru_cache(maxsize=1 << 14)
def _context(
    device_id: str, device_type: str, has_screen: bool, room: str, devices: str, locale: str, city: str, state: str
) -> Context:
    return Context(device_id, device_type, has_screen, room, orjson.loads(devices), locale, city, state)


@lru_cache(maxsize=1 << 14)
def _feedback(barge_in: bool, explicit: str | None, dwell_s: float | None) -> Feedback:
    return Feedback(barge_in, Explicit(explicit) if explicit else None, dwell_s)


_CHANNEL: Mapping[str, Channel] = {channel.value: channel for channel in Channel}
_OUTCOME: Mapping[str, Outcome] = {outcome.value: outcome for outcome in Outcome}
TURN_COLUMNS = tuple(name for name in SCHEMA.names if name not in ("bucket", "sequence"))
"""What `people` needs, with `bucket` before them."""


class Person(NamedTuple):
    """One user's turns, each id once, in time order."""

    bucket: int
    user_id: str
    turns: list[Interaction]


def people(batches: Iterable[pa.RecordBatch]) -> Iterator[Person]:
    """People, one at a time, from batches with `bucket` and `TURN_COLUMNS` in which each user's turns stand together,
    in time order; a user may go on from one batch into the next."""
    person: Person | None = None
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("bucket", *TURN_COLUMNS)]
        for bucket, user, turn, stamp, query, channel, others, sure, *rest in zip(*columns, strict=True):
            if person is None or person.user_id != user:
                if person is not None:
                    yield person
                person = Person(bucket, user, [])
            context = _context(*rest[:8])
            made = None if rest[8] is None else _interpretation(rest[8], rest[9])
            request = Request(turn, person.user_id, stamp, query, _CHANNEL[channel], tuple(others), sure, context)
            feedback = _feedback(*rest[11:14])
            person.turns.append(Interaction(request, made, _OUTCOME[rest[10]], feedback, rest[14]))
    if person is not None:
        yield person
