"""What a user has said about themselves in so many words: the value object that every package speaks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preference:
    """One taught preference. `subject` and `value` mean what `kind` says: of an alias, say, the words that are used
    and those that are meant; of a fact, the slot and what fills it.

    `text`: as it was taught. `taught_ms`: milliseconds since 1970 UTC.
    """

    preference_id: str
    kind: str
    subject: str
    value: str
    text: str
    taught_ms: int
