"""Protobuf messages to value objects and back, at the edge of the service; pure functions.

What comes in is checked here and nowhere else: each `to_...` raises `InvalidRequest` naming the field, with a message
that quotes lengths and numbers but never a text, as it may end up in somebody's log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

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
from retriever.preferences import PreferenceKind
from rewrite_service.access.tenants import outer_id
from rewrite_service.decision import Decision, Layer, Reason, ScoredCandidate, Suggestion
from rewrite_service.errors import InvalidRequest
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.store.base import TurnFeedback

MAX_ID_CHARS = 128
MAX_TIMESTAMP_MS = 4_102_444_800_000  # the year 2100: a later one is microseconds by mistake
MAX_NAME_CHARS = 256  # rooms, devices, places, intents
MAX_ALTERNATIVES = 20
MAX_ENTRIES = 64  # of a map
MAX_ENTRY_CHARS = 1000  # of a map's key or value
MAX_DWELL_S = 1e9
MAX_TURNS_PER_RECORD = 1000
MAX_EARLIER_TURNS = 8
MAX_LEFT_OUT = 64
NOTHING_AT_HAND: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that a server may set. `query_chars`: of a query, an alternative or a rewrite, in code points."""

    query_chars: int = 1000


DEFAULT_LIMITS = Limits()

E = TypeVar("E", bound=StrEnum)
M = TypeVar("M")


def _by_number(enum: type[E], prefix: str) -> dict[int, E]:
    """The protobuf number of each member, found by name: `Channel.VOICE` is `CHANNEL_VOICE`."""
    return {getattr(pb, f"{prefix}_{member.name}"): member for member in enum}


_CHANNELS = {pb.CHANNEL_UNSPECIFIED: Channel.VOICE} | _by_number(Channel, "CHANNEL")
_OUTCOMES = _by_number(Outcome, "OUTCOME")
_EXPLICITS = {pb.EXPLICIT_UNSPECIFIED: None} | _by_number(Explicit, "EXPLICIT")
_LAYERS = {pb.LAYER_UNSPECIFIED: None} | _by_number(Layer, "LAYER")
_REASONS = _by_number(Reason, "REASON")
_KINDS = _by_number(PreferenceKind, "PREFERENCE_KIND")
_LAYER_NUMBERS: dict[Layer | None, Any] = {layer: number for number, layer in _LAYERS.items()}
_REASON_NUMBERS: dict[Reason, Any] = {reason: number for number, reason in _REASONS.items()}


def to_request(
    message: pb.RewriteRequest | pb.Interaction, limits: Limits = DEFAULT_LIMITS, at: str = ""
) -> Request:
    """The request of a message. `at`: where the message stands in a greater one, with its dot. Raises `InvalidRequest`.

    A blank query passes: it is for the pipeline to say that there is nothing to rewrite.
    """
    if len(message.alternatives) > MAX_ALTERNATIVES:
        raise _too_many(at + "alternatives", len(message.alternatives), MAX_ALTERNATIVES)
    return Request(
        interaction_id=_identifier(message.interaction_id, at + "interaction_id"),
        user_id=_user(message.user_id, at + "user_id"),
        timestamp_ms=_timestamp(message.timestamp_ms, at + "timestamp_ms"),
        query=_text(message.query, at + "query", limits.query_chars),
        channel=_member(_CHANNELS, message.channel, at + "channel", Channel),
        alternatives=tuple([_text(text, at + "alternatives", limits.query_chars) for text in message.alternatives]),
        asr_confidence=_number(message.asr_confidence, at + "asr_confidence", 1)
        if message.HasField("asr_confidence")
        else None,
        context=_context(message.context, at + "context.") if message.HasField("context") else Context(),
    )


def to_interaction(message: pb.Interaction, limits: Limits = DEFAULT_LIMITS, at: str = "") -> Interaction:
    """The turn of a message. Raises `InvalidRequest`."""
    interpretation = None
    if message.HasField("interpretation"):
        made = message.interpretation
        if not made.intent:
            raise InvalidRequest(
                at + "interpretation.intent", "missing", "leave the interpretation out where there was none"
            )
        interpretation = Interpretation(
            _text(made.intent, at + "interpretation.intent", MAX_NAME_CHARS),
            tuple(sorted(_entries(made.slots, at + "interpretation.slots").items())),
        )
    return Interaction(
        request=to_request(message, limits, at),
        interpretation=interpretation,
        outcome=_member(_OUTCOMES, message.outcome, at + "outcome", Outcome),
        feedback=_feedback(message.feedback, at + "feedback."),
    )


