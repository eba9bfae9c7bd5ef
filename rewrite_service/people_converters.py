"""Messages on what users have taught, and on users as a whole, to value objects and back. As in `converters`, what
comes in is checked here, and no error quotes a text."""

from __future__ import annotations

import time
from typing import Any

from retriever.preference import Preference
from retriever.preferences import PreferenceKind
from rewrite_service.converters import (
    DEFAULT_LIMITS,
    Limits,
    _by_number,
    _identifier,
    _member,
    _text,
    _timestamp,
    _user,
)
from rewrite_service.errors import InvalidRequest
from rewrite_service.forgetting import ForgottenUser
from rewrite_service.lesson import Lesson, Taught
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.user_description import UserDescription

_KINDS = _by_number(PreferenceKind, "PREFERENCE_KIND")
_KIND_NUMBERS: dict[PreferenceKind, Any] = {kind: number for number, kind in _KINDS.items()}


def to_user_id(
    message: pb.TeachRequest | pb.ListPreferencesRequest | pb.RemovePreferenceRequest
    | pb.ForgetUserRequest | pb.DescribeUserRequest,
) -> str:
    """Whom a message is about. Raises `InvalidRequest`, as do all below."""
    return _user(message.user_id, "user_id")


def to_preference_id(message: pb.RemovePreferenceRequest) -> str:
    """Which of the user's preferences a message is about."""
    return _identifier(message.preference_id, "preference_id")


def to_lesson(message: pb.TeachRequest, limits: Limits = DEFAULT_LIMITS) -> Lesson:
    """What to take down; not yet whether it is understood."""
    at_ms = _timestamp(message.timestamp_ms, "timestamp_ms") if message.timestamp_ms else time.time_ns() // 1_000_000
    lesson = message.WhichOneof("lesson")
    if lesson is None:
        raise InvalidRequest("lesson", "missing", "send a text, or a preference")
    said, given = None, None
    if lesson == "text":
        said = _text(message.text, "text", limits.query_chars)
    else:
        sent = message.preference
        given = (
            _member(_KINDS, sent.kind, "preference.kind", PreferenceKind),
            _text(sent.subject, "preference.subject", limits.query_chars),
            _text(sent.value, "preference.value", limits.query_chars),
        )
    return Lesson(to_user_id(message), said, given, at_ms)


def from_taught(taught: Taught) -> pb.TeachResponse:
    """What was taken down."""
    query, rewrite = taught.example
    return pb.TeachResponse(
        preference=from_preference(taught.preference), example_query=query, example_rewrite=rewrite
    )


def from_preference(preference: Preference) -> pb.Preference:
    """The message of a preference."""
    return pb.Preference(
        id=preference.preference_id,
        kind=_KIND_NUMBERS[PreferenceKind(preference.kind)],
        subject=preference.subject,
        value=preference.value,
        text=preference.text,
        taught_ms=preference.taught_ms,
    )


def from_forgotten(forgotten: ForgottenUser, bundle_version: str) -> pb.ForgetUserResponse:
    """What was removed."""
    return pb.ForgetUserResponse(
        turns=forgotten.turns,
        preferences=forgotten.preferences,
        in_bundle=forgotten.in_bundle,
        bundle_version=bundle_version,
    )


def from_description(found: UserDescription) -> pb.DescribeUserResponse:
    """What is remembered of a user."""
    return pb.DescribeUserResponse(
        turns=found.turns,
        bundle_turns=found.bundle_turns,
        texts_in_all=found.texts_in_all,
        texts=[
            pb.OwnText(text=t.text, attempts=t.attempts, successes=t.successes, last_success_ms=t.last_success_ms)
            for t in found.texts
        ],
        preferences=map(from_preference, found.preferences),
        rewrites=[
            pb.ServedRewrite(heard=r.heard, rewrite=r.rewrite, turns=r.turns, harm=r.harm, retired=r.retired)
            for r in found.rewrites
        ],
        first_ms=found.first_ms,
        last_ms=found.last_ms,
    )
