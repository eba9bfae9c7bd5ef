"""Which of a user's turns is forgotten first where the user's limit is reached: the least useful one.

    usefulness(turn, now) = value(turn) * 2 ** (-(now - timestamp) / HALF_LIFE)

`value`: 1 for a turn that came to nothing or was broken off, 2 for one that served, 4 for one whose user said yes. All
usefulness halves alike, so the order of two turns never changes with time, and a turn has one constant `score`:

    score = timestamp + HALF_LIFE * log2(value)

A turn that served thus stays about a week longer than one that did not. The turns of the user's last hour (before the
newest turn held) go only when no others are left, useful or not: they are the situation of the next request, and the
first half of a repair that may be about to come.
"""

from __future__ import annotations

from retriever.interaction import Explicit, Interaction, Outcome

HALF_LIFE_MS = 7 * 24 * 3600 * 1000
PROTECTED_MS = 3600 * 1000


def score(turn: Interaction) -> int:
    """When `usefulness` of the turn falls to 1, in milliseconds since 1970 UTC; later is more useful. Above 0."""
    return turn.request.timestamp_ms + HALF_LIFE_MS * _log2_of_value(turn)


def is_protected(timestamp_ms: int, newest_ms: int) -> bool:
    """Whether a turn is of the last hour of a user whose newest turn is of `newest_ms`."""
    return timestamp_ms > newest_ms - PROTECTED_MS


def rank(turn: Interaction, newest_ms: int) -> tuple[bool, int, int]:
    """Sorts a user's turns by what goes first."""
    stamp = turn.request.timestamp_ms
    return is_protected(stamp, newest_ms), score(turn), stamp


def _log2_of_value(turn: Interaction) -> int:
    if turn.feedback.explicit is not None:
        return 2 if turn.feedback.explicit is Explicit.YES else 0
    return 1 if turn.outcome is Outcome.OK and not turn.feedback.barge_in else 0
