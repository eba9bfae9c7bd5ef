"""What every store must do. A backend's test module subclasses `StoreContract` and says how to make one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ANY_TEXT, feedbacks, interactions

from retriever.interaction import Explicit, Feedback, Interaction, Outcome, Request
from retriever.preference import Preference
from rewrite_service.errors import LimitReached, StoreError
from rewrite_service.store import Forgotten, Store, TurnFeedback, UserRecord, merged, user_key
from rewrite_service.store.base import MAX_PREFERENCES
from rewrite_service.store.usefulness import HALF_LIFE_MS, PROTECTED_MS

AWKWARD_USERS = ["a", "aa", "a\x00", "\x00", "a\x00a", "ä", "a\u0308", "用户", "🎧", "x" * 127, "x" * 128, "🎧" * 128]


def turn(user: str = "ada", name: str = "i-1", at: int = 1_000, query: str = "play jazz") -> Interaction:
    return Interaction(Request(name, user, at, query), None, Outcome.OK)


def turns_of(store: Store, user: str) -> list[Interaction]:
    return list(store.user(user).turns)


def taught(name: str = "p-1", value: str = "warriors", at: int = 1_000) -> Preference:
    return Preference(name, "fact", "team", value, f"i'm a {value} fan", at)


class DictStore:
    """The slow, obvious twin."""

    def __init__(self, max_turns: int) -> None:
        self.max_turns = max_turns
        self.users: dict[str, dict[str, Interaction]] = {}
        self.preferences: dict[str, dict[str, Preference]] = {}
        self.forgotten: dict[str, int] = {}
        self.newest: dict[str, int] = {}

    def append(self, turns: list[Interaction]) -> int:
        new = 0
        for added in turns:
            request = added.request
            held = self.users.setdefault(request.user_id, {})
            if request.timestamp_ms > self.forgotten.get(request.user_id, 0) and request.interaction_id not in held:
                held[request.interaction_id] = added
                self.newest[request.user_id] = max(request.timestamp_ms, self.newest.get(request.user_id, 0))
                new += 1
        self.settle()
        return new

    def settle(self) -> None:
        for user, held in self.users.items():

            def rank(turn: Interaction, newest: int = self.newest.get(user, 0)) -> tuple[bool, float, int, bytes]:
                at, name = turn.request.timestamp_ms, turn.request.interaction_id.encode()
                age = (newest - at) / HALF_LIFE_MS
                value = {Explicit.YES: 4, Explicit.NO: 1}.get(
                    turn.feedback.explicit, 2 if turn.outcome is Outcome.OK and not turn.feedback.barge_in else 1
                )
                usefulness = round(math.log2(value) - age, 9)
                return newest - at < PROTECTED_MS, usefulness, at, blake2b(name, digest_size=16).digest()

            for dropped in sorted(held.values(), key=rank)[: max(0, len(held) - self.max_turns)]:
                del held[dropped.request.interaction_id]

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

    def forget(self, user: str, at_ms: int) -> Forgotten:
        self.newest.pop(user, None)
        self.forgotten[user] = max(at_ms, self.forgotten.get(user, 0))
        return Forgotten(len(self.users.pop(user, {})), len(self.preferences.pop(user, {})))

    def put_preference(self, user: str, preference: Preference) -> None:
        self.preferences.setdefault(user, {})[preference.preference_id] = preference

    def remove_preference(self, user: str, name: str) -> bool:
        return self.preferences.get(user, {}).pop(name, None) is not None

    def user(self, user: str) -> tuple[list[Interaction], list[Preference], int | None]:
        return (
            sorted(self.users.get(user, {}).values(), key=lambda t: (t.request.timestamp_ms, t.request.interaction_id)),
            sorted(self.preferences.get(user, {}).values(), key=lambda p: (p.taught_ms, p.preference_id)),
            self.forgotten.get(user),
        )


few_users = st.sampled_from(["a", "aa", "a\x00"])
few_names = st.sampled_from(["1", "2", "10", "é", "🎧" * 128, "🎧" * 127 + "x"])
few_stamps = st.integers(1, 4) | st.integers(1, 12).map(lambda days: days * 24 * 3600 * 1000)
few_preferences = st.builds(Preference, few_names, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, st.integers(1, 3))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(interactions(ANY_TEXT, few_users, few_names, few_stamps), max_size=6)),
        st.tuples(
            st.just("amend"),
            st.lists(st.builds(TurnFeedback, few_users, few_names, feedbacks), min_size=1, max_size=3),
        ),
        st.tuples(st.just("forget"), few_users, few_stamps),
        st.tuples(st.just("put_preference"), few_users, few_preferences),
        st.tuples(st.just("remove_preference"), few_users, few_names),
    ),
    max_size=8,
)


class StoreContract:
    """Subclasses give `opened`: a context manager with an empty store of these bounds."""

    examples = 60

    @contextmanager
    def opened(
        self, max_turns: int = 2000, max_bytes: int = 1 << 20, max_count_rows: int = 1000
    ) -> Iterator[Store]:
        raise NotImplementedError
        yield

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with self.opened() as store:
            yield store

    def test_nothing_is_known_of_a_stranger(self, store: Store) -> None:
        assert (store.user("nobody"), store.revision("nobody")) == (UserRecord(), 0)

    def test_a_turn_comes_back_as_it_was(self, store: Store) -> None:
        assert store.append([turn()]) == 1
        assert turns_of(store, "ada") == [turn()]

    def test_appending_twice_changes_nothing(self, store: Store) -> None:
        store.append([turn(), turn(name="i-2")])
        revision = store.revision("ada")
        assert store.append([turn(), turn(query="something else", at=5), turn(name="i-2")]) == 0
        assert turns_of(store, "ada") == [turn(), turn(name="i-2")]
        assert store.revision("ada") == revision

    def test_a_repetition_within_one_call_counts_once(self, store: Store) -> None:
        assert store.append([turn(), turn(query="again")]) == 1
        assert turns_of(store, "ada") == [turn()]

    def test_the_same_id_of_two_users_is_two_turns(self, store: Store) -> None:
        assert store.append([turn("ada"), turn("bob")]) == 2

    def test_turns_come_in_order_of_time_then_id(self, store: Store) -> None:
        added = [turn(name="b", at=2), turn(name="a", at=2), turn(name="c", at=1), turn(name="ab", at=2)]
        store.append(added[:2])
        store.append(added[2:])
        assert [kept.request.interaction_id for kept in turns_of(store, "ada")] == ["c", "a", "ab", "b"]

    def test_no_user_meets_another(self, store: Store) -> None:
        for user in AWKWARD_USERS:
            store.append([turn(user, query=f"query of {user}"), turn(user, name="i-2", at=2_000)])
        for user in AWKWARD_USERS:
            assert {kept.request.user_id for kept in turns_of(store, user)} == {user}
            assert len(turns_of(store, user)) == 2
        store.amend([TurnFeedback("a", "i-1", Feedback(barge_in=True), "play soul")])
        store.put_preference("aa", taught())
        records = {user: store.user(user) for user in AWKWARD_USERS}
        assert [user for user, held in records.items() if held.turns[0].feedback.barge_in or held.rewrites] == ["a"]
        assert [user for user, held in records.items() if held.preferences] == ["aa"]
        store.forget("a\x00", 5_000)
        assert {user for user in AWKWARD_USERS if store.user(user) != records[user]} == {"a\x00"}

    def test_only_the_newest_turns_are_kept(self) -> None:
        with self.opened(max_turns=3) as store:
            store.append([turn(name=f"i-{n}", at=n) for n in (5, 1, 4)] + [turn("bob", "i-1", 1)])
            assert store.append([turn(name=f"i-{n}", at=n) for n in (3, 2, 6)]) == 3
            assert [kept.request.timestamp_ms for kept in turns_of(store, "ada")] == [4, 5, 6]
            assert len(turns_of(store, "bob")) == 1
            # A dropped turn is forgotten altogether, so its coming again is news, and it is dropped again.
            assert store.append([turn(name="i-1", at=1)]) == 1
            assert [kept.request.timestamp_ms for kept in turns_of(store, "ada")] == [4, 5, 6]

    def test_the_least_useful_turns_go_first(self) -> None:
        """A turn that served outlives one that failed a few days later, and one that was praised outlives both; but
        nothing of the last hour goes while there is anything else."""
        day = 24 * 3600 * 1000
        with self.opened(max_turns=3) as store:
            praised, served, failed = (turn(name=name, at=(n + 1) * day) for n, name in enumerate("abc"))
            praised = replace(praised, feedback=Feedback(explicit=Explicit.YES))
            failed = replace(failed, outcome=Outcome.NO_MATCH)
            store.append([praised, served, failed])
            store.append([turn(name="d", at=4 * day)])
            assert [kept.request.interaction_id for kept in turns_of(store, "ada")] == ["a", "b", "d"]
            store.amend([TurnFeedback("ada", "b", Feedback(barge_in=True))])  # so it did not serve after all
            last = replace(turn(name="e", at=4 * day + 1), outcome=Outcome.NO_MATCH)
            store.append([last])
            assert [kept.request.interaction_id for kept in turns_of(store, "ada")] == ["a", "d", "e"]
            store.append([replace(last, request=replace(last.request, interaction_id="f"))])
            assert [kept.request.interaction_id for kept in turns_of(store, "ada")] == ["d", "e", "f"]

    def test_a_user_is_bounded_in_bytes_too(self) -> None:
        with self.opened(max_bytes=20_000) as store:
            for n in range(1, 40):
                store.append([turn(name=f"i-{n}", at=n, query="x" * 1000)])
            kept = [kept.request.timestamp_ms for kept in turns_of(store, "ada")]
            assert 15 <= len(kept) <= 20 and kept == list(range(40 - len(kept), 40))
            assert store.append([turn(name="big", at=50, query="x" * 30_000)]) == 1
            assert [kept.request.timestamp_ms for kept in turns_of(store, "ada")] == kept, "one too big drives none out"
            store.append([turn(name="medium", at=60, query="x" * 15_000)])
            assert [kept.request.interaction_id for kept in turns_of(store, "ada")][-2:] == ["i-39", "medium"]

    def test_a_revision_at_hand_is_the_revision(self, store: Store) -> None:
        changes = (
            lambda: store.append([turn(), turn("bob")]),
            lambda: store.amend([TurnFeedback("ada", "i-1", Feedback(barge_in=True))]),
            lambda: store.put_preference("ada", taught()),
            lambda: store.remove_preference("ada", "p-1"),
            lambda: store.forget("ada", 10),
        )
        for change in changes:
            before = {user: store.revision(user) for user in ("ada", "bob")}
            change()
            for user, old in before.items():
                at_hand = store.revision_at_hand(user)  # before anything else has asked for it
                assert at_hand in (None, store.revision(user))
                assert at_hand is None or user == "bob" or at_hand > old

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
        for change in (
            lambda: store.put_preference("ada", taught()),
            lambda: store.remove_preference("ada", "p-1"),
            lambda: store.forget("ada", 10),
            lambda: store.forget("ada", 10),
            lambda: store.append([turn(at=20)]),
        ):
            change()
            seen.append(store.revision("ada"))
            assert store.user("ada").revision == seen[-1]
        assert seen == sorted(set(seen))

    def test_late_feedback_adds_to_what_is_known(self, store: Store) -> None:
        store.append([turn(), turn(name="i-2")])
        assert store.amend([TurnFeedback("ada", "i-1", Feedback(barge_in=True, dwell_s=3.5))]) == 1
        assert store.amend([TurnFeedback("ada", "i-1", Feedback(explicit=Explicit.NO), "play soul")]) == 1
        assert [kept.feedback for kept in turns_of(store, "ada")] == [Feedback(True, Explicit.NO, 3.5), Feedback()]
        assert store.user("ada").rewrites == {"i-1": "play soul"}
        store.amend([TurnFeedback("ada", "i-1", Feedback())])
        assert store.user("ada").rewrites == {"i-1": "play soul"}

    def test_feedback_on_unknown_turns_is_passed_over(self, store: Store) -> None:
        store.append([turn("bob")])
        late = [TurnFeedback("ada", "i-1", Feedback(True)), TurnFeedback("bob", "i-2", Feedback(True))]
        assert store.amend(late) == 0
        assert turns_of(store, "bob") == [turn("bob")]
        assert turns_of(store, "ada") == []

    def test_preferences_are_put_replaced_and_removed(self, store: Store) -> None:
        store.put_preference("ada", taught("p-2", at=2_000))
        store.put_preference("ada", taught("p-1"))
        assert store.user("ada").preferences == (taught("p-1"), taught("p-2", at=2_000))
        revision = store.revision("ada")
        store.put_preference("ada", taught("p-1"))
        assert store.revision("ada") == revision
        store.put_preference("ada", taught("p-1", "lakers"))
        assert store.user("ada").preferences[0].value == "lakers"
        assert [store.remove_preference("ada", name) for name in ("p-1", "p-1", "p-9")] == [True, False, False]
        assert not store.remove_preference("bob", "p-2")
        assert store.user("ada").preferences == (taught("p-2", at=2_000),)
        assert store.user("ada").turns == ()

    def test_preferences_are_bounded_in_number(self, store: Store) -> None:
        for n in range(MAX_PREFERENCES):
            store.put_preference("ada", taught(f"p-{n}"))
        with pytest.raises(LimitReached, match="remove one first"):
            store.put_preference("ada", taught("one-more"))
        store.put_preference("ada", taught("p-0", "lakers"))
        store.remove_preference("ada", "p-1")
        store.put_preference("ada", taught("one-more"))
        assert len(store.user("ada").preferences) == MAX_PREFERENCES

    def test_forgetting_removes_everything_and_is_remembered(self, store: Store) -> None:
        store.append([turn(at=1_000), turn(name="i-2", at=9_000), turn("bob")])
        store.amend([TurnFeedback("ada", "i-1", Feedback(True), "play soul")])
        store.put_preference("ada", taught())
        assert store.forget("ada", 5_000) == Forgotten(2, 1)
        assert store.user("ada") == UserRecord(store.revision("ada"), forgotten_ms=5_000)
        assert turns_of(store, "bob") == [turn("bob")]
        # What comes late from before it is not taken; what comes after it counts as ever.
        assert store.append([turn(at=1_000), turn(name="i-3", at=5_000), turn(name="i-4", at=5_001)]) == 1
        assert store.amend([TurnFeedback("ada", "i-1", Feedback(True))]) == 0
        store.put_preference("ada", taught())
        held = store.user("ada")
        assert ([kept.request.interaction_id for kept in held.turns], held.preferences) == (["i-4"], (taught(),))
        assert store.forget("ada", 100) == Forgotten(1, 1)
        assert store.user("ada").forgotten_ms == 5_000
        assert store.forget("nobody", 7) == Forgotten(0, 0)
        assert store.tombstones() == {user_key("ada"): 5_000, user_key("nobody"): 7}

    def test_counts_add_up(self, store: Store) -> None:
        store.add_counts("pairs", {b"k": (1, 0), b"\x00": (5,)})
        store.add_counts("pairs", {b"k": (2, 3, 4)})
        store.add_counts("other", {b"k": (9,)})
        store.add_counts("pairs", {})
        assert store.counts("pairs") == {b"k": (3, 3, 4), b"\x00": (5,)}
        assert (store.counts("other"), store.counts("none")) == ({b"k": (9,)}, {})
        for space, counts in (("", {}), ("a b", {}), ("x" * 33, {}), ("s", {b"": (1,)}), ("s", {b"k" * 257: (1,)}),
                              ("s", {b"k": ()}), ("s", {b"k": (-1,)}), ("s", {b"k": (1 << 31,)})):
            with pytest.raises(ValueError):
                store.add_counts(space, counts)

    def test_counts_are_bounded_in_number_and_the_rarest_go(self) -> None:
        with self.opened(max_count_rows=40) as store:
            store.add_counts("pairs", {b"often-%d" % n: (100, n) for n in range(20)})
            for n in range(10):
                store.add_counts("pairs", {b"once-%d-%d" % (n, m): (1, 0) for m in range(20)})
            held = store.counts("pairs")
            assert len(held) == 40
            assert sum(key.startswith(b"often") for key in held) >= 15, "most of what counts much has stayed"

    def test_counts_of_many_at_once_lose_nothing(self, store: Store) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: store.add_counts("pairs", {b"k": (1, n)}), range(40)))
        assert store.counts("pairs") == {b"k": (40, sum(range(40)))}

    def test_empty_calls_are_fine(self, store: Store) -> None:
        assert (store.append([]), store.amend([])) == (0, 0)

    def test_a_closed_store_says_so(self) -> None:
        with self.opened() as store:
            store.close()
            store.close()
            for call in (lambda: turns_of(store, "ada"), lambda: store.revision("ada"), lambda: store.append([turn()])):
                with pytest.raises(StoreError):
                    call()

    def test_threads_read_while_others_write(self, store: Store) -> None:
        def write(writer: int) -> int:
            return sum(store.append([turn(name=f"{writer}-{n}", at=n + 1)]) for n in range(20))

        def read(_: int) -> bool:
            stamps = [kept.request.timestamp_ms for kept in turns_of(store, "ada")]
            return stamps == sorted(stamps)

        with ThreadPoolExecutor(6) as pool:
            reads = pool.map(read, range(60))
            assert sum(pool.map(write, range(3))) == 60
            assert all(reads)
        assert len(turns_of(store, "ada")) == 60

    def test_does_what_the_obvious_twin_does(self) -> None:
        hurried = settings(max_examples=self.examples)
        hurried(given(steps)(self.compare_with_twin))()

    def compare_with_twin(self, taken: list[tuple]) -> None:
        twin = DictStore(max_turns=3)
        with self.opened(max_turns=3) as store:
            for name, *arguments in taken:
                assert getattr(store, name)(*arguments) == getattr(twin, name)(*arguments)
                for user in ("a", "aa", "a\x00"):
                    held = store.user(user)
                    assert (list(held.turns), list(held.preferences), held.forgotten_ms) == twin.user(user)
                    assert held.revision == store.revision(user)
                    assert store.fetch(user, held.revision) is None and store.fetch(user, 1).record() == held

    def test_a_note_takes_the_place_of_the_one_before(self, store: Store) -> None:
        store.append([turn("ada"), turn("bob")])
        ada, bob = store.revision("ada"), store.revision("bob")
        assert store.put_note("ada", "pairs", b"one", ada)
        assert store.put_note("ada", "pairs", b"\x00two", ada)
        assert store.put_note("ada", "other", b"x", ada)
        assert store.put_note("bob", "pairs", b"three", bob)
        assert store.notes("pairs") == {user_key("ada"): b"\x00two", user_key("bob"): b"three"}
        assert store.notes("none") == {}
        assert (store.revision("ada"), store.revision("bob")) == (ada, bob)
        assert store.put_note("ada", "pairs", b"", ada)
        assert store.notes("pairs") == {user_key("bob"): b"three"}
        for space, note in (("", b""), ("a b", b""), ("s", b"x" * 4097)):
            with pytest.raises(ValueError):
                store.put_note("ada", space, note, ada)

    def test_a_note_made_from_what_has_changed_is_not_kept(self, store: Store) -> None:
        store.append([turn()])
        made_from = store.revision("ada")
        store.append([turn(name="i-2")])
        assert not store.put_note("ada", "pairs", b"old", made_from)
        assert store.notes("pairs") == {}

    def test_nothing_is_noted_of_a_user_who_was_forgotten(self, store: Store) -> None:
        store.append([turn(), turn("bob")])
        made_from = store.revision("ada")
        store.put_note("ada", "pairs", b"note", made_from)
        store.put_note("bob", "pairs", b"kept", store.revision("bob"))
        store.forget("ada", 2_000)
        assert store.notes("pairs") == {user_key("bob"): b"kept"}
        assert not store.put_note("ada", "pairs", b"late", made_from)
        assert store.notes("pairs") == {user_key("bob"): b"kept"}
