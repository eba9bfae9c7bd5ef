"""Short ways to write turns in tests."""

from __future__ import annotations

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

DAY_S = 86_400
NOON_S = 1_767_614_400 + 12 * 3600
"""Noon of 2026-01-05 UTC, in seconds."""


def request(query: str, at_s: float = 0, user: str = "ann", screen: bool = False, **more) -> Request:
    """A spoken request `at_s` seconds after noon of the first day."""
    stamp = int((NOON_S + at_s) * 1000)
    context = more.pop("context", Context(has_screen=screen))
    given = {"channel": Channel.VOICE, "asr_confidence": 0.6} | more
    return Request(more.pop("id", None) or f"{user}-{stamp}", user, stamp, query, context=context, **{
        k: v for k, v in given.items() if k != "id"
    })


def turn(
    query: str,
    at_s: float = 0,
    intent: str | None = None,
    user: str = "ann",
    barge_in: bool = False,
    explicit: Explicit | None = None,
    slots: dict[str, str] | None = None,
    dwell_s: float | None = 10.0,
    **more,
) -> Interaction:
    """A turn; with `intent`, answered (`slots` its slots), without, not understood."""
    reading = Interpretation(intent, tuple(sorted((slots or {}).items()))) if intent else None
    return Interaction(
        request(query, at_s, user, **more),
        reading,
        Outcome.OK if intent else Outcome.NO_MATCH,
        Feedback(barge_in, explicit, dwell_s),
    )
