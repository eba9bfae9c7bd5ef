"""Value objects to protobuf messages, for whoever calls the service. Pure, and light: no library but protobuf."""

from __future__ import annotations

from retriever.interaction import Feedback, Interaction, Request, TurnFeedback
from retriever.preference import Preference
from rewrite_service.pb import rewrite_pb2 as pb


def from_request(request: Request) -> pb.RewriteRequest:
    """The message of a request; the inverse of `rewrite_service.converters.to_request`."""
    message = pb.RewriteRequest()
    _fill_request(message, request)
    return message


def from_interaction(turn: Interaction) -> pb.Interaction:
    """The message of a turn; the inverse of `to_interaction`."""
    message = pb.Interaction(outcome=getattr(pb, f"OUTCOME_{turn.outcome.name}"))
    _fill_request(message, turn.request)
    if turn.interpretation is not None:
        message.interpretation.intent = turn.interpretation.intent
        message.interpretation.slots.update(turn.interpretation.slots)
    message.feedback.CopyFrom(_from_feedback(turn.feedback))
    return message


def from_turn_feedback(late: TurnFeedback) -> pb.FeedbackEvent:
    """The message of late feedback; the inverse of `to_turn_feedback`."""
    return pb.FeedbackEvent(
        user_id=late.user_id,
        interaction_id=late.interaction_id,
        feedback=_from_feedback(late.feedback),
        rewritten_query=late.rewritten_query,
    )


def to_preference(message: pb.Preference) -> Preference:
    """The preference of a reply."""
    return Preference(
        preference_id=message.id,
        kind=word_of(pb.PreferenceKind, "PREFERENCE_KIND", message.kind),
        subject=message.subject,
        value=message.value,
        text=message.text,
        taught_ms=message.taught_ms,
    )


def word_of(enum: object, prefix: str, number: int) -> str:
    """A value of an enumeration as a word: `confident` for REASON_CONFIDENT. Of a value that only a newer server knows,
    its number."""
    try:
        name: str = enum.Name(number)  # type: ignore[attr-defined]
    except ValueError:
        return f"unknown_{number}"
    return name.removeprefix(f"{prefix}_").lower()


def _fill_request(message: pb.RewriteRequest | pb.Interaction, request: Request) -> None:
    message.interaction_id = request.interaction_id
    message.user_id = request.user_id
    message.timestamp_ms = request.timestamp_ms
    message.channel = getattr(pb, f"CHANNEL_{request.channel.name}")
    message.query = request.query
    message.alternatives.extend(request.alternatives)
    if request.asr_confidence is not None:
        message.asr_confidence = request.asr_confidence
    context = request.context
    message.context.device_id = context.device_id
    message.context.device_type = context.device_type
    message.context.has_screen = context.has_screen
    message.context.room = context.room
    message.context.device_state.update(context.device_state)
    message.context.locale = context.locale
    if context.city or context.state:
        message.context.location.city = context.city
        message.context.location.state = context.state


def _from_feedback(feedback: Feedback) -> pb.Feedback:
    explicit: pb.Explicit = pb.EXPLICIT_UNSPECIFIED
    if feedback.explicit is not None:
        explicit = getattr(pb, f"EXPLICIT_{feedback.explicit.name}")
    return pb.Feedback(barge_in=feedback.barge_in, explicit=explicit, dwell_s=feedback.dwell_s)
