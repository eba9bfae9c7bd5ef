"""The LMDB store: the contract of all stores, and what a process and its disk can do to it."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from store_contract import StoreContract, taught, turn, turns_of
from strategies import ANY_TEXT, interactions

from retriever.interaction import Feedback, Interaction
from retriever.preference import Preference
from rewrite_service.errors import StoreError
from rewrite_service.store import EmbeddedStore, Forgotten, user_key
from rewrite_service.store.codec import StoredTurn, decode, decode_preference, encode, encode_preference

MIB = 1024 * 1024


class TestContract(StoreContract):
    @contextmanager
    def opened(
        self, max_turns: int = 2000, max_bytes: int = MIB, max_count_rows: int = 1000
    ) -> Iterator[EmbeddedStore]:
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddedStore(
                Path(folder),
                max_turns_per_user=max_turns,
                max_bytes_per_user=max_bytes,
                max_count_rows=max_count_rows,
                map_bytes=MIB,
            )
            try:
                yield store
            finally:
                store.close()


@given(interactions(ANY_TEXT))
def test_codec_keeps_everything(stored: Interaction) -> None:
    for rewritten in (None, "", "play soul\ud800"):
        assert decode(encode(StoredTurn(stored, rewritten))) == StoredTurn(stored, rewritten)


@pytest.mark.parametrize("data", [b"", b"\x00[]", b"\xff{}", b"\x01", b"\x01[1,2]", b"\x01{", b"\x01null"])
def test_codec_refuses_what_it_does_not_know(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode(data)


def test_codec_keeps_preferences() -> None:
    preference = Preference("p\ud800", "fact", "team", "warriors", "i'm a warriors fan", 5)
    assert decode_preference(encode_preference(preference)) == preference
    assert decode_preference(b'\x01["p","fact","team","warriors","text",5]').taught_ms == 5
    for data in (b"", b"\x00[]", b"\x01[1]", b"\x01{"):
        with pytest.raises(StoreError):
            decode_preference(data)


def test_the_format_on_disk_stays_readable() -> None:
    """Bytes as the first version wrote them; when this fails, stores in use can no longer be read."""
    written = (
        b'\x01["i-1","ada",1000,"play jazz","voice",["play chess"],0.5,'
        b'["d","speaker",true,"kitchen",{"lamp":"on"},"en-US","Bonn","NRW"],'
        b'["play_music",[["genre","jazz"]]],"ok",[true,"no",3.5],"play soul"]'
    )
    assert encode(decode(written)) == written


LAYOUT_1 = {
    "turns": {
        "05cf8e6a8c713212772cac9e6f1ea94800000000000005dc692d31": b'\x01["i-1","bob",1500,"lights on","voice",[],null,'
        b'["","",false,"",{},"","",""],null,"ok",[false,null,null],null]',
        "c6ef43c47f8c23627ee5b9f8f5cb406c00000000000003e8692d31": b'\x01["i-1","ada",1000,"play jazz","voice",[],null,'
        b'["","",false,"",{},"","",""],null,"no_match",[true,null,null],"play chess"]',
        "c6ef43c47f8c23627ee5b9f8f5cb406c00000000000007d0692d32": b'\x01["i-2","ada",2000,"play soul","voice",[],null,'
        b'["","",false,"",{},"","",""],["play_music",[["genre","soul"]]],"ok",[false,null,null],null]',
    },
    "ids": {
        "05cf8e6a8c713212772cac9e6f1ea948126843bcd3cd5727e2d7882aca8059fa": b"\0\0\0\0\0\0\x05\xdc",
        "c6ef43c47f8c23627ee5b9f8f5cb406c126843bcd3cd5727e2d7882aca8059fa": b"\0\0\0\0\0\0\x03\xe8",
        "c6ef43c47f8c23627ee5b9f8f5cb406c9cee42db44ec8192a47ce563e1b0f4e3": b"\0\0\0\0\0\0\x07\xd0",
    },
    "users": {
        "05cf8e6a8c713212772cac9e6f1ea948": b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01",
        "c6ef43c47f8c23627ee5b9f8f5cb406c": b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02",
    },
    "about": {b"layout".hex(): b"1"},
}
"""What the first version wrote; when its test fails, stores in use can no longer be opened."""


def test_a_store_of_the_first_layout_opens_and_goes_on(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=4) as environment:
        for name, rows in LAYOUT_1.items():
            database = environment.open_db(name.encode())
            with environment.begin(write=True, db=database) as transaction:
                for key, row in rows.items():
                    transaction.put(bytes.fromhex(key), row)
    for _ in range(2):  # the second time it is of the newest layout
        store = EmbeddedStore(tmp_path, max_turns_per_user=2)
        ada = store.user("ada")
        assert [kept.request.query for kept in ada.turns] == ["play jazz", "play soul"]
        assert (ada.rewrites, ada.revision, ada.preferences, ada.forgotten_ms) == ({"i-1": "play chess"}, 2, (), None)
        assert [kept.request.query for kept in store.user("bob").turns] == ["lights on"]
        assert store.append([replace(turn(name="i-2"), feedback=Feedback(True))]) == 0
        store.close()
    store = EmbeddedStore(tmp_path, max_turns_per_user=2)
    store.append([turn(name="i-3", at=1_500)])  # the order to drop turns in was made for the old ones too
    assert [kept.request.interaction_id for kept in turns_of(store, "ada")] == ["i-3", "i-2"]
    assert store.forget("ada", 3_000) == Forgotten(2, 0)
    store.close()
    left = _everything_in(tmp_path)
    assert not any(b"play" in row or b"ada" in row for row in left.values())
    assert [key for key in left if key.startswith(user_key("ada"))] == [user_key("ada")]


def test_a_store_of_a_later_layout_is_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=4) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"layout", b"99", db=environment.open_db(b"about", txn=transaction))
    with pytest.raises(StoreError, match="layout b'99'"):
        EmbeddedStore(tmp_path)


def test_nothing_of_who_was_forgotten_stays_in_any_row(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.append([turn("ada", query="a secret"), turn("bob", query="an open thing")])
    store.put_preference("ada", taught(value="a secret"))
    store.forget("ada", 2_000)
    store.close()
    rows = _everything_in(tmp_path)
    assert any(b"an open thing" in row for row in rows.values())
    assert not any(b"secret" in row or b"ada" in row for row in rows.values())
    assert [key for key in rows if user_key("ada") in key] == [user_key("ada")]


def _everything_in(folder: Path) -> dict[bytes, bytes]:
    """Key to value, those of one key in different databases joined."""
    out: dict[bytes, bytes] = {}
    with lmdb.open(str(folder), max_dbs=16) as environment:
        with environment.begin() as transaction:
            names = [name for name, _ in transaction.cursor()]
        for name in names:
            database = environment.open_db(name)
            with environment.begin(db=database) as transaction:
                for key, row in transaction.cursor():
                    out[key] = out.get(key, b"") + row
    return out


def test_turns_outlive_the_process(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "deep" / "state")
    store.append([turn()])
    revision = store.revision("ada")
    store.close()
    again = EmbeddedStore(tmp_path / "deep" / "state")
    assert turns_of(again, "ada") == [turn()]
    assert again.revision("ada") == revision
    assert again.append([turn()]) == 0
    again.close()


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, map_bytes=128 * 1024)
    for batch in range(20):
        turns = [turn(f"user-{n}", f"{batch}-{n}", query="x" * 900) for n in range(200)]
        assert store.append(turns) == 200
    assert all(len(turns_of(store, f"user-{n}")) == 20 for n in range(200))
    store.close()


def test_lowering_the_limit_shows_in_what_is_read(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.append([turn(name=f"i-{n}", at=n) for n in range(1, 6)])
    store.close()
    store = EmbeddedStore(tmp_path, max_turns_per_user=2)
    assert [kept.request.timestamp_ms for kept in turns_of(store, "ada")] == [4, 5]
    store.close()


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "state")
    store.close()
    for path in [tmp_path / "state", *(tmp_path / "state").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        EmbeddedStore(tmp_path / "file")


_APPENDING = """
import sys
from pathlib import Path
from retriever.interaction import Interaction, Outcome, Request
from rewrite_service.store import EmbeddedStore
folder, writer, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = EmbeddedStore(folder, max_turns_per_user=100_000, map_bytes=128 * 1024)
for n in range(count):
    name = f"{writer}-{n}"
    store.append([Interaction(Request(name, "ada", n + 1, "x" * 300), None, Outcome.OK)])
    print(name, flush=True)
