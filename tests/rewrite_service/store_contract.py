"""What every store must do. A backend's test module subclasses `StoreContract` and says how to make one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import ANY_TEXT, feedbacks, interactions

from retriever.interaction import Explicit, Feedback, Interaction, Outcome, Request
from rewrite_service.errors import StoreError
from rewrite_service.store import Store, TurnFeedback, merged

AWKWARD_USERS = ["a", "aa", "a\x00", "\x00", "a\x00a", "ä", "a\u0308", "用户", "🎧", "x" * 127, "x" * 128, "🎧" * 128]


def turn(user: str = "ada", name: str = "i-1", at: int = 1_000, query: str = "play jazz") -> Interaction:
    return Interaction(Request(name, user, at, query), None, Outcome.OK)


class DictStore:
    """The slow, obvious twin."""

    def __init__(self, max_turns: int) -> None:
        self.max_turns = max_turns
        self.users: dict[str, dict[str, Interaction]] = {}

    def append(self, turns: list[Interaction]) -> int:
        new = 0
        for added in turns:
            held = self.users.setdefault(added.request.user_id, {})
            if added.request.interaction_id not in held:
                held[added.request.interaction_id] = added
                new += 1
        for user in self.users:
            self.users[user] = {kept.request.interaction_id: kept for kept in self.turns(user)[-self.max_turns :]}
        return new

    def amend(self, feedback: list[TurnFeedback]) -> int:
        found = 0
        for late in feedback:
            held = self.users.get(late.user_id, {})
            if late.interaction_id in held:
                known = held[late.interaction_id]
                held[late.interaction_id] = Interaction(
                    known.request, known.interpretation, known.outcome, merged(known.feedback, late.feedback)
                )
                found += 1
        return found

    def turns(self, user: str) -> list[Interaction]:
        return sorted(
            self.users.get(user, {}).values(), key=lambda kept: (kept.request.timestamp_ms, kept.request.interaction_id)
        )


few_users = st.sampled_from(["a", "aa", "a\x00"])
few_names = st.sampled_from(["1", "2", "10", "é", "🎧" * 128, "🎧" * 127 + "x"])
few_stamps = st.integers(1, 4)
steps = st.lists(
    st.one_of(
        st.lists(interactions(ANY_TEXT, few_users, few_names, few_stamps), max_size=6),
        st.lists(st.builds(TurnFeedback, few_users, few_names, feedbacks), min_size=1, max_size=3),
    ),
    max_size=8,
)


class StoreContract:
    """Subclasses give `opened`: a context manager with an empty store that keeps `max_turns` of each user."""

    @contextmanager
    def opened(self, max_turns: int = 2000) -> Iterator[Store]:
        raise NotImplementedError
        yield

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with self.opened() as store:
            yield store

    def test_nothing_is_known_of_a_stranger(self, store: Store) -> None:
        assert (store.turns("nobody"), store.revision("nobody"), store.rewrites("nobody")) == ([], 0, {})

    def test_a_turn_comes_back_as_it_was(self, store: Store) -> None:
        assert store.append([turn()]) == 1
        assert store.turns("ada") == [turn()]

    def test_appending_twice_changes_nothing(self, store: Store) -> None:
        store.append([turn(), turn(name="i-2")])
        revision = store.revision("ada")
        assert store.append([turn(), turn(query="something else", at=5), turn(name="i-2")]) == 0
        assert store.turns("ada") == [turn(), turn(name="i-2")]
        assert store.revision("ada") == revision

    def test_a_repetition_within_one_call_counts_once(self, store: Store) -> None:
        assert store.append([turn(), turn(query="again")]) == 1
        assert store.turns("ada") == [turn()]

    def test_the_same_id_of_two_users_is_two_turns(self, store: Store) -> None:
        assert store.append([turn("ada"), turn("bob")]) == 2

    def test_turns_come_in_order_of_time_then_id(self, store: Store) -> None:
        added = [turn(name="b", at=2), turn(name="a", at=2), turn(name="c", at=1), turn(name="ab", at=2)]
        store.append(added[:2])
        store.append(added[2:])
        assert [kept.request.interaction_id for kept in store.turns("ada")] == ["c", "a", "ab", "b"]

    def test_no_user_meets_another(self, store: Store) -> None:
        for user in AWKWARD_USERS:
            store.append([turn(user, query=f"query of {user}"), turn(user, name="i-2", at=2_000)])
        for user in AWKWARD_USERS:
            assert {kept.request.user_id for kept in store.turns(user)} == {user}
            assert len(store.turns(user)) == 2
            assert store.revision(user) == 2 - 1
        store.amend([TurnFeedback("a", "i-1", Feedback(barge_in=True), "play soul")])
        touched = [user for user in AWKWARD_USERS if store.turns(user)[0].feedback.barge_in or store.rewrites(user)]
        assert touched == ["a"]

    def test_only_the_newest_turns_are_kept(self) -> None:
        with self.opened(max_turns=3) as store:
            store.append([turn(name=f"i-{n}", at=n) for n in (5, 1, 4)] + [turn("bob", "i-1", 1)])
            assert store.append([turn(name=f"i-{n}", at=n) for n in (3, 2, 6)]) == 3
            assert [kept.request.timestamp_ms for kept in store.turns("ada")] == [4, 5, 6]
            assert len(store.turns("bob")) == 1
            # A dropped turn is forgotten altogether, so its coming again is news, and it is dropped again.
            assert store.append([turn(name="i-1", at=1)]) == 1
            assert [kept.request.timestamp_ms for kept in store.turns("ada")] == [4, 5, 6]

    def test_revision_grows_with_each_change_of_its_user_alone(self, store: Store) -> None:
        seen = [store.revision("ada")]
        store.append([turn()])
        seen.append(store.revision("ada"))
        store.append([turn(name="i-2")])
        seen.append(store.revision("ada"))
        store.amend([TurnFeedback("ada", "i-1", Feedback(barge_in=True))])
        seen.append(store.revision("ada"))
        assert seen == sorted(set(seen))
        assert store.revision("bob") == 0
        store.append([turn("bob")])
        store.amend([TurnFeedback("ada", "i-1", Feedback(barge_in=True)), TurnFeedback("ada", "i-9", Feedback())])
        assert store.revision("ada") == seen[-1]

    def test_late_feedback_adds_to_what_is_known(self, store: Store) -> None:
        store.append([turn(), turn(name="i-2")])
        assert store.amend([TurnFeedback("ada", "i-1", Feedback(barge_in=True, dwell_s=3.5))]) == 1
        assert store.amend([TurnFeedback("ada", "i-1", Feedback(explicit=Explicit.NO), "play soul")]) == 1
        assert [kept.feedback for kept in store.turns("ada")] == [Feedback(True, Explicit.NO, 3.5), Feedback()]
        assert store.rewrites("ada") == {"i-1": "play soul"}
        store.amend([TurnFeedback("ada", "i-1", Feedback())])
        assert store.rewrites("ada") == {"i-1": "play soul"}

    def test_feedback_on_unknown_turns_is_passed_over(self, store: Store) -> None:
        store.append([turn("bob")])
        late = [TurnFeedback("ada", "i-1", Feedback(True)), TurnFeedback("bob", "i-2", Feedback(True))]
        assert store.amend(late) == 0
        assert store.turns("bob") == [turn("bob")]
        assert store.turns("ada") == []

    def test_empty_calls_are_fine(self, store: Store) -> None:
        assert (store.append([]), store.amend([])) == (0, 0)

    def test_a_closed_store_says_so(self) -> None:
        with self.opened() as store:
            store.close()
            store.close()
            for call in (lambda: store.turns("ada"), lambda: store.revision("ada"), lambda: store.append([turn()])):
                with pytest.raises(StoreError):
                    call()

    def test_threads_read_while_others_write(self, store: Store) -> None:
        def write(writer: int) -> int:
            return sum(store.append([turn(name=f"{writer}-{n}", at=n + 1)]) for n in range(20))

        def read(_: int) -> bool:
            stamps = [kept.request.timestamp_ms for kept in store.turns("ada")]
            return stamps == sorted(stamps)

        with ThreadPoolExecutor(6) as pool:
            reads = pool.map(read, range(60))
            assert sum(pool.map(write, range(3))) == 60
            assert all(reads)
        assert len(store.turns("ada")) == 60

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
    @given(steps)
    def test_does_what_the_obvious_twin_does(self, taken: list[list[Interaction] | list[TurnFeedback]]) -> None:
        twin = DictStore(max_turns=3)
        with self.opened(max_turns=3) as store:
            for step in taken:
                if step and isinstance(step[0], TurnFeedback):
                    assert store.amend(step) == twin.amend(step)
                else:
                    assert store.append(step) == twin.append(step)
                for user in ("a", "aa", "a\x00"):
                    assert store.turns(user) == twin.turns(user)
