"""What is remembered of one user, put together for people to read. Pure; the servicer writes down who asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mining.reactions import Reactions
from mining.served import came_of
from ranker.posterior import HARMFUL, Foretold
from retriever.evidence import TextEvidence
from retriever.interaction import Interaction
from retriever.preference import Preference
from rewrite_service.experience import Experience, own_experience
from rewrite_service.people_archive import ArchivedUser
from rewrite_service.store.base import UserRecord
from rewrite_service.user_state import UserState, turns_as_heard

MAX_TEXTS = 100
MAX_REWRITES = 100
_NOTHING_FORETOLD = Foretold(0.5, 0.5)


@dataclass(frozen=True, slots=True)
class ServedRewrite:
    """A rewrite that the user was served, in `turns` turns. `harm`: that asking it does harm, 0 to 1, of a request of
    which nothing is foretold. `retired`: it would be passed over."""

    heard: str
    rewrite: str
    turns: int
    harm: float
    retired: bool


@dataclass(frozen=True, slots=True)
class UserDescription:
    """`turns`: held in all, `bundle_turns` of them by the bundle, from `first_ms` to `last_ms` (milliseconds since
    1970 UTC, 0: none). `texts`: those that served most, of `texts_in_all`. `preferences`: the oldest first.
    `rewrites`: likeliest to do harm first."""

    turns: int
    bundle_turns: int
    first_ms: int
    last_ms: int
    texts_in_all: int
    texts: Sequence[TextEvidence]
    preferences: Sequence[Preference]
    rewrites: Sequence[ServedRewrite]


def describe(
    archived: ArchivedUser, stored: UserRecord, state: UserState, everybodys: Experience, reactions: Reactions
) -> UserDescription:
    """`archived`, `stored`: what bundle and store hold of the user; `state`: as made of them."""
    if stored.forgotten_ms is not None:
        archived = archived.after(stored.forgotten_ms)
    turns = turns_as_heard(archived, stored)
    times = [turn.request.timestamp_ms for turn in turns]
    texts = sorted(state.layer.texts.values(), key=lambda t: (-t.successes, -t.attempts, t.text))
    return UserDescription(
        turns=len(turns),
        bundle_turns=len(archived.turns),
        first_ms=min(times, default=0),
        last_ms=max(times, default=0),
        texts_in_all=len(texts),
        texts=texts[:MAX_TEXTS],
        preferences=stored.preferences,
        rewrites=_rewrites(turns, stored, everybodys, reactions)[:MAX_REWRITES] if stored.rewrites else [],
    )


def _rewrites(
    turns: Sequence[Interaction], stored: UserRecord, everybodys: Experience, reactions: Reactions
) -> list[ServedRewrite]:
    found = came_of(turns, stored.rewrites, reactions=reactions)
    own = own_experience(found, turns[-1].request.timestamp_ms) if turns else {}
    made = []
    for (heard, asked), times in found.items():
        if heard != asked:
            harm = everybodys.harm(heard, asked, own, _NOTHING_FORETOLD)
            made.append(ServedRewrite(heard, asked, len(times), harm, harm > HARMFUL))
    return sorted(made, key=lambda r: (-r.harm, -r.turns, r.heard, r.rewrite))