"""


def _appending(folder: Path, writer: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _APPENDING, str(folder), writer, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    for round_number in range(3):
        child = _appending(tmp_path, f"round{round_number}", 1_000_000)
        acknowledged.add(child.stdout.readline().strip())
        time.sleep(chance.uniform(0.02, 0.3))
        child.kill()
        acknowledged |= set(child.stdout.read().split())
        child.wait()
        store = EmbeddedStore(tmp_path, max_turns_per_user=100_000)
        held = {kept.request.interaction_id for kept in turns_of(store, "ada")}
        store.close()
        assert acknowledged <= held
        assert len(held) <= len(acknowledged) + round_number + 1  # at most one a round was under way
    assert len(acknowledged) >= 3


@pytest.mark.parametrize("times", [1, 3, 1_000_000])
def test_opening_while_another_process_grows_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The moment between LMDB's look at the size and its first transaction is too short to hit at will."""
    opened, left = lmdb.open, iter(range(times))

    def grown_meanwhile(*args: object, **kwargs: object) -> lmdb.Environment:
        if next(left, None) is not None:
            raise lmdb.MapResizedError("grown by another process")
        return opened(*args, **kwargs)

    monkeypatch.setattr(lmdb, "open", grown_meanwhile)
    if times > 1000:
        with pytest.raises(StoreError, match="grown by another process"):
            EmbeddedStore(tmp_path)
        return
    store = EmbeddedStore(tmp_path)
    assert store.append([turn(at=1)]) == 1
    store.close()


def test_two_processes_write_side_by_side(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, max_turns_per_user=100_000, map_bytes=128 * 1024)
    children = [_appending(tmp_path, name, 300) for name in ("left", "right")]
    mine = sum(store.append([turn(name=f"own-{n}", at=n + 1)]) for n in range(300))
    assert [child.wait(120) for child in children] == [0, 0]
    assert mine == 300
    assert len(turns_of(store, "ada")) == 900  # read through a map that others have grown
    store.close()
    for child in children:
        child.stdout.close()


def test_notes_are_bounded_in_number_and_the_newest_stays(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, max_notes=5)
    for n in range(30):
        assert store.put_note(f"user-{n}", "pairs", b"note", 0)
        assert user_key(f"user-{n}") in store.notes("pairs")
    assert len(store.notes("pairs")) == 5
    store.close()