def to_turn_feedback(message: pb.FeedbackEvent, limits: Limits = DEFAULT_LIMITS, at: str = "") -> TurnFeedback:
    """The late feedback of a message. Raises `InvalidRequest`."""
    if not message.HasField("feedback"):
        raise InvalidRequest(at + "feedback", "missing", "say how the user reacted")
    rewritten = None
    if message.HasField("rewritten_query"):
        rewritten = _text(message.rewritten_query, at + "rewritten_query", limits.query_chars)
    return TurnFeedback(
        user_id=_user(message.user_id, at + "user_id"),
        interaction_id=_identifier(message.interaction_id, at + "interaction_id"),
        feedback=_feedback(message.feedback, at + "feedback."),
        rewritten_query=rewritten,
    )


def to_record(
    message: pb.RecordRequest, limits: Limits = DEFAULT_LIMITS
) -> tuple[list[Interaction], list[TurnFeedback]]:
    """The turns and the late feedback of a message; all are checked before any is returned. Raises `InvalidRequest`."""
    for field in ("interactions", "feedback"):
        if len(getattr(message, field)) > MAX_TURNS_PER_RECORD:
            raise _too_many(field, len(getattr(message, field)), MAX_TURNS_PER_RECORD)
    turns = [to_interaction(turn, limits, f"interactions[{i}].") for i, turn in enumerate(message.interactions)]
    late = [to_turn_feedback(event, limits, f"feedback[{i}].") for i, event in enumerate(message.feedback)]
    return turns, late


def from_decision(decision: Decision) -> pb.RewriteResponse:
    """The reply that carries a decision, without its candidates."""
    return pb.RewriteResponse(
        decision=pb.DECISION_REWRITE if decision.is_rewrite else pb.DECISION_PASS,
        text=decision.text or "",
        probability=decision.probability,
        margin=decision.margin,
        layer=_LAYER_NUMBERS[decision.layer],
        reason=_REASON_NUMBERS[decision.reason],
        bundle_version=decision.bundle_version,
        stage_us=decision.stage_us,
        skipped_stages=decision.skipped,
        preference_id=decision.preference_id,
        teach_suggestion=None
        if decision.suggestion is None
        else pb.TeachSuggestion(
            kind=getattr(pb, f"PREFERENCE_KIND_{decision.suggestion.kind.name}"), subject=decision.suggestion.subject
        ),
    )


def to_earlier(message: pb.ExplainRequest, limits: Limits = DEFAULT_LIMITS) -> list[Interaction]:
    """The turns to take for the user's latest. Raises `InvalidRequest`."""
    if len(message.earlier) > MAX_EARLIER_TURNS:
        raise _too_many("earlier", len(message.earlier), MAX_EARLIER_TURNS)
    turns = [to_interaction(turn, limits, f"earlier[{i}].") for i, turn in enumerate(message.earlier)]
    for i, turn in enumerate(turns):
        if turn.request.user_id != message.request.user_id:
            raise InvalidRequest(f"earlier[{i}].user_id", "another user's", "send turns of the user who asks")
    return turns


def from_explained(decision: Decision, at_hand: Mapping[str, bool] = NOTHING_AT_HAND) -> pb.ExplainResponse:
    """The reply that carries a decision with its candidates. `at_hand`: of caches, whether they had what it needs."""
    left_out = [candidate for candidate in decision.candidates if candidate.left_out]
    return pb.ExplainResponse(
        response=from_decision(decision),
        candidates=[_from_candidate(candidate) for candidate in decision.candidates if not candidate.left_out],
        left_out=[_from_candidate(candidate) for candidate in left_out[:MAX_LEFT_OUT]],
        caches=[pb.CacheLook(cache=name, hit=hit) for name, hit in at_hand.items()],
    )


