"""What the server remembers of its users while it runs: a cache of personal layers, bounded in bytes.

An entry is found by user, and good only at the store revision it was made from; a user's write makes it unreachable at
once. The bundle is the pipeline's own, so a new bundle starts with an empty cache.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mining.served import came_of
from retriever.interaction import Interaction, Request
from retriever.personal_layer import PersonalLayer
from retriever.preferences import NOTHING_TAUGHT, Preferences
from rewrite_service.assemble import Knowledge, PersonalHistory
from rewrite_service.experience import Own, own_experience
from rewrite_service.people_archive import ArchivedUser, PeopleArchive
from rewrite_service.store.base import Store, UserRecord
from rewrite_service.store.codec import StoredTurn, StoredUser

RECENT_TURNS = 8
"""Turns kept at hand for the situation of the next request."""
_LOAD_TURNS, _REFRESH_TURNS = 2, 45
"""As many turns take as long as what is the same however few there are: from nothing, and where most is taken over."""
_BYTES_A_TURN = 3000
"""With its judgement, and its part in the tables."""
_BYTES_A_PREFERENCE = 1200
_BYTES_A_PAIR = 300
_BYTES_A_USER = 3000
"""Of a user of whom nothing is known: anybody can ask as many such users as they like."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """What a state was made of. Most of it is still so after the user's next turn, and is then taken over: reading and
    judging all that somebody ever said takes a hundred times as long as what one turn changes.

    `archived`: the bundle's turns, as far as they are not forgotten. `stored`: the store's, by their bytes there.
    `asked`: by interaction id, turns that were served a rewrite, with the text that was asked.
    """

    forgotten_ms: int | None
    archived: Sequence[Interaction]
    stored: Mapping[bytes, StoredTurn]
    asked: Mapping[str, _Asked]
    history: PersonalHistory

    @property
    def nbytes(self) -> int:
        rows = sum(map(len, self.stored))
        return rows + _BYTES_A_TURN * (len(self.archived) + len(self.stored) + len(self.asked))


@dataclass(frozen=True, slots=True)
class UserState:
    """One user's latest turns, personal layer, preferences and experience with rewrites, as of a store revision."""

    revision: int
    recent: tuple[Interaction, ...]
    sources: _Sources
    preferences: Preferences = NOTHING_TAUGHT
    experience: Own = field(default_factory=dict)
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        size = (
            _BYTES_A_USER
            + self.layer.nbytes
            + self.sources.nbytes
            + _BYTES_A_PREFERENCE * len(self.preferences)
            + _BYTES_A_PAIR * len(self.experience)
        )
        object.__setattr__(self, "nbytes", size)

    @property
    def layer(self) -> PersonalLayer:
        return self.sources.history.layer


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at cache and store found of a user: a state that is current, or else what to make one of. Neither:
    the store failed, which says nothing about the user. `drops`: how often users had been dropped by then. `us`: the
    microseconds it took."""

    state: UserState | None = None
    stored: StoredUser | None = None
    drops: int = 0
    us: int = 0


def merge_turns(archived: Sequence[Interaction], stored: Sequence[Interaction]) -> list[Interaction]:
    """One user's turns from the bundle and the store in time order, each id once; the store's word goes before."""
    by_id = {t.request.interaction_id: t for t in archived}
    by_id.update((t.request.interaction_id, t) for t in stored)
    return sorted(by_id.values(), key=lambda t: (t.request.timestamp_ms, t.request.interaction_id))


_Asked = tuple[Interaction, Interaction]
"""A turn as it was heard, and with the text that the assistant was asked instead."""
_NOTHING_ASKED: Mapping[str, _Asked] = {}


def as_asked(
    turns: Sequence[Interaction], rewrites: Mapping[str, str], before: Mapping[str, _Asked] = _NOTHING_ASKED
) -> dict[str, _Asked]:
    """Of the turns that were served a rewrite, by interaction id: what came of such a turn is evidence on the rewrite,
    not on the words that were heard. `before`: what this was; the same turns are the same objects again."""
    out: dict[str, _Asked] = {}
    for turn in turns if rewrites else ():
        name = turn.request.interaction_id
        if (text := rewrites.get(name)) is not None:
            known = before.get(name)
            if known is None or known[0] is not turn or known[1].request.query != text:
                known = turn, replace(turn, request=replace(turn.request, query=text))
            out[name] = known
    return out


def before(recent: Sequence[Interaction], request: Request) -> list[Interaction]:
    """Only what came before the request, however late it is asked; a turn never counts as its own situation."""
    return [
        t
        for t in recent
        if t.request.timestamp_ms <= request.timestamp_ms and t.request.interaction_id != request.interaction_id
    ]


def turns_as_heard(archived: ArchivedUser, stored: UserRecord) -> list[Interaction]:
    """One user's turns in time order, with the words that were heard, whatever the assistant was asked."""
    if stored.forgotten_ms is not None:
        archived = archived.after(stored.forgotten_ms)
    return merge_turns(archived.turns, stored.turns)


