"""What users ask about themselves: to take something down, to list it, to take it back, to be forgotten; and
what operators ask of them: what is remembered."""

from __future__ import annotations

from collections.abc import Sequence

from retriever.preference import Preference
from rewrite_service.bundle import Bundle
from rewrite_service.experience_feed import ExperienceFeed
from rewrite_service.forgetting import CacheByUser, Forgetter, ForgottenUser
from rewrite_service.lesson import Lesson, Taught, learn_lesson
from rewrite_service.store.base import Store
from rewrite_service.user_description import UserDescription, describe
from rewrite_service.user_state import UserStates


class People:
    """Of one pipeline. Safe to call from several threads. Every method raises StoreError where the store fails."""

    def __init__(
        self,
        bundle: Bundle,
        store: Store,
        users: UserStates,
        experience: ExperienceFeed,
        by_user: Sequence[CacheByUser],
    ) -> None:
        """`by_user`: all caches of the pipeline that hold things by user, `users` and `experience` among them."""
        self._knowledge, self._archive, self._store = bundle.knowledge, bundle.people, store
        self._users, self._experience = users, experience
        self._forgetter = Forgetter(store, bundle.people, bundle.knowledge, by_user)

    def teach(self, lesson: Lesson) -> Taught:
        """Takes a lesson down; durable on return, and it counts from the user's next request. Raises InvalidRequest
        where it is not understood, LimitReached."""
        found = self._users.look(lesson.user_id)
        state = found.state or self._users.load(lesson.user_id, found.stored, found.drops)
        taught = learn_lesson(lesson, self._knowledge, state.layer.fragments)
        self._store.put_preference(lesson.user_id, taught.preference)
        return taught

    def preferences(self, user_id: str) -> tuple[Preference, ...]:
        """What the user has taught, the oldest first."""
        return self._store.user(user_id).preferences

    def remove_preference(self, user_id: str, preference_id: str) -> bool:
        """Takes a preference back; False where the user has none of that id."""
        return self._store.remove_preference(user_id, preference_id)

    def describe(self, user_id: str) -> UserDescription:
        """What is remembered of the user, for people to read."""
        found = self._users.look(user_id)
        state = found.state or self._users.load(user_id, found.stored, found.drops)
        archived, stored = self._archive.user(user_id), self._store.user(user_id)
        return describe(archived, stored, state, self._experience.now, self._knowledge.reactions)

    def forget(self, user_id: str) -> ForgottenUser:
        """Removes all that is held of the user, in the store and in this process's memory."""
        return self._forgetter.forget(user_id)

    def drop_forgotten(self) -> None:
        """Drops from memory whom other processes have forgotten."""
        self._forgetter.sweep()
