"""One record of the interaction log (docs/data.md) to an `Interaction`, and back.

Unknown extra fields are left alone. A record that cannot be an interaction raises `SchemaError` naming the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

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

MAX_ID_CHARS = 128
MAX_USER_ID_CHARS = MAX_ID_CHARS + 34
"""An id with the tenant before it: docs/data.md."""
MAX_TIMESTAMP_MS = 4_102_444_800_000  # the year 2100: a later one is microseconds by mistake


class SchemaError(ValueError):
    """`field`: the path of the field at fault. `rule`: the problem without the value that was met, which may be a
    user's words: for counting, and for whom the value is none of their business."""

    def __init__(self, field: str, problem: str, rule: str | None = None) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.rule = problem if rule is None else rule


def _text(record: Mapping[str, Any], field: str, *, required: bool = False, path: str = "") -> str:
    value = record.get(field)
    if value is None:
        if required:
            raise SchemaError(path + field, "missing")
        return ""
    if not isinstance(value, str):
        raise SchemaError(path + field, f"expected a string, got {type(value).__name__}")
    return value


def _identifier(record: Mapping[str, Any], field: str, most: int = MAX_ID_CHARS) -> str:
    value = _text(record, field, required=True)
    if not 0 < len(value) <= most:
        expected = f"expected 1 to {most} characters"
        raise SchemaError(field, f"{expected}, got {len(value)}", expected)
    return value


def _mapping(record: Mapping[str, Any], field: str, path: str = "") -> Mapping[str, Any]:
    value = record.get(field)
    if value is None:
        return {}
    if isinstance(value, list) and all(isinstance(p, tuple) and len(p) == 2 for p in value):  # Parquet's map type
        value = dict(value)
    if not isinstance(value, Mapping):
        raise SchemaError(path + field, f"expected an object, got {type(value).__name__}")
    return value


