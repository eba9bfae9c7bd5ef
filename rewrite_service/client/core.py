"""What both clients do alike, between the wire and the values; it calls nobody itself."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from retriever.interaction import Channel, Context, Interaction, Request
from rewrite_service.client.breaker import Breaker
from rewrite_service.client.messages import from_interaction, from_turn_feedback, to_preference, word_of
from rewrite_service.client.options import SERVICE
from rewrite_service.client.values import Answer, ClientError, ForgottenUser, Item, Suggestion, Taught
from rewrite_service.pb import rewrite_pb2 as pb

CIRCUIT_OPEN = "circuit_open"
CLIENT_ERROR = "client_error"
TOO_LARGE = "message_too_large"
"""gRPC has the status of overload for it, which would be tried again."""
MOST_ITEMS = 1000
"""Turns, and late feedback, of one Record; the contract's bound."""
MOST_BYTES = 900_000
"""Of one Record; the server takes a MiB."""
ATTEMPT_S = 2.0
"""Of a call that writes; what takes longer is tried again."""
REPLIES: dict[str, tuple[Any, Any]] = {
    method.name: (getattr(pb, method.input_type.name), getattr(pb, method.output_type.name))
    for method in pb.DESCRIPTOR.services_by_name["RewriteService"].methods
}

BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Of a connection that another should be tried for. No call that is waited for is cancelled here: a server that ends
cancels what reaches it in that very moment, and what it has not finished by the end of its grace. Either may be asked
again: a turn that is recorded twice counts once."""
_GONE = frozenset({"unavailable", "deadline_exceeded", "unknown", "internal"})
"""What says that nobody is there, rather than that somebody does not want to."""
_AGAIN = frozenset({"unavailable", "deadline_exceeded", "resource_exhausted"})
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.05, 1.0
_PUSHBACK = "grpc-retry-pushback-ms"
_TOO_LARGE = "larger than max"


def path_of(method: str) -> str:
    return f"/{SERVICE}/{method}"


def new_request(
    query: str,
    user_id: str,
    interaction_id: str | None,
    timestamp_ms: int | None,
    channel: Channel,
    alternatives: Sequence[str],
    asr_confidence: float | None,
    context: Context | None,
) -> Request:
    """The request, with an id and the time of day where they are not given."""
    return Request(
        interaction_id=str(uuid.uuid4()) if interaction_id is None else interaction_id,
        user_id=user_id,
        timestamp_ms=time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms,
        query=query,
        channel=channel,
        alternatives=tuple(alternatives),
        asr_confidence=asr_confidence,
        context=Context() if context is None else context,
    )


def answer_of(request: Request, reply: pb.RewriteResponse) -> Answer:
    """The answer that a reply carries."""
    rewritten = reply.decision == pb.DECISION_REWRITE and bool(reply.text)
    suggestion = None
    if reply.HasField("teach_suggestion"):
        taught = reply.teach_suggestion
        suggestion = Suggestion(word_of(pb.PreferenceKind, "PREFERENCE_KIND", taught.kind), taught.subject)
    return Answer(
        text=reply.text if rewritten else request.query,
        request=request,
        rewritten=rewritten,
        reason=word_of(pb.Reason, "REASON", reply.reason),
        probability=reply.probability,
        margin=reply.margin,
        layer=word_of(pb.Layer, "LAYER", reply.layer) if reply.layer else "",
        bundle_version=reply.bundle_version,
        preference_id=reply.preference_id,
        suggestion=suggestion,
        stage_us=dict(reply.stage_us),
        skipped=tuple(reply.skipped_stages),
    )


def unanswered(request: Request, error: ClientError) -> Answer:
    """The answer where there is none: the query as it was heard."""
    return Answer(text=request.query, request=request, rewritten=False, reason=error.code, error=error)


def error_of(error: BaseException) -> ClientError:
    """What went wrong, in the words of `ClientError`. Of an error that is not the server's or the network's, only the
    kind: its message may quote what was sent."""
    if isinstance(error, ClientError):
        return error
    if isinstance(error, grpc.RpcError):
        call: Any = error
        trailing = call.trailing_metadata() or ()
        pushback = next((str(value) for key, value in trailing if key == _PUSHBACK), "")
        retry_after_s = float(pushback) / 1000 if pushback.isdecimal() else None
        status = grpc.StatusCode.UNAVAILABLE if call.code() in BROKEN else call.code()
        code, said = status.name.lower(), str(call.details())
        if code == "resource_exhausted" and _TOO_LARGE in said:
            code = TOO_LARGE
        return ClientError(code, said, retry_after_s)
    return ClientError(CLIENT_ERROR, type(error).__name__)


def circuit_open(rest_s: float) -> ClientError:
    return ClientError(CIRCUIT_OPEN, "the service did not answer of late; it is not asked for a while", rest_s)


def tell(breaker: Breaker, error: ClientError, begun: float) -> None:
    """Tells the breaker of a call that failed, begun at `begun` (`time.monotonic()`): whether anybody was there. What
    failed here, and was never sent, says nothing of that."""
    if error.code in _GONE:
        breaker.failed(begun)
    elif error.code not in (CIRCUIT_OPEN, CLIENT_ERROR):
        breaker.succeeded()


def pause_s(error: ClientError, attempt: int) -> float | None:
    """Seconds until the call may be tried again, None where that is no use. `attempt`: how many there were. Random, so
    that clients that failed together do not come back together (full jitter, Brooker 2015)."""
    if error.code not in _AGAIN:
        return None
    pause = random.uniform(0, min(_MOST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempt, 10)))
    return pause if error.retry_after_s is None else error.retry_after_s + pause


def record_messages(items: Iterable[Item]) -> list[pb.RecordRequest]:
    """The messages that carry these items, in their order, each within the contract's bounds."""
    messages: list[pb.RecordRequest] = []
    size = MOST_BYTES
    for item in items:
        part = from_interaction(item) if isinstance(item, Interaction) else from_turn_feedback(item)
        size += part.ByteSize() + 8
        if size > MOST_BYTES or max(len(messages[-1].interactions), len(messages[-1].feedback)) >= MOST_ITEMS:
            messages.append(pb.RecordRequest())
            size = part.ByteSize() + 8
        if isinstance(part, pb.Interaction):
            messages[-1].interactions.append(part)
        else:
            messages[-1].feedback.append(part)
    return messages


def taught_of(reply: pb.TeachResponse) -> Taught:
    return Taught(to_preference(reply.preference), reply.example_query, reply.example_rewrite)


def forgotten_of(reply: pb.ForgetUserResponse) -> ForgottenUser:
    return ForgottenUser(reply.turns, reply.preferences, reply.in_bundle, reply.bundle_version)


def teach_message(user_id: str, said: str | None, kind: str, subject: str, value: str) -> pb.TeachRequest:
    """Something to take down: a sentence, or a preference in its parts. Raises `ClientError`."""
    if said is not None:
        return pb.TeachRequest(user_id=user_id, text=said)
    if kind not in ("alias", "name", "like"):
        raise ClientError("invalid_argument", "kind: is none of alias, name, like")
    preference = pb.Preference(kind=f"PREFERENCE_KIND_{kind.upper()}", subject=subject, value=value)
    return pb.TeachRequest(user_id=user_id, preference=preference)
