"""A revision that is said to be at hand is the store's, whoever wrote and however late this process is told of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import turn

from rewrite_service.store import EmbeddedStore
from rewrite_service.store.known_revisions import KnownRevisions

USERS = ("ada", "bob", "eve")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("own write"), st.sets(st.sampled_from(USERS[:2]))),
        st.tuples(st.just("another's write"), st.sets(st.sampled_from(USERS[:2]))),
        st.tuples(st.just("told of a write"), st.integers(0, 2)),
        st.tuples(st.just("begin to read"), st.sampled_from(USERS[:2])),
        st.tuples(st.just("told of a read"), st.integers(0, 2)),
        st.tuples(st.just("ask"), st.sampled_from(USERS[:2])),
    ),
    min_size=4,
    max_size=20,
)


@settings(max_examples=1000)
@given(STEPS)
def test_it_is_never_one_that_was(steps: list[tuple[str, object]]) -> None:
    """Threads tell of what they wrote and read after the fact, in any order."""
    known = KnownRevisions(most=2)
    latest, truth = 7, dict.fromkeys(USERS, 0)
    writes: list[tuple[int, set[str]]] = []
    reads: list[tuple[int, str, int]] = []
    for kind, what in steps:
        if kind.endswith("write") and isinstance(what, set):
            latest += 1
            truth |= {user: latest for user in what}
            if kind == "own write":
                writes.append((latest, what))
        elif kind == "begin to read":
            reads.append((latest, str(what), truth[str(what)]))
        elif kind == "told of a write" and writes:
            known.wrote(*writes.pop(int(str(what)) % len(writes)))
        elif kind == "told of a read" and reads:
            known.read(*reads.pop(int(str(what)) % len(reads)))
        elif kind == "ask":
            assert known.of(str(what), latest) in (None, truth[str(what)])
    # Not at each step, since whatever is asked for in vain is dropped.
    for user in USERS:
        assert known.of(user, latest) in (None, truth[user])


def test_it_stays_known_while_this_process_alone_writes() -> None:
    known = KnownRevisions()
    known.read(7, "ada", 3)
    known.read(7, "bob", 4)
    known.wrote(8, ["bob"])
    known.wrote(9, [])
    assert (known.of("ada", 9), known.of("bob", 9), known.of("eve", 9)) == (3, None, None)
    known.wrote(11, ["bob"])  # the tenth was somebody else's
    assert known.of("ada", 11) is None


def test_ids_are_not_kept_for_nothing() -> None:
    known = KnownRevisions(most=100)
    for n in range(1000):
        known.read(7, f"user {n}", n)
        assert len(known._revisions) <= 100
    assert known.of("user 999", 8) is None and not known._revisions


_APPEND_ONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_contract import turn
from rewrite_service.store import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.append([turn(name="theirs", at=2_000)])
store.close()
"""


def test_another_process_writes(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.append([turn()])
    before = store.revision("ada")
    assert store.revision_at_hand("ada") == before
    command = [sys.executable, "-c", _APPEND_ONE, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(command, check=True, timeout=60)
    assert store.revision_at_hand("ada") is None
    assert store.revision("ada") > before and store.revision_at_hand("ada") == store.revision("ada")
    store.close()
    assert store.revision_at_hand("ada") is None


def test_a_write_that_changes_nothing_takes_nothing_away(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.append([turn()])
    held = store.revision("ada")
    store.append([turn()])
    store.append([turn("bob")])
    store.add_counts("x", {b"key": (1,)})
    store.put_note("ada", "x", b"note", held)
    assert store.revision_at_hand("ada") == held == store.revision("ada")
    store.close()


def test_the_one_who_wrote_never_finds_the_revision_before(tmp_path: Path) -> None:
    """While others read and write, and while the map grows."""
    store = EmbeddedStore(tmp_path, map_bytes=128 * 1024, max_turns_per_user=50)
    done, wrong = threading.Event(), []

    def talk(user: str) -> None:
        for n in range(150):
            before = store.revision(user)
            store.append([turn(user, f"i-{n}", n + 1, "x" * 500)])
            at_hand = store.revision_at_hand(user)
            if at_hand is not None and at_hand <= before:
                wrong.append((user, n))

    def read() -> None:
        while not done.is_set():
            for user in USERS:
                store.revision(user)

    talking = [threading.Thread(target=talk, args=(user,)) for user in USERS]
    reading = threading.Thread(target=read)
    for thread in (*talking, reading):
        thread.start()
    for thread in talking:
        thread.join()
    done.set()
    reading.join()
    assert not wrong
    assert [store.revision_at_hand(user) for user in USERS if store.revision(user)] == list(map(store.revision, USERS))
    store.close()