def _one_of(kind: type[StrEnum], value: Any, field: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        expected = f"none of {', '.join(kind)}"
        raise SchemaError(field, f"{str(value)[:40]!r} is {expected}", expected) from None


def _number(value: Any, field: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SchemaError(field, "expected a finite number")
    if not low <= value <= high:
        outside = f"lies outside {low:g} to {high:g}"
        raise SchemaError(field, f"{value} {outside}", outside)
    return float(value)


def _flag(record: Mapping[str, Any], field: str, path: str) -> bool:
    value = record.get(field)
    if value is not None and not isinstance(value, bool):
        raise SchemaError(path + field, f"expected true or false, got {type(value).__name__}")
    return bool(value)


def _slot_value(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def parse_request(record: Mapping[str, Any]) -> Request:
    """The request part of a record; what a line of a requests file holds. Raises `SchemaError`."""
    if not isinstance(record, Mapping):
        raise SchemaError("(line)", f"expected an object, got {type(record).__name__}")
    stamp = record.get("timestamp_ms")
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        raise SchemaError("timestamp_ms", "expected whole milliseconds since 1970")
    if not 0 < stamp < MAX_TIMESTAMP_MS:
        outside = "lies outside 1970 to 2100"
        raise SchemaError("timestamp_ms", f"{stamp} {outside}", outside)
    alternatives = record.get("alternatives") or ()
    if not isinstance(alternatives, list | tuple) or not all(isinstance(a, str) for a in alternatives):
        raise SchemaError("alternatives", "expected a list of strings")
    context = _mapping(record, "context")
    location = _mapping(context, "location", "context.")
    return Request(
        interaction_id=_identifier(record, "interaction_id"),
        user_id=_identifier(record, "user_id", MAX_USER_ID_CHARS),
        timestamp_ms=stamp,
        query=_text(record, "query", required=True),
        channel=_one_of(Channel, record.get("channel") or "voice", "channel"),
        alternatives=tuple(alternatives),
        asr_confidence=_number(record.get("asr_confidence"), "asr_confidence", 0, 1),
        context=Context(
            device_id=_text(context, "device_id", path="context."),
            device_type=_text(context, "device_type", path="context."),
            has_screen=_flag(context, "has_screen", "context."),
            room=_text(context, "room", path="context."),
            device_state={
                str(k): _slot_value(v)
                for k, v in _mapping(context, "device_state", "context.").items()
                if v is not None
            },
            locale=_text(context, "locale", path="context."),
            city=_text(location, "city", path="context.location."),
            state=_text(location, "state", path="context.location."),
        ),
    )


def parse_interaction(record: Mapping[str, Any]) -> Interaction:
    """A whole turn of the log, with the text that the assistant was asked: the rewrite where one was served, since what
    came of the turn is evidence on that and not on the words that were heard. Raises `SchemaError` naming the field."""
    turn, rewritten = parse_as_heard(record), _text(record, "rewritten_query")
    if not rewritten:
        return turn
    return replace(turn, request=replace(turn.request, query=rewritten), heard=turn.request.query)


def parse_as_heard(record: Mapping[str, Any]) -> Interaction:
    """The same with the words that were heard, whatever the assistant was asked: for judging what the user did next."""
    request = parse_request(record)
    interpretation = None
    if record.get("interpretation") is not None:
        made = _mapping(record, "interpretation")
        slots = _mapping(made, "slots", "interpretation.")
        interpretation = Interpretation(
            _text(made, "intent", required=True, path="interpretation."),
            tuple(sorted((str(k), _slot_value(v)) for k, v in slots.items() if v is not None)),
        )
    feedback = _mapping(record, "feedback")
    explicit = feedback.get("explicit")
    return Interaction(
        request=request,
        interpretation=interpretation,
        outcome=_one_of(Outcome, record.get("outcome"), "outcome"),
        feedback=Feedback(
            barge_in=_flag(feedback, "barge_in", "feedback."),
            explicit=None if explicit is None else _one_of(Explicit, explicit, "feedback.explicit"),
            dwell_s=_number(feedback.get("dwell_s"), "feedback.dwell_s", 0, 1e9),
        ),
    )


_CHANNELS = {channel.value: channel for channel in Channel}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_EXPLICITS = {None: None} | {explicit.value: explicit for explicit in Explicit}


def from_record(record: Mapping[str, Any]) -> Interaction:
    """The turn of a record that `to_record` has made: as `parse_interaction`, but nothing is checked, which costs a
    third of the time. Raises KeyError or TypeError where it is another's."""
    context, made, feedback = record["context"], record["interpretation"], record["feedback"]
    location = context["location"]
    rewritten = record.get("rewritten_query")
    return Interaction(
        Request(
            record["interaction_id"],
            record["user_id"],
            record["timestamp_ms"],
            record["query"] if rewritten is None else rewritten,
            _CHANNELS[record["channel"]],
            tuple(record["alternatives"]),
            record["asr_confidence"],
            Context(
                context["device_id"],
                context["device_type"],
                context["has_screen"],
                context["room"],
                context["device_state"],
                context["locale"],
                location["city"],
                location["state"],
            ),
        ),
        None if made is None else Interpretation(made["intent"], tuple(sorted(made["slots"].items()))),
        _OUTCOMES[record["outcome"]],
        Feedback(feedback["barge_in"], _EXPLICITS[feedback["explicit"]], feedback["dwell_s"]),
        None if rewritten is None else record["query"],
    )


def to_record(turn: Interaction) -> dict[str, Any]:
    """The inverse of `parse_interaction`: a record of the documented schema."""
    r, c, f = turn.request, turn.request.context, turn.feedback
    rewritten = {} if turn.heard is None else {"rewritten_query": r.query}
    return rewritten | {
        "interaction_id": r.interaction_id,
        "user_id": r.user_id,
        "timestamp_ms": r.timestamp_ms,
        "channel": r.channel.value,
        "query": r.query if turn.heard is None else turn.heard,
        "alternatives": list(r.alternatives),
        "asr_confidence": r.asr_confidence,
        "context": {
            "device_id": c.device_id,
            "device_type": c.device_type,
            "has_screen": c.has_screen,
            "room": c.room,
            "device_state": dict(c.device_state),
            "locale": c.locale,
            "location": {"city": c.city, "state": c.state},
        },
        "interpretation": turn.interpretation
        and {"intent": turn.interpretation.intent, "slots": dict(turn.interpretation.slots)},
        "outcome": turn.outcome.value,
        "feedback": {
            "barge_in": f.barge_in,
            "explicit": f.explicit.value if f.explicit else None,
            "dwell_s": f.dwell_s,
        },
    }
