"""The caches of one pipeline together: how they do, and which of them have at hand what a request needs."""

from __future__ import annotations

from contextlib import suppress

from retriever.interaction import Request
from retriever.normalise import normalise
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge
from rewrite_service.decision import Layer
from rewrite_service.decision_cache import DecisionCache, key_of
from rewrite_service.errors import StoreError
from rewrite_service.store.base import Store
from rewrite_service.user_state import UserStates


class Caches:
    """`decisions`: None where none are remembered; `span_ms`: as the pipeline has it."""

    def __init__(
        self, knowledge: Knowledge, store: Store, users: UserStates, decisions: DecisionCache | None, span_ms: int
    ) -> None:
        self._meaning, self._sound = knowledge.meaning, knowledge.sound
        self._store, self._users, self._decisions, self._span_ms = store, users, decisions, span_ms

    def figures(self) -> dict[str, dict[str, int]]:
        """Of each, by its name in the metrics: hits and misses since the start, bytes and entries that it holds."""
        caches: dict[str, CachedEncoder | UserStates | DecisionCache | None] = {
            "text_vectors": self._meaning,
            "text_sounds": self._sound,
            "users": self._users,
            "decisions": self._decisions,
        }
        return {
            name: {"hits": cache.hits, "misses": cache.misses, "bytes": cache.nbytes, "entries": len(cache)}
            for name, cache in caches.items()
            if cache is not None
        }

    def at_hand(self, request: Request) -> dict[str, bool]:
        """Of each, whether it has what the request needs: asked before the request is decided, which puts it there.
        Counts as no look-up. Some hold what others asked, and so tell of it. Of a user whom the store cannot tell,
        nothing is said."""
        query = normalise(request.query)
        found = {"text_vectors": query in self._meaning, "text_sounds": query in self._sound}
        with suppress(StoreError):
            revision = self._store.revision(request.user_id)
            found["users"] = self._users.holds(request.user_id, revision)
            if self._decisions is not None:
                key = key_of(request, revision, frozenset(Layer), self._span_ms)
                found["decisions"] = self._decisions.holds(key, request)
        return found
