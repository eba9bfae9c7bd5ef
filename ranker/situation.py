"""The turns just before a request: what a request may lean on, in every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.interaction import Interaction, Interpretation, Request
from retriever.normalise import normalise

SITUATION_MS = 5 * 60_000
"""Turns older than this are history, not situation."""


@dataclass(frozen=True, slots=True)
class Situation:
    """`previous`: the turn before, in normal form ("" where there is none), `previous_gap_s` seconds ago.
    `previous_failed`: the assistant did not answer it. `previous_rejected`: barged into or refused.
    `streak`: turns in a row, up to now, that got no answer. `readings`: of the answered turns, the latest first;
    that one `answered_gap_s` seconds ago, in the words `answered_text`.
    `failed_texts`: texts that got no answer within the situation."""

    previous: str = ""
    previous_gap_s: float = float("nan")
    previous_failed: bool = False
    previous_rejected: bool = False
    streak: int = 0
    readings: tuple[Interpretation, ...] = ()
    answered_text: str = ""
    answered_gap_s: float = float("nan")
    failed_texts: frozenset[str] = frozenset()

    @property
    def answered(self) -> Interpretation | None:
        """The reading of the last answered turn."""
        return self.readings[0] if self.readings else None


def situation_of(turns: Sequence[Interaction], request: Request) -> Situation:
    """The situation of `request` after `turns`, this user's latest turns before it, in time order.

    What a turn became is used only as far as it was known by the next turn: its outcome and the user's first reaction.
    """
    recent = []
    for turn in reversed(turns):
        if request.timestamp_ms - turn.request.timestamp_ms > SITUATION_MS:
            break
        recent.append(turn)
    if not recent:
        return Situation()
    streak = 0
    for turn in recent:
        if turn.interpretation is not None:
            break
        streak += 1
    answered = next((t for t in recent if t.interpretation is not None), None)

    def seconds(turn: Interaction) -> float:
        return (request.timestamp_ms - turn.request.timestamp_ms) / 1000

    return Situation(
        previous=normalise(recent[0].request.query),
        previous_gap_s=seconds(recent[0]),
        previous_failed=recent[0].interpretation is None,
        previous_rejected=recent[0].feedback.barge_in or recent[0].feedback.explicit == "no",
        streak=streak,
        readings=tuple(t.interpretation for t in recent if t.interpretation is not None),
        answered_text=normalise(answered.request.query) if answered else "",
        answered_gap_s=seconds(answered) if answered else float("nan"),
        failed_texts=frozenset(normalise(t.request.query) for t in recent if t.interpretation is None),
    )
