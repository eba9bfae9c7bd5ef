"""Decisions made a moment ago, for requests that come again: hedged or repeated by the caller, or sent twice.

The key holds all that a decision depends on: who asks (whole, never a hash), what was heard, the situation, the turns
known of the user (the store's revision), and a span of some seconds, since gaps and ages grow with time. The bundle is
the cache's own: a new one starts with an empty cache. So nobody is ever answered out of anybody else's entry, and what
a user does makes their entries unreachable at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from retriever.interaction import Interaction, Request
from retriever.normalise import normalise
from rewrite_service.decision import Decision, Layer

_BYTES_AN_ENTRY = 1800
"""The tuples of a key, a decision with its stage times, and the links between; texts count besides."""
_BYTES_A_TEXT = 60


def key_of(request: Request, revision: int, layers: frozenset[Layer], span_ms: int) -> Hashable:
    """Equal exactly for requests that the pipeline cannot tell apart, but for some seconds of time."""
    c = request.context
    return (
        request.user_id,
        revision,
        normalise(request.query),
        request.alternatives,
        request.channel,
        request.asr_confidence,
        (c.device_id, c.device_type, c.has_screen, c.room, c.locale, c.city, c.state),
        frozenset(c.device_state.items()),
        layers,
        request.timestamp_ms // span_ms,
    )


def _size(request: Request, situation_ids: Collection[str], decision: Decision) -> int:
    """Bytes of an entry, roughly: two for each character of what a caller may make long, and the rest."""
    c = request.context
    texts = [request.user_id, request.query, *request.alternatives, *situation_ids, decision.text or ""]
    texts += [c.device_id, c.device_type, c.room, c.locale, c.city, c.state]
    texts += [part for entry in c.device_state.items() for part in entry]
    return _BYTES_AN_ENTRY + sum(_BYTES_A_TEXT + 2 * len(text) for text in texts)


@dataclass(frozen=True, slots=True)
class _Entry:
    """`user_id`: for whom. `situation_ids`, `situation_ms`: of the turns that the decision leant on, the latest of
    their times. `size`: in bytes."""

    user_id: str
    decision: Decision
    situation_ids: Collection[str]
    situation_ms: int
    size: int

    def serves(self, request: Request) -> bool:
        """Whether all that the decision leant on is of this request's situation, too."""
        return request.interaction_id not in self.situation_ids and request.timestamp_ms >= self.situation_ms


class DecisionCache:
    """Bounded in bytes; least recently asked first out. Thread-safe.

    LRU, not W-TinyLFU: requests come again within seconds or not at all, and an entry that is old is never asked for
    again, however often it once was (docs/decisions/0014-caches.md).
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.nbytes = max_bytes, 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, request: Request, *, misses_count: bool = True) -> Decision | None:
        """The decision under `key`, which is that of `request`. None where it leant on a turn that is none of this
        request's situation: the very turn that asks now, or one that came later. `misses_count`: whether there not
        being one counts as a miss, for who will not ask again for the same request."""
        with self._lock:
            found = self._entries.get(key)
            if found is None or not found.serves(request):
                self.misses += misses_count
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return found.decision

    def holds(self, key: Hashable, request: Request) -> bool:
        """Whether `get` would find one; counts as no look-up."""
        with self._lock:
            found = self._entries.get(key)
        return found is not None and found.serves(request)

    def put(self, key: Hashable, request: Request, decision: Decision, situation: Sequence[Interaction]) -> None:
        """Remembers the decision for `request`, whose key is `key`. Only what nothing had to be left out for, no turn
        of the user either: the caller sees to that. `situation`: the turns that it leant on."""
        ids = frozenset(turn.request.interaction_id for turn in situation)
        since = max((turn.request.timestamp_ms for turn in situation), default=0)
        size = _size(request, ids, decision)
        if size > self._max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self.nbytes += size - (old.size if old else 0)
            self._entries[key] = _Entry(request.user_id, decision, ids, since, size)
            while self.nbytes > self._max_bytes:
                self.nbytes -= self._entries.popitem(last=False)[1].size

    def users(self) -> set[str]:
        """Whose decisions are held."""
        with self._lock:
            return {entry.user_id for entry in self._entries.values()}

    def drop(self, users: Collection[str]) -> None:
        """Forgets all decisions for these users."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if entry.user_id in users]:
                self.nbytes -= self._entries.pop(key).size
