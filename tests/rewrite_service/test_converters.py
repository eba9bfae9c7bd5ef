"""Messages to value objects and back; what is refused, and how it is said."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conftest import NOON, a_request, a_turn
from hypothesis import given
from hypothesis import strategies as st
from strategies import SENDABLE, feedbacks, ids, interactions, requests, users

from mining import schema
from retriever.interaction import Channel, Context, Feedback, Interaction, Request
from rewrite_service import converters
from rewrite_service.client import messages
from rewrite_service.decision import Contribution, Decision, Layer, Reason, ScoredCandidate
from rewrite_service.errors import InvalidRequest
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.store import TurnFeedback

SECRET = "zanzibar"


@given(requests(SENDABLE))
def test_request_survives_the_wire(request: Request) -> None:
    wire = messages.from_request(request).SerializeToString()
    assert converters.to_request(pb.RewriteRequest.FromString(wire)) == request


@given(interactions(SENDABLE))
def test_turn_survives_the_wire(turn: Interaction) -> None:
    wire = messages.from_interaction(turn).SerializeToString()
    assert converters.to_interaction(pb.Interaction.FromString(wire)) == turn


@given(st.builds(TurnFeedback, users, ids, feedbacks, st.none() | SENDABLE))
def test_late_feedback_survives_the_wire(late: TurnFeedback) -> None:
    wire = messages.from_turn_feedback(late).SerializeToString()
    assert converters.to_turn_feedback(pb.FeedbackEvent.FromString(wire)) == late


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("layer", [None, *Layer])
def test_decision_survives_the_wire(reason: Reason, layer: Layer | None) -> None:
    text = "watch go" if reason is Reason.CONFIDENT else None
    decision = Decision(text, reason, 0.75, -0.5, layer, "v7", {"encode": 700}, ("cross_encoder",))
    message = converters.from_decision(decision)
    assert message.decision == (pb.DECISION_REWRITE if text else pb.DECISION_PASS)
    assert converters.to_decision(message) == decision


def test_explanation_carries_candidates_in_order() -> None:
    found = (
        ScoredCandidate("watch go", Layer.PERSONAL, ("dense", "habit"), 0.9, (Contribution("recency_days", 2.0, 1.5),)),
        ScoredCandidate("play ago", None, (), 0.1),
    )
    message = converters.from_explained(Decision("watch go", Reason.CONFIDENT, candidates=found))
    assert [candidate.text for candidate in message.candidates] == ["watch go", "play ago"]
    assert message.candidates[0].sources == ["dense", "habit"]
    assert message.candidates[0].features[0] == pb.FeatureContribution(
        name="recency_days", value=2.0, contribution=1.5
    )
    assert message.candidates[1].layer == pb.LAYER_UNSPECIFIED


def test_what_is_left_out_has_its_documented_meaning() -> None:
    request = converters.to_request(a_request())
    assert request.channel is Channel.VOICE
    assert request.asr_confidence is None
    assert request.context == Context()
    turn = converters.to_interaction(
        pb.Interaction(interaction_id="i", user_id="u", timestamp_ms=NOON, outcome=pb.OUTCOME_OK)
    )
    assert turn.interpretation is None
    assert turn.feedback == Feedback()


@pytest.mark.parametrize("query", ["", "   ", "\x00\x07\n", r"\ud800 play", "日本語", "x" * 1000, "🎵" * 1000])
def test_odd_queries_are_taken_as_they_are(query: str) -> None:
    assert converters.to_request(a_request(query=query)).query == query


@pytest.mark.parametrize("stamp", [1, NOON, 4_102_444_799_999])
def test_timestamps_within_bounds(stamp: int) -> None:
    assert converters.to_request(a_request(timestamp_ms=stamp)).timestamp_ms == stamp


BAD_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("user_id", {"user_id": ""}),
    ("user_id", {"user_id": " \t"}),
    ("user_id", {"user_id": SECRET * 20}),
    ("interaction_id", {"interaction_id": ""}),
    ("interaction_id", {"interaction_id": SECRET * 20}),
    ("timestamp_ms", {"timestamp_ms": 0}),
    ("timestamp_ms", {"timestamp_ms": -1}),
    ("timestamp_ms", {"timestamp_ms": NOON * 1000}),
    ("query", {"query": SECRET * 126}),
    ("query", {"query": SECRET * 12_800}),
    ("channel", {"channel": 99}),
    ("channel", {"channel": -1}),
    ("alternatives", {"alternatives": [SECRET] * 21}),
    ("alternatives", {"alternatives": [SECRET * 126]}),
    ("asr_confidence", {"asr_confidence": -0.01}),
    ("asr_confidence", {"asr_confidence": 1.01}),
    ("asr_confidence", {"asr_confidence": math.nan}),
    ("asr_confidence", {"asr_confidence": math.inf}),
    ("context.room", {"context": pb.Context(room=SECRET * 40)}),
    ("context.location.city", {"context": pb.Context(location=pb.Location(city=SECRET * 40))}),
    ("context.device_state", {"context": pb.Context(device_state={f"{SECRET}{i}": "on" for i in range(65)})}),
    ("context.device_state", {"context": pb.Context(device_state={SECRET * 126: "on"})}),
    ("context.device_state", {"context": pb.Context(device_state={"lamp": SECRET * 126})}),
]


@pytest.mark.parametrize(("field", "fields"), BAD_REQUESTS)
def test_bad_request_names_the_field_and_quotes_no_text(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converters.to_request(a_request(**fields))
    assert raised.value.field == field
    assert str(raised.value).startswith(f"{field}: ")
    assert SECRET not in str(raised.value)


BAD_TURNS: list[tuple[str, dict[str, Any]]] = [
    *BAD_REQUESTS,
    ("outcome", {"outcome": pb.OUTCOME_UNSPECIFIED}),
    ("outcome", {"outcome": 4}),
    ("interpretation.intent", {"interpretation": pb.Interpretation()}),
    ("interpretation.intent", {"interpretation": pb.Interpretation(intent=SECRET * 40)}),
    (
        "interpretation.slots",
        {"interpretation": pb.Interpretation(intent="x", slots={f"{SECRET}{i}": "" for i in range(65)})},
    ),
    ("feedback.explicit", {"feedback": pb.Feedback(explicit=7)}),
    ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=-1)}),
    ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=math.nan)}),
    ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=math.inf)}),
    ("feedback.dwell_s", {"feedback": pb.Feedback(dwell_s=1e10)}),
]


@pytest.mark.parametrize(("field", "fields"), BAD_TURNS)
def test_bad_turn_is_named_with_its_place(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converters.to_record(pb.RecordRequest(interactions=[a_turn(), a_turn(**fields)]))
    assert raised.value.field == f"interactions[1].{field}"
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "event"),
    [
        ("feedback[0].feedback", pb.FeedbackEvent(user_id="u", interaction_id="i")),
        ("feedback[0].user_id", pb.FeedbackEvent(interaction_id="i", feedback=pb.Feedback())),
        ("feedback[0].interaction_id", pb.FeedbackEvent(user_id="u", feedback=pb.Feedback())),
        (
            "feedback[0].rewritten_query",
            pb.FeedbackEvent(user_id="u", interaction_id="i", feedback=pb.Feedback(), rewritten_query=SECRET * 126),
        ),
    ],
)
def test_bad_late_feedback_is_named_with_its_place(field: str, event: pb.FeedbackEvent) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converters.to_record(pb.RecordRequest(feedback=[event]))
    assert raised.value.field == field
    assert SECRET not in str(raised.value)


def test_too_many_turns_in_one_message() -> None:
    assert len(converters.to_record(pb.RecordRequest(interactions=[a_turn()] * 1000))[0]) == 1000
    with pytest.raises(InvalidRequest) as raised:
        converters.to_record(pb.RecordRequest(interactions=[a_turn()] * 1001))
    assert raised.value.field == "interactions"


def test_a_server_may_take_shorter_queries() -> None:
    with pytest.raises(InvalidRequest):
        converters.to_request(a_request(query="x" * 11), converters.Limits(query_chars=10))


def test_limits_are_those_of_the_log() -> None:
    assert converters.MAX_ID_CHARS == schema.MAX_ID_CHARS
    assert converters.MAX_TIMESTAMP_MS == schema.MAX_TIMESTAMP_MS
