"""The value objects that every package speaks: a request, its situation, and the turn it became.

They mirror the interaction log's schema (docs/data.md) and the gRPC contract, and know neither.
Texts are kept as they came; comparison always goes through `retriever.normalise.normalise`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Channel(StrEnum):
    """How the request reached the assistant. APP and TEXT are typed, so they carry no recogniser's mistakes."""

    VOICE = "voice"
    APP = "app"
    TEXT = "text"


class Outcome(StrEnum):
    """What the assistant reported. OK: it did something, not that it was the right thing."""

    OK = "ok"
    NO_MATCH = "no_match"
    ERROR = "error"


class Explicit(StrEnum):
    """What the user said of the answer in words."""

    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Context:
    """The situation of a request. Empty string: not known."""

    device_id: str = ""
    device_type: str = ""
    has_screen: bool = False
    room: str = ""
    device_state: Mapping[str, str] = field(default_factory=dict)
    locale: str = ""
    city: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Interpretation:
    """What the assistant made of a query: an intent and its slots, sorted by name (so that equality is meaning)."""

    intent: str
    slots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """How the user reacted. `dwell_s`: seconds until the user's next sign of life or the end of playing, >= 0."""

    barge_in: bool = False
    explicit: Explicit | None = None
    dwell_s: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as heard or typed, in its situation; all that is known before the assistant acts.

    `timestamp_ms`: milliseconds since 1970 UTC, > 0. `asr_confidence`: 0 to 1, None where nothing was recognised.
    `alternatives`: the recogniser's further hypotheses, best first, without the query itself.
    """

    interaction_id: str
    user_id: str
    timestamp_ms: int
    query: str
    channel: Channel = Channel.VOICE
    alternatives: tuple[str, ...] = ()
    asr_confidence: float | None = None
    context: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One turn: the request, what the assistant made of it, what came of it, how the user reacted. `heard`: what was
    heard, where the request's query is the rewrite that the assistant was asked instead; None where it is the query."""

    request: Request
    interpretation: Interpretation | None
    outcome: Outcome
    feedback: Feedback = field(default_factory=Feedback)
    heard: str | None = None


@dataclass(frozen=True, slots=True)
class TurnFeedback:
    """Feedback on a turn that came after the turn itself.

    `rewritten_query`: the rewrite the turn was served with; None where it was served as heard, or not known.
    """

    user_id: str
    interaction_id: str
    feedback: Feedback
    rewritten_query: str | None = None