def to_decision(message: pb.RewriteResponse) -> Decision:
    """The decision of a reply, for clients; the inverse of `from_decision`."""
    return Decision(
        text=message.text if message.decision == pb.DECISION_REWRITE else None,
        reason=_member(_REASONS, message.reason, "reason", Reason),
        probability=message.probability,
        margin=message.margin,
        layer=_member(_LAYERS, message.layer, "layer", Layer),
        bundle_version=message.bundle_version,
        stage_us=dict(message.stage_us),
        skipped=tuple(message.skipped_stages),
        preference_id=message.preference_id,
        suggestion=Suggestion(
            _member(_KINDS, message.teach_suggestion.kind, "teach_suggestion.kind", PreferenceKind),
            message.teach_suggestion.subject,
        )
        if message.HasField("teach_suggestion")
        else None,
    )


def _identifier(value: str, field: str) -> str:
    """An id that is not blank. Raises `InvalidRequest`, as do the two below."""
    if not value or value.isspace():
        raise InvalidRequest(field, "missing", f"send 1 to {MAX_ID_CHARS} characters")
    return _text(value, field, MAX_ID_CHARS)


def _user(value: str, field: str) -> str:
    """A user's inner id (`rewrite_service.access.tenants`); the bounds are on what the caller said of it."""
    _identifier(outer_id(value)[1], field)
    return value


def _text(value: str, field: str, most: int) -> str:
    if len(value) > most:
        raise InvalidRequest(field, f"{len(value)} characters", f"send at most {most}")
    return value


def _timestamp(value: int, field: str) -> int:
    if not 0 < value < MAX_TIMESTAMP_MS:
        raise InvalidRequest(
            field, f"{value} lies outside 1970 to 2100", "send milliseconds since 1970 UTC, above 0"
        )
    return value


def _number(value: float, field: str, most: float) -> float:
    """A finite number from 0 to `most`; the comparison is false for NaN as well."""
    if not 0 <= value <= most:
        shown = value if math.isfinite(value) else "not a finite number"
        raise InvalidRequest(field, f"{shown}", f"send 0 to {most:g}, or leave it out")
    return value


def _member(members: Mapping[int, M], number: int, field: str, enum: type[StrEnum]) -> M:
    try:
        return members[number]
    except KeyError:
        names = ", ".join(member.name for member in enum)
        raise InvalidRequest(field, f"{number} is no value it can have", f"send one of {names}") from None


def _too_many(field: str, count: int, most: int) -> InvalidRequest:
    return InvalidRequest(field, f"{count} entries", f"send at most {most}")


def _entries(values: Mapping[str, str], field: str) -> dict[str, str]:
    if len(values) > MAX_ENTRIES:
        raise _too_many(field, len(values), MAX_ENTRIES)
    # By key: protobuf's own `items` goes through Python, and takes several times as long.
    return {_text(key, field, MAX_ENTRY_CHARS): _text(values[key], field, MAX_ENTRY_CHARS) for key in values}


def _context(message: pb.Context, at: str) -> Context:
    return Context(
        device_id=_text(message.device_id, at + "device_id", MAX_NAME_CHARS),
        device_type=_text(message.device_type, at + "device_type", MAX_NAME_CHARS),
        has_screen=message.has_screen,
        room=_text(message.room, at + "room", MAX_NAME_CHARS),
        device_state=_entries(message.device_state, at + "device_state"),
        locale=_text(message.locale, at + "locale", MAX_NAME_CHARS),
        city=_text(message.location.city, at + "location.city", MAX_NAME_CHARS),
        state=_text(message.location.state, at + "location.state", MAX_NAME_CHARS),
    )


def _feedback(message: pb.Feedback, at: str) -> Feedback:
    return Feedback(
        barge_in=message.barge_in,
        explicit=_member(_EXPLICITS, message.explicit, at + "explicit", Explicit),
        dwell_s=_number(message.dwell_s, at + "dwell_s", MAX_DWELL_S) if message.HasField("dwell_s") else None,
    )


def _from_candidate(candidate: ScoredCandidate) -> pb.Candidate:
    return pb.Candidate(
        text=candidate.text,
        layer=_LAYER_NUMBERS[candidate.layer],
        sources=candidate.sources,
        probability=candidate.probability,
        harm=candidate.harm,
        retired=candidate.retired,
        features=[
            pb.FeatureContribution(name=part.name, value=part.value, contribution=part.contribution)
            for part in candidate.contributions
        ],
    )
