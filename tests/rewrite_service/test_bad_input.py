"""Bad input over a real socket: each is answered as the contract says, and the server lives on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import grpc
import pytest
from conftest import RunningServer, a_request, a_turn

from rewrite_service.pb import rewrite_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
def lives_on(server: RunningServer) -> Iterator[None]:
    yield
    assert server.stub.Rewrite(a_request(), timeout=60).decision


def refusal(server: RunningServer, method: str, message: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(server.stub, method)(message, timeout=60)
    return raised.value.code(), raised.value.details()


@pytest.mark.parametrize("query", ["", "   ", "\t\n", "\x00", "\x00\x1b\x7f", "\u200b", "?!"])
def test_nothing_spelled_is_a_pass(server: RunningServer, query: str) -> None:
    reply = server.stub.Rewrite(a_request(query=query), timeout=60)
    assert (reply.decision, reply.reason) == (pb.DECISION_PASS, pb.REASON_EMPTY_QUERY)
    assert reply.text == ""


@pytest.mark.parametrize("query", ["x" * 1001, "x" * 100_000, "🎵" * 25_000])
def test_too_long_a_query(server: RunningServer, query: str) -> None:
    code, details = refusal(server, "Rewrite", a_request(query=query))
    assert code is INVALID
    assert details.startswith("query: ")
    assert len(details) < 200


@pytest.mark.parametrize(
    "query",
    [
        "play\x00jazz",
        "play \x1b[31mjazz\x07",
        "play\r\njazz",
        r"play \ud800 jazz",  # six plain characters that look like the escape of a lone surrogate
        "x" * 1000,
        "日本語の歌を再生して",
        "e\u0301" * 200,
        "\u202eplay jazz",
    ],
)
def test_odd_but_allowed(server: RunningServer, query: str) -> None:
    assert server.stub.Rewrite(a_request(query=query), timeout=60).decision
    turn = a_turn(user_id="odd", query=query)
    assert server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60).new_interactions == 1


def test_an_odd_past_harms_no_later_request(server: RunningServer) -> None:
    server.stub.Record(
        pb.RecordRequest(interactions=[a_turn(user_id="odd", query=query) for query in ("", "\x00", r"\udfff", "?")]),
        timeout=60,
    )
    reply = server.stub.Rewrite(a_request(user_id="odd"), timeout=60)
    assert reply.reason not in (pb.REASON_UNSPECIFIED, pb.REASON_INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("user_id", {"user_id": ""}),
        ("user_id", {"user_id": "u" * 129}),
        ("interaction_id", {"interaction_id": ""}),
        ("timestamp_ms", {"timestamp_ms": -1}),
        ("timestamp_ms", {"timestamp_ms": 0}),
        ("timestamp_ms", {"timestamp_ms": 2**63 - 1}),
        ("channel", {"channel": 99}),
        ("asr_confidence", {"asr_confidence": math.nan}),
        ("asr_confidence", {"asr_confidence": 2}),
        ("alternatives", {"alternatives": ["x"] * 21}),
        ("context.device_state", {"context": pb.Context(device_state={str(n): "on" for n in range(65)})}),
    ],
)
def test_bad_fields_are_named(server: RunningServer, field: str, fields: dict) -> None:
    code, details = refusal(server, "Rewrite", a_request(**fields))
    assert code is INVALID
    assert details.startswith(f"{field}: ")
    code, details = refusal(server, "Explain", pb.ExplainRequest(request=a_request(**fields)))
    assert code is INVALID
    assert details.startswith(f"request.{field}: ")
    code, details = refusal(server, "Record", pb.RecordRequest(interactions=[a_turn(**fields)]))
    assert code is INVALID
    assert details.startswith(f"interactions[0].{field}: ")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("outcome", {"outcome": pb.OUTCOME_UNSPECIFIED}),
        ("outcome", {"outcome": 77}),
        ("feedback.explicit", {"feedback": pb.Feedback(explicit=9)}),
        ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=-0.5)}),
        ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=math.inf)}),
    ],
)
def test_bad_turns_are_named_and_nothing_of_their_message_is_taken(
    server: RunningServer, field: str, fields: dict
) -> None:
    good = a_turn(user_id="gil")
    code, details = refusal(server, "Record", pb.RecordRequest(interactions=[good, a_turn(**fields)]))
    assert code is INVALID
    assert details.startswith(f"interactions[1].{field}: ")
    assert server.stub.Record(pb.RecordRequest(interactions=[good]), timeout=60).new_interactions == 1


def test_explaining_nothing(server: RunningServer) -> None:
    code, details = refusal(server, "Explain", pb.ExplainRequest())
    assert code is INVALID
    assert details.startswith("request: ")


def test_too_many_turns(server: RunningServer) -> None:
    code, details = refusal(server, "Record", pb.RecordRequest(interactions=[a_turn()] * 1001))
    assert code is INVALID
    assert details.startswith("interactions: ")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x2a\x02\xff\xfe",  # query: bytes that are no UTF-8
        b"\x2a\x03\xed\xa0\x80",  # query: a lone surrogate, as some encoders write it
        b"\x2a\x7fcut off",
        b"\xff\xff\xff\xff",
        b"\x00",
    ],
)
@pytest.mark.parametrize("method", ["Rewrite", "Record", "Explain"])
def test_bytes_that_are_no_message(server: RunningServer, method: str, raw: bytes) -> None:
    if method != "Rewrite":  # there the request, or the turn, is field 1 of the message
        raw = b"\x0a" + bytes([len(raw)]) + raw
    call = server.channel.unary_unary(f"/rewrite.v1.RewriteService/{method}")
    with pytest.raises(grpc.RpcError) as raised:
        call(raw, timeout=60)
    assert raised.value.code() is INVALID


def test_fields_from_the_future_are_ignored(server: RunningServer) -> None:
    raw = a_request().SerializeToString() + b"\xf8\x07\x01"  # field 127, a number
    call = server.channel.unary_unary("/rewrite.v1.RewriteService/Rewrite")
    assert pb.RewriteResponse.FromString(call(raw, timeout=60)).decision


def test_too_large_a_message(server: RunningServer) -> None:
    code, _ = refusal(server, "Rewrite", a_request(query="x" * (2 * 1024 * 1024)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_method_that_is_not_there(server: RunningServer) -> None:
    call = server.channel.unary_unary("/rewrite.v1.RewriteService/Guess")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=60)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_no_text_of_anybody_is_in_the_log(server: RunningServer) -> None:
    texts = {"hank": "play marmalade sky", "iris": "call doctor pumpernickel"}
    for user, text in texts.items():
        server.stub.Rewrite(a_request(user_id=f"{user}@home", query=text, interaction_id=f"{user}-turn"), timeout=60)
        turn = a_turn(user_id=f"{user}@home", query=text, interaction_id=f"{user}-turn")
        server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60)
        server.stub.Explain(pb.ExplainRequest(request=a_request(user_id=f"{user}@home", query=text)), timeout=60)
        for bad in ({"channel": 99}, {"timestamp_ms": -1}, {"alternatives": [text] * 21}, {"query": text * 100}):
            refusal(server, "Rewrite", a_request(**({"user_id": f"{user}@home", "query": text} | bad)))
    log = server.log_file.read_text()
    assert '"rewrite"' in log
    for word in ("marmalade", "pumpernickel", "hank", "iris", "jazz", "\x1b", "\\u001b"):
        assert word not in log
