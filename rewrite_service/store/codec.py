"""What is stored to bytes and back: one format byte, then a JSON array in the order below.

Arrays rather than objects, because a user's turns are all decoded when the user comes back: names would double the
bytes and the time. A new field goes to the end under a new format byte; old formats stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any, TypeVar

import orjson

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
from retriever.preference import Preference
from rewrite_service.errors import StoreError
from rewrite_service.store.base import TurnFeedback, UserRecord, merged
from rewrite_service.store.usefulness import rank

T = TypeVar("T")

FORMAT = b"\x01"


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn as kept. `rewritten_query`: the rewrite it was served with, None where none is known."""

    interaction: Interaction
    rewritten_query: str | None = None

    def amended(self, late: TurnFeedback) -> StoredTurn:
        """The turn with feedback that came after it."""
        interaction = replace(self.interaction, feedback=merged(self.interaction.feedback, late.feedback))
        return StoredTurn(
            interaction, self.rewritten_query if late.rewritten_query is None else late.rewritten_query
        )


_NOTHING_KNOWN: Mapping[bytes, StoredTurn] = {}


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What a store holds of a user, as it is kept; see `UserRecord` for the meaning. `turns`: in any order.
    `max_turns`: no more of them count."""

    revision: int
    turns: tuple[bytes, ...]
    preferences: tuple[bytes, ...]
    forgotten_ms: int | None
    max_turns: int

    def decoded(self, known: Mapping[bytes, StoredTurn] = _NOTHING_KNOWN) -> dict[bytes, StoredTurn]:
        """The turns by their bytes: some 10 microseconds for each that is not among the `known`. Raises `StoreError`
        where one cannot be read."""
        return {row: known.get(row) or decode(row) for row in self.turns}

    def record(self, decoded: Mapping[bytes, StoredTurn] | None = None) -> UserRecord:
        """`decoded`: the turns, where they are at hand. Raises `StoreError` where something cannot be read."""
        turns = list((self.decoded() if decoded is None else decoded).values())
        if len(turns) > self.max_turns:  # the limit was lowered, and nothing written since
            newest_ms = max(turn.interaction.request.timestamp_ms for turn in turns)
            turns = sorted(turns, key=lambda turn: rank(turn.interaction, newest_ms))[-self.max_turns:]
        turns.sort(key=lambda turn: (turn.interaction.request.timestamp_ms, turn.interaction.request.interaction_id))
        preferences = sorted(map(decode_preference, self.preferences), key=lambda p: (p.taught_ms, p.preference_id))
        return UserRecord(
            self.revision,
            tuple(turn.interaction for turn in turns),
            {t.interaction.request.interaction_id: t.rewritten_query for t in turns if t.rewritten_query is not None},
            tuple(preferences),
            self.forgotten_ms,
        )


def encode(turn: StoredTurn) -> bytes:
    """The bytes of a turn, in the newest format."""
    request, made, feedback = turn.interaction.request, turn.interaction.interpretation, turn.interaction.feedback
    context = request.context
    row = [
        request.interaction_id,
        request.user_id,
        request.timestamp_ms,
        request.query,
        request.channel.value,
        request.alternatives,
        request.asr_confidence,
        [
            context.device_id,
            context.device_type,
            context.has_screen,
            context.room,
            dict(context.device_state),
            context.locale,
            context.city,
            context.state,
        ],
        None if made is None else [made.intent, made.slots],
        turn.interaction.outcome.value,
        [feedback.barge_in, feedback.explicit, feedback.dwell_s],
        turn.rewritten_query,
    ]
    return _dumps(row)


def decode(data: bytes) -> StoredTurn:
    """The inverse of `encode`, for every format there has been. Raises `StoreError` where it is none of them."""
    return _decoded(data, "turn", _turn)


def encode_preference(preference: Preference) -> bytes:
    """The bytes of a preference, in the newest format."""
    return _dumps(list(astuple(preference)))


def decode_preference(data: bytes) -> Preference:
    """The inverse of `encode_preference`. Raises `StoreError` where the format is unknown."""
    return _decoded(data, "preference", lambda row: Preference(*row))


def _decoded(data: bytes, what: str, made: Callable[[list[Any]], T]) -> T:
    if data[:1] != FORMAT:
        raise StoreError(f"a stored {what} is of the unknown format {data[:1].hex() or '(empty)'}")
    try:
        return made(_loads(data[1:]))
    except (ValueError, TypeError, KeyError) as error:
        # The cause would quote the row, and a row is its user's own.
        raise StoreError(f"a stored {what} cannot be read ({type(error).__name__})") from None


def _dumps(row: list[Any]) -> bytes:
    try:
        return FORMAT + orjson.dumps(row)
    except orjson.JSONEncodeError:  # a lone surrogate, which UTF-8 cannot hold but an escape can
        return FORMAT + json.dumps(row).encode("ascii")


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # escaped lone surrogates
        return json.loads(data)


def _turn(row: list[Any]) -> StoredTurn:
    (interaction_id, user_id, stamp, query, channel, alternatives, confidence, context, made, outcome, feedback,
     rewritten) = row
    device_id, device_type, has_screen, room, device_state, locale, city, state = context
    barge_in, explicit, dwell_s = feedback
    return StoredTurn(
        Interaction(
            Request(
                interaction_id,
                user_id,
                stamp,
                query,
                Channel(channel),
                tuple(alternatives),
                confidence,
                Context(device_id, device_type, has_screen, room, device_state, locale, city, state),
            ),
            None if made is None else Interpretation(made[0], tuple((name, value) for name, value in made[1])),
            Outcome(outcome),
            Feedback(barge_in, None if explicit is None else Explicit(explicit), dwell_s),
        ),
        rewritten,
    )
