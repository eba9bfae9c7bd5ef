"""Cuts one user's turns into sessions: stretches of turns with no long pause between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from retriever.interaction import Interaction

SESSION_GAP_MS = 5 * 60_000
"""A longer pause begins a new session; the same figure bounds how far back a turn can count as situation."""


def by_user(turns: Iterable[Interaction]) -> dict[str, list[Interaction]]:
    """Each user's turns, in the order in which they came."""
    out: dict[str, list[Interaction]] = {}
    for turn in turns:
        out.setdefault(turn.request.user_id, []).append(turn)
    return out


def sessions(turns: Sequence[Interaction], gap_ms: int = SESSION_GAP_MS) -> Iterator[range]:
    """Index ranges of the sessions of one user's turns (in time order). They cover all turns, in order."""
    start = 0
    for i in range(1, len(turns) + 1):
        if i == len(turns) or turns[i].request.timestamp_ms - turns[i - 1].request.timestamp_ms > gap_ms:
            yield range(start, i)
            start = i
