"""What every store of turns promises, whatever it keeps them in.

The promises are tested once for all backends by tests/rewrite_service/store_contract.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from retriever.interaction import Feedback, Interaction

MAX_TURNS_PER_USER = 2000
"""Turns kept of one user unless set otherwise: about a year of a busy household."""


@dataclass(frozen=True, slots=True)
class TurnFeedback:
    """Feedback on a turn that came after the turn itself.

    `rewritten_query`: the rewrite the turn was served with; None where it was served as heard, or not known.
    """

    user_id: str
    interaction_id: str
    feedback: Feedback
    rewritten_query: str | None = None


def merged(known: Feedback, late: Feedback) -> Feedback:
    """`known` with what `late` adds. Merging the same feedback twice changes nothing."""
    return Feedback(
        barge_in=known.barge_in or late.barge_in,
        explicit=known.explicit if late.explicit is None else late.explicit,
        dwell_s=known.dwell_s if late.dwell_s is None else late.dwell_s,
    )


class Store(Protocol):
    """Turns by user. Who asks is a hard partition: nothing of one user is ever read or written under another.

    Safe to call from several threads. Every method raises `StoreError` where the storage fails.
    """

    def append(self, turns: Sequence[Interaction]) -> int:
        """Adds turns of any users, in any order; durable on return, all or none.

        A turn known by its (user_id, interaction_id) is left as it is. Of each user the newest `max_turns_per_user`
        are kept; a turn older than these all is counted, then dropped. Returns how many were new.
        """
        ...

    def amend(self, feedback: Sequence[TurnFeedback]) -> int:
        """Merges late feedback into stored turns (see `merged`); durable on return, all or none.

        Feedback on a turn that is not held is passed over. Returns how many named a turn that is.
        """
        ...

    def turns(self, user_id: str) -> list[Interaction]:
        """The user's turns in order of (timestamp_ms, interaction_id); empty for a user nobody knows."""
        ...

    def rewrites(self, user_id: str) -> dict[str, str]:
        """interaction_id to the rewrite it was served with, for the user's turns of which `amend` was told one."""
        ...

    def revision(self, user_id: str) -> int:
        """Grows whenever the user's turns change, so that what was derived from them can be told stale.

        0 for a user nobody knows. Cheap: microseconds, whatever the user's number of turns.
        """
        ...

    def close(self) -> None:
        """Gives back files and memory. Closing twice is fine; any other call after it raises `StoreError`."""
        ...