class UserStates:
    """Thread-safe. Least recently asked users are forgotten first."""

    def __init__(self, archive: PeopleArchive, store: Store, knowledge: Knowledge, max_bytes: int) -> None:
        self._archive, self._store, self._knowledge, self._max_bytes = archive, store, knowledge, max_bytes
        self._states: OrderedDict[str, UserState] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._drops = 0
        self.hits = self.misses = 0

    @property
    def nbytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._states)

    def at_hand(self, most: int) -> list[str]:
        """The users asked about last, at most so many, the latest last."""
        with self._lock:
            return list(self._states)[-most:]

    def holds(self, user_id: str, revision: int) -> bool:
        """Whether the user's state is at hand as of that store revision; counts as no look-up."""
        with self._lock:
            state = self._states.get(user_id)
        return state is not None and state.revision == revision

    def look(self, user_id: str, counted: bool = True) -> Look:
        """What is at hand of the user if it is current, else what the store holds: one question to the store.
        `counted`: whether it counts among the hits and misses. Raises StoreError."""
        with self._lock:
            state, drops = self._states.get(user_id), self._drops
        stored = self._store.fetch(user_id, None if state is None else state.revision)
        with self._lock:
            if stored is not None:
                self.misses += counted
                return Look(stored=stored, drops=drops)
            self.hits += counted
            if user_id in self._states:
                self._states.move_to_end(user_id)
            return Look(state)

    def cached(self, user_id: str) -> UserState | None:
        """The user's state if it is at hand and current."""
        return self.look(user_id).state

    def __contains__(self, user_id: str) -> bool:
        """Whether the user is at hand, current or not."""
        return user_id in self._states

    def effort(self, user_id: str, stored: StoredUser) -> tuple[str, int]:
        """What loading the user will be, told without doing any of it: `refresh` where most can be taken over, else
        `load`; and for how many turns, about, with so many for what every load costs."""
        with self._lock:
            known = self._states.get(user_id)
        if known is not None and known.sources.forgotten_ms == stored.forgotten_ms:
            return "refresh", _REFRESH_TURNS + len(known.sources.archived) + len(stored.turns)
        return "load", _LOAD_TURNS + self._archive.texts_of(user_id) + len(stored.turns)

    def load(self, user_id: str, fetched: StoredUser | None = None, drops: int | None = None) -> UserState:
        """The user's state as of now: ask `cached` or `look` first. It goes on from what is at hand of the user, if
        anything; the rest is of bundle and store. `fetched`, `drops`: what `look` found, None to ask the store.

        Where somebody has been dropped since, it is not kept: it may be the very user who has been forgotten.
        """
        with self._lock:
            known = self._states.get(user_id)
            drops = self._drops if drops is None else drops
        held = self._store.fetch(user_id) if fetched is None else fetched
        assert held is not None, "without a revision to compare with, a store says what it has"
        sources = None if known is None or known.sources.forgotten_ms != held.forgotten_ms else known.sources
        decoded = held.decoded(sources.stored) if sources else held.decoded()
        stored = held.record(decoded)
        archived = sources.archived if sources else self._archived(user_id, stored)
        asked = as_asked(stored.turns, stored.rewrites, sources.asked if sources else _NOTHING_ASKED)
        served = [asked[t.request.interaction_id][1] if t.request.interaction_id in asked else t for t in stored.turns]
        turns = merge_turns(archived, served)
        experience: Own = {}
        if stored.rewrites:
            heard = merge_turns(archived, stored.turns)
            found = came_of(heard, stored.rewrites, reactions=self._knowledge.reactions)
            experience = own_experience(found, heard[-1].request.timestamp_ms)
        history = self._knowledge.personal_history(turns, sources.history if sources else None)
        state = UserState(
            stored.revision,
            tuple(turns[-RECENT_TURNS:]),
            _Sources(stored.forgotten_ms, archived, decoded, asked, history),
            Preferences(stored.preferences) if stored.preferences else NOTHING_TAUGHT,
            experience,
        )
        with self._lock:
            if drops != self._drops:
                return state
            old = self._states.pop(user_id, None)
            self._bytes += state.nbytes - (old.nbytes if old else 0)
            self._states[user_id] = state
            while self._bytes > self._max_bytes and self._states:
                _, dropped = self._states.popitem(last=False)
                self._bytes -= dropped.nbytes
        return state

    def _archived(self, user_id: str, stored: UserRecord) -> Sequence[Interaction]:
        """The bundle's turns of the user that count; their vectors, which it holds too, need not be made."""
        archived = self._archive.user(user_id)
        if stored.forgotten_ms is not None:
            archived = archived.after(stored.forgotten_ms)
        if len(archived.texts):
            self._knowledge.meaning.put(archived.texts, archived.vectors)
        return archived.turns

    def users(self) -> set[str]:
        """Who is at hand."""
        with self._lock:
            return set(self._states)

    def drop(self, users: Collection[str]) -> None:
        """Forgets these users; whoever asks again is loaded anew."""
        with self._lock:
            self._drops += bool(users)
            for user_id in users:
                if (state := self._states.pop(user_id, None)) is not None:
                    self._bytes -= state.nbytes
