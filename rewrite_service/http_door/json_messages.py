"""JSON to messages and back, by the proto3 JSON mapping (protobuf.dev/programming-guides/json).

Protobuf's own `json_format` maps likewise (a test compares), but its errors quote what was sent, which may be a user's
words, and do not say where; and it takes several times as long, on the thread that serves everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rewrite_service.errors import InvalidRequest

M = TypeVar("M", bound=Message)

MOST_ENTRIES = 1000
"""Of any list or map; the contract's bounds are no higher. Checked before time is spent on them."""

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_AS_TEXT = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)
"""Written as strings, since readers in JavaScript have no such integers."""
_NOT_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Read = Callable[[Any, str], Any]
"""A JSON value, and where it stands, to what a field is set to. Raises `InvalidRequest`."""


def read_message(kind: type[M], raw: bytes) -> M:
    """The message that the JSON document `raw` says. Fields in camelCase or as in the contract; null: left out. Raises
    `InvalidRequest`, which names the field and quotes nothing."""
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("(message)", "not readable", "send one JSON object, in UTF-8") from None
    message = kind()
    _fill(message, tree, "")
    return message


def write_message(message: Message) -> bytes:
    """The JSON of a message: all fields, those with their default too, but for what is left out on purpose."""
    return orjson.dumps(_tree(message))


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    json_name: str
    oneof: str | None
    read: Read
    kind: str  # scalar, message, list, messages, map


@lru_cache(maxsize=256)
def _fields(kind: Any) -> dict[str, _Field]:
    """The fields of a message, by both of their names. (Descriptors have two types, and stubs for one of them.)"""
    out = {}
    for field in kind.fields:
        oneof = field.containing_oneof
        real = oneof.name if oneof is not None and not oneof.name.startswith("_") else None
        made = _Field(field.name, field.json_name, real, _reader(field), _kind(field))
        out[field.name] = out[field.json_name] = made
    return out


def _kind(field: Any) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return "map"
    if field.is_repeated:
        return "list" if field.message_type is None else "messages"
    return "scalar" if field.message_type is None else "message"


def _fill(message: Message, tree: Any, at: str) -> None:
    if type(tree) is not dict:
        raise _wrong(at.rstrip(".") or "(message)", tree, "an object")
    fields = _fields(message.DESCRIPTOR)
    given: set[str] = set()
    for key, value in tree.items():
        field = fields.get(key)
        if field is None:
            known = ", ".join(dict.fromkeys(f.name for f in fields.values()))
            where = at.rstrip(".") or "(message)"
            raise InvalidRequest(where, "a field that it does not have", f"send some of {known}")
        if value is None:
            continue
        where = at + field.name
        for name in {field.name, field.oneof or field.name}:
            if name in given:
                raise InvalidRequest(where, "given twice, or beside what excludes it", "send it once")
            given.add(name)
        if field.kind == "scalar":
            setattr(message, field.name, field.read(value, where))
        elif field.kind == "message":
            part = getattr(message, field.name)
            part.SetInParent()
            _fill(part, value, where + ".")
        elif field.kind == "map":
            if type(value) is not dict:
                raise _wrong(where, value, "an object")
            _bounded(value, where)
            getattr(message, field.name).update({k: field.read(v, where) for k, v in value.items()})
        else:
            if type(value) is not list:
                raise _wrong(where, value, "a list")
            _bounded(value, where)
            if field.kind == "list":
                getattr(message, field.name).extend([field.read(v, where) for v in value])
            else:
                parts = getattr(message, field.name)
                for number, part in enumerate(value):
                    _fill(parts.add(), part, f"{where}[{number}].")


def _bounded(entries: Any, at: str) -> None:
    if len(entries) > MOST_ENTRIES:
        raise InvalidRequest(at, f"{len(entries)} entries", f"send at most {MOST_ENTRIES}")


def _reader(field: Any) -> Read:
    if field.message_type is not None:
        entry = field.message_type
        return _reader(entry.fields_by_name["value"]) if entry.GetOptions().map_entry else _no_reader
    if field.type == FieldDescriptor.TYPE_STRING:
        return _string
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _bool
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _double
    if field.type == FieldDescriptor.TYPE_ENUM:
        numbers = {value.name: value.number for value in field.enum_type.values}
        return lambda value, at: _member(numbers, value, at)
    if field.type in _INTEGERS:
        low, high = _INTEGERS[field.type]
        return lambda value, at: _integer(value, at, low, high)
    raise TypeError(f"{field.full_name}: no JSON is made of its type")


def _no_reader(value: Any, at: str) -> Any:
    raise AssertionError("messages are filled, not read")


def _string(value: Any, at: str) -> str:
    if type(value) is not str:
        raise _wrong(at, value, "a string")
    return value


def _bool(value: Any, at: str) -> bool:
    if type(value) is not bool:
        raise _wrong(at, value, "true or false")
    return value


def _double(value: Any, at: str) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    if type(value) is str:
        if value in _NOT_NUMBERS:
            return _NOT_NUMBERS[value]
        with_digits = value.isascii() and value == value.strip() and "_" not in value and value[-1:].isdigit()
        try:
            if with_digits:
                return float(value)
        except ValueError:
            pass
    raise _wrong(at, value, "a number")


def _integer(value: Any, at: str, low: int, high: int) -> int:
    number: int | None = None
    as_text = type(value) is str and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdecimal()
    if type(value) is int or as_text or (type(value) is float and value.is_integer()):
        number = int(value)
    if number is None:
        raise _wrong(at, value, "a whole number")
    if not low <= number <= high:
        raise InvalidRequest(at, f"{number} lies outside {low} to {high}", "send one within")
    return number


def _member(numbers: dict[str, int], value: Any, at: str) -> int:
    if type(value) is int and -(2**31) <= value < 2**31:
        return value  # one that is unknown is refused where it is read, as over gRPC
    if type(value) is str and value in numbers:
        return numbers[value]
    raise _wrong(at, value, f"one of {', '.join(numbers)}")


def _wrong(at: str, value: Any, wanted: str) -> InvalidRequest:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return InvalidRequest(at, f"is {kinds.get(type(value), 'a number')}", f"send {wanted}")


def _tree(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {}
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        value = getattr(message, field.name)
        kind = _fields(message.DESCRIPTOR)[field.name].kind
        if kind == "scalar":
            if not field.has_presence or message.HasField(field.name):
                out[field.json_name] = _written(field, value)
        elif kind == "message":
            if message.HasField(field.name):
                out[field.json_name] = _tree(value)
        elif kind == "map":
            entry = field.message_type.fields_by_name["value"]
            out[field.json_name] = {key: _written(entry, value[key]) for key in value}
        elif kind == "list":
            out[field.json_name] = [_written(field, v) for v in value]
        else:
            out[field.json_name] = [_tree(part) for part in value]
    return out


def _written(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        member = field.enum_type.values_by_number.get(value)
        return value if member is None else member.name
    if field.type in _AS_TEXT:
        return str(value)
    if field.type == FieldDescriptor.TYPE_DOUBLE and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
