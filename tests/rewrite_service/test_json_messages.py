"""JSON and messages: as protobuf's own library maps them, with errors that name the field and quote nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from strategies import SENDABLE, interactions, requests

from retriever.interaction import Interaction, Request
from rewrite_service.client.messages import from_interaction, from_request
from rewrite_service.errors import InvalidRequest
from rewrite_service.http_door.json_messages import read_message, write_message
from rewrite_service.http_door.patience import patience_s
from rewrite_service.pb import rewrite_pb2 as pb

SECRET = "tangerine"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SENDABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SENDABLE, inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({f.name for f in pb.RewriteRequest.DESCRIPTOR.fields} | {"userId", "asrConfidence", "deviceState"})
documents = st.dictionaries(st.sampled_from(FIELDS), values | st.sampled_from(["0.5", "NaN", "7", "CHANNEL_APP", 2]))


@given(requests(SENDABLE), st.booleans())
def test_what_the_library_writes_is_read(request: Request, snake: bool) -> None:
    message = from_request(request)
    raw = json_format.MessageToJson(message, preserving_proto_field_name=snake).encode()
    assert read_message(pb.RewriteRequest, raw) == message


@given(st.lists(interactions(SENDABLE), max_size=3))
def test_what_is_written_the_library_reads(turns: list[Interaction]) -> None:
    message = pb.RecordRequest(interactions=map(from_interaction, turns))
    raw = write_message(message)
    assert json_format.Parse(raw, pb.RecordRequest()) == message == read_message(pb.RecordRequest, raw)
    assert json.loads(raw) == json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


@given(documents)
def test_whatever_comes_it_is_read_as_the_library_does_or_refused(document: dict[str, Any]) -> None:
    raw = json.dumps(document).encode()
    try:
        message = read_message(pb.RewriteRequest, raw)
    except InvalidRequest:
        return
    assert repr(message) == repr(json_format.Parse(raw, pb.RewriteRequest()))  # NaN is not itself


@given(st.binary(max_size=60))
def test_noise_is_refused(noise: bytes) -> None:
    try:
        read_message(pb.RewriteRequest, noise)
    except InvalidRequest as error:
        assert error.field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([SECRET], "(message)"),
        (SECRET, "(message)"),
        ({SECRET: 1}, "(message)"),
        ({"query": [SECRET]}, "query"),
        ({"userId": "a", "user_id": "b"}, "user_id"),
        ({"timestampMs": SECRET}, "timestamp_ms"),
        ({"timestampMs": "9" * 20}, "timestamp_ms"),
        ({"timestampMs": 1.5}, "timestamp_ms"),
        ({"timestampMs": True}, "timestamp_ms"),
        ({"asrConfidence": SECRET}, "asr_confidence"),
        ({"channel": SECRET}, "channel"),
        ({"alternatives": SECRET}, "alternatives"),
        ({"alternatives": [None]}, "alternatives"),
        ({"alternatives": ["a"] * 1001}, "alternatives"),
        ({"context": []}, "context"),
        ({"context": {"hasScreen": "yes"}}, "context.has_screen"),
        ({"context": {"location": {"town": SECRET}}}, "context.location"),
        ({"context": {"deviceState": {SECRET: 1}}}, "context.device_state"),
        ({"context": {"deviceState": {str(n): "" for n in range(1001)}}}, "context.device_state"),
    ],
)
def test_an_error_names_the_field_and_quotes_nothing(document: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_message(pb.RewriteRequest, json.dumps(document).encode())
    assert raised.value.field == field and SECRET not in str(raised.value) and "; send" in str(raised.value)


def test_a_field_deep_inside_is_named_with_its_place() -> None:
    with pytest.raises(InvalidRequest, match=r"^interactions\[1\]\.feedback\.dwell_s: is a string; send a number$"):
        read_message(pb.RecordRequest, b'{"interactions":[{},{"feedback":{"dwellS":"long"}}]}')
    with pytest.raises(InvalidRequest, match="excludes"):
        read_message(pb.TeachRequest, b'{"text":"a","preference":{}}')
    with pytest.raises(InvalidRequest, match="not readable"):
        read_message(pb.RewriteRequest, b"[" * 500_000)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-timeout-ms": "25"}, 0.025),
        ({"x-timeout-ms": "0.5"}, 0.0005),
        ({"x-timeout-ms": "99999999"}, 3600),
        ({"grpc-timeout": "25m"}, 0.025),
        ({"grpc-timeout": "2S"}, 2),
    ],
)
def test_patience(headers: dict[str, str], seconds: float | None) -> None:
    assert patience_s(headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "headers",
    [
        {"x-timeout-ms": text} for text in ("", "0", "-1", "1e3", "nan", "1_0", "٣", SECRET)
    ] + [{"grpc-timeout": text} for text in ("25", "0m", "123456789m", "2.5m", SECRET)],
)
def test_patience_that_is_none(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        patience_s(headers)
    assert SECRET not in str(raised.value)
