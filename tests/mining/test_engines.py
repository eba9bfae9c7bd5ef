"""Mining in a work folder comes to what mining in memory comes to, however the log is split, and whatever happens."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.engines import columns, stages
from mining.engines.base import Done
from mining.engines.embedded import EmbeddedEngine
from mining.engines.folder import WorkFolder
from mining.engines.people import PeopleOfLog
from mining.engines.rows import Row, key_of
from mining.engines.stages import Stage
from mining.mined import mine_people
from mining.reader import LogError, read_log
from mining.schema import SchemaError, parse_interaction
from mining.sessions import by_user
from retriever.interaction import Interaction
from retriever.normalise import normalise
from rewrite_service.sample.generate import generate
from rewrite_service.traces import Known, traces
from tests.mining.engine_runs import Record, forget_in, mine, miner_in, rows_of, write_log

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Some days of a few people."""
    return list(generate(people=10, days=9))


@pytest.fixture(scope="module")
def log(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("engines") / "log.jsonl.gz", records)


def test_a_work_folder_comes_to_what_memory_comes_to(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.gz", list(generate(people=24, days=14)))
    people = by_user(read_log([log]).turns)
    plain = mine_people(people, 2)
    mining, _ = mine(tmp_path / "work", [log])
    mined = mining.mined
    assert mined.reactions == plain.reactions
    assert mined.tables == plain.tables
    assert (mined.frames, mined.fragments) == (plain.frames, plain.fragments)
    assert mined.completer.rules == plain.completer.rules and plain.completer.rules
    assert (mined.hearing.costs == plain.hearing.costs).all()
    assert mined.chains.states == plain.chains.states and mined.chains.people == plain.chains.people
    assert (mined.chains.on != plain.chains.on).nnz == 0
    turns = sum(map(len, people.values()))
    assert (mining.volume.turns, mining.volume.people, mining.duplicates) == (turns, len(people), 0)


def test_readings_that_tie_do_so_alike(log: Path, tmp_path: Path) -> None:
    """What the global layer takes for a text's usual reading hangs on the order of readings that are even."""
    plain = mine_people(by_user(read_log([log]).turns), 2).tables.texts
    mined = mine(tmp_path / "work", [log])[0].mined.tables.texts
    for text, row in plain.items():
        for screen in (False, True):
            assert row.reading(screen, 2) == mined[text].reading(screen, 2)


def test_two_processes_come_to_the_same(log: Path, tmp_path: Path) -> None:
    with EmbeddedEngine(processes=2) as engine:
        assert mine(tmp_path / "two", [log], engine=engine)[1] == mine(tmp_path / "one", [log])[1]


def test_buckets_do_not_show(log: Path, tmp_path: Path) -> None:
    assert mine(tmp_path / "one", [log], buckets=1)[1] == mine(tmp_path / "many", [log], buckets=9)[1]


# ---- day by day


def split_by_days(records: list[Record], folder: Path) -> list[Path]:
    """Four files: three stretches of days, some lines held back until the last; that one also says some turns again,
    with more of the reaction, and one at another time."""
    chance = random.Random(5)
    parts: dict[int, list[Record]] = defaultdict(list)
    first = records[0]["timestamp_ms"]
    for record in records:
        late = chance.random() < 0.02
        parts[3 if late else min(2, (record["timestamp_ms"] - first) // (3 * DAY_MS))].append(record)
    for again in chance.sample(parts[0], 5):
        more = again["feedback"] | {"barge_in": True}
        parts[3].append(again | {"feedback": more, "timestamp_ms": again["timestamp_ms"] + 7})
    return [write_log(folder / f"part{n}.jsonl.gz", parts[n]) for n in range(4)]


def test_day_by_day_is_as_all_at_once(records: list[Record], tmp_path: Path) -> None:
    parts = split_by_days(records, tmp_path)
    for n in range(4):
        mining, day_by_day = mine(tmp_path / "kept", [parts[n]])
        if n < 3:
            parts[n].rename(tmp_path / f"moved{n}.gz")  # what was taken up is not read again
    moved = [*sorted(tmp_path.glob("moved*.gz")), parts[3]]
    at_once, all_rows = mine(tmp_path / "new", moved)
    assert day_by_day == all_rows
    assert mining.mined.tables == at_once.mined.tables
    assert mining.duplicates == at_once.duplicates == 5
    people = by_user(read_log(moved).turns)
    assert mining.mined.tables == mine_people(people, 2).tables


def test_only_people_with_new_turns_are_judged_again(
    records: list[Record], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    assess = stages.assess
    monkeypatch.setattr(stages, "assess", lambda turns, r: judged.append(turns[0].request.user_id) or assess(turns, r))
    assert mine(tmp_path / "work", [log])[0].anew
    everybody = {record["user_id"] for record in records}
    assert set(judged) == everybody
    judged.clear()
    known = next(record for record in records[7:] if record["interpretation"])
    late = known | {"interaction_id": "late", "timestamp_ms": known["timestamp_ms"] + 60_000}
    mining, _ = mine(tmp_path / "work", [write_log(tmp_path / "late.gz", [late])], max_drift=0.5)
    assert judged == [late["user_id"]] and not mining.anew
    assert mining.volume.turns == len(records) + 1
    mine(tmp_path / "work", [], max_drift=0.5)
    assert judged == [late["user_id"]], "nothing new, nothing judged"
    assert mine(tmp_path / "work", [], max_drift=0.0)[0].anew, "the strengths have moved a little"
    assert {*judged} == everybody


def test_a_file_that_was_taken_up_is_known_by_its_content(log: Path, tmp_path: Path) -> None:
    mine(tmp_path / "work", [log])
    again = tmp_path / "renamed.gz"
    again.write_bytes(log.read_bytes())
    mining, _ = mine(tmp_path / "work", [again, log])
    assert (len(mining.imports), mining.duplicates) == (1, 0)


# ---- people


def test_people_are_read_as_they_were_written(log: Path, tmp_path: Path) -> None:
    people = by_user(read_log([log]).turns)
    mine(tmp_path / "work", [log])
    folder = WorkFolder(tmp_path / "work", 4)
    found = PeopleOfLog(folder)
    assert dict(found) == people
    assert found.sample(10**6) == people and list(found.sample(10**6)) == list(people)
    some = found.sample(150)
    assert 0 < sum(map(len, some.values())) <= 150 and some.items() <= people.items()
    assert set(some) < set(found.sample(250)), "who was chosen stays chosen"
    assert found.sample(1) == {}
    folder.close()


def test_no_thread_of_the_database_outlives_a_sample(log: Path, tmp_path: Path) -> None:
    """A build forks after it, and a lock that a thread held would stay locked in the fork."""
    mine(tmp_path / "work", [log])
    with EmbeddedEngine() as engine:
        engine.query("SELECT 1", {})
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    folder = WorkFolder(tmp_path / "work", 4)
    people = PeopleOfLog(folder)
    assert len(os.listdir("/proc/self/task")) > before[1], "it has a database open"
    assert people.sample(100)
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before
    folder.close()


def test_what_is_in_the_folder_is_its_owners_alone(log: Path, tmp_path: Path) -> None:
    was = os.umask(0)
    try:
        (tmp_path / "open").mkdir()
        mine(tmp_path / "open" / "work", [log])
    finally:
        os.umask(was)
    folders = [path for path in (tmp_path / "open" / "work").rglob("*") if path.is_dir()]
    assert len(folders) >= 3 and all(path.stat().st_mode & 0o077 == 0 for path in folders)


# ---- forgetting


def test_nothing_of_a_forgotten_user_is_left_in_the_folder(records: list[Record], log: Path, tmp_path: Path) -> None:
    work, gone = tmp_path / "work", records[0]["user_id"]
    before = mine(work, [log])[1]
    assert bytes_with(work, gone) and traces(Known(gone, frozenset(), frozenset()), None, [], [work])
    theirs = [record for record in records if record["user_id"] == gone]
    end = max(record["timestamp_ms"] for record in theirs)
    assert forget_in(work, lambda user: end if user == gone else 0) == len(theirs)
    assert not bytes_with(work, gone)
    others = [text for r in records if r["user_id"] != gone for text in (r["query"], *r["alternatives"])]
    shared = {normalise(text) for text in others}
    own = frozenset(r["query"] for r in theirs if normalise(r["query"]) not in shared)
    assert own and not any(bytes_with(work, f'"{text}"') for text in own)
    assert not traces(Known(gone, own, frozenset()), None, [], [work])
    rest = write_log(tmp_path / "rest.gz", [record for record in records if record["user_id"] != gone])
    after = mine(work, [])[1]
    assert after == mine(tmp_path / "without", [rest])[1] != before


def test_turns_after_a_forgetting_count(records: list[Record], log: Path, tmp_path: Path) -> None:
    user = records[0]["user_id"]
    moment = sorted(record["timestamp_ms"] for record in records if record["user_id"] == user)[9]
    mine(tmp_path / "work", [log])
    forgotten = forget_in(tmp_path / "work", lambda who: moment if who == user else 0)
    assert forgotten == 10
    left = [r for r in records if r["user_id"] != user or r["timestamp_ms"] > moment]
    assert mine(tmp_path / "work", [])[1] == mine(tmp_path / "left", [write_log(tmp_path / "left.gz", left)])[1]


def bytes_with(folder: Path, text: str) -> list[Path]:
    """Files that hold the text, not as a part of a longer word, such as a hash that spells it by chance: Parquet as
    what it says, since it is compressed."""
    found, word = [], re.compile(rb"(?<!\w)%b(?!\w)" % re.escape(text.encode()))
    for path in folder.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            if path.suffix == ".parquet":
                raw += repr(pyarrow.parquet.read_table(path, partitioning=None).to_pylist()).encode()
            if word.search(raw):
                found.append(path)
    return found


# ---- trouble


_MINE = """
import sys
from pathlib import Path
from mining.engines.folder import WorkFolder
from tests.mining.engine_runs import mine

save, told = WorkFolder.save, None

def save_and_wait(folder):
    global told
    save(folder)
    now = (folder.path / "manifest.json").read_bytes()
    if now != told:
        print("saved", flush=True)
        sys.stdin.readline()
    told = now

if sys.argv[1] == "in steps":
    told = manifest.read_bytes() if (manifest := Path(sys.argv[2], "manifest.json")).exists() else b""
    WorkFolder.save = save_and_wait
mine(Path(sys.argv[2]), [Path(log) for log in sys.argv[3:]])
"""


def test_a_run_that_is_killed_is_gone_on_with(records: list[Record], tmp_path: Path) -> None:
    """Killed whenever the manifest has changed, thus between any two steps, somewhere in the next."""
    parts, chance = split_by_days(records, tmp_path), random.Random(4)
    work = tmp_path / "work"

    def command(how: str) -> list[str]:
        return [sys.executable, "-c", _MINE, how, str(work), *map(str, parts)]

    for _ in range(4):
        with subprocess.Popen(command("in steps"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdin is not None and run.stdout is not None
            assert run.stdout.readline() == "saved\n", "there is a step to be done yet"
            run.stdin.write("go on\n")
            run.stdin.flush()
            time.sleep(chance.uniform(0, 0.05))
            run.kill()
        assert run.returncode == -signal.SIGKILL
    subprocess.run(command("at once"), check=True)
    assert mine(work, [])[1] == mine(tmp_path / "whole", parts)[1]
    assert not list(work.rglob("*.draft"))


def test_one_process_works_in_a_folder_at_a_time(log: Path, tmp_path: Path) -> None:
    with miner_in(tmp_path / "work"), pytest.raises(LogError, match="another process works"):
        WorkFolder(tmp_path / "work", 4)


def test_what_is_no_work_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(LogError, match="no work folder"):
        WorkFolder(tmp_path, 4)
    with pytest.raises(LogError, match="is a file"):
        WorkFolder(tmp_path / "precious.txt", 4)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "lock").touch()
    (tmp_path / "old" / "manifest.json").write_text('{"format": 0}')
    with pytest.raises(LogError, match="another version"):
        WorkFolder(tmp_path / "old", 4)


def test_too_many_malformed_lines_leave_the_folder_as_it_was(log: Path, tmp_path: Path) -> None:
    work, before = tmp_path / "work", mine(tmp_path / "work", [log])[1]
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"interaction_id": 7}\n' * 3)
    with miner_in(work) as miner:
        with pytest.raises(LogError, match=r"3 of 3 lines are malformed.*line 1: timestamp_ms"):
            miner.take_up([bad], tmp_path / "quarantine.jsonl")
        assert rows_of(miner) == before
    assert len((tmp_path / "quarantine.jsonl").read_bytes().splitlines()) == 3
    assert len(mine(work, [])[0].imports) == 1


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(LogError, match="holds 0 turns"):
        mine(tmp_path / "work", [tmp_path / "empty.jsonl"])
    with pytest.raises(LogError, match="no such file"):
        mine(tmp_path / "other", [tmp_path / "nowhere.jsonl"])


def test_a_stage_that_fails_leaves_what_was_done(log: Path, tmp_path: Path) -> None:
    class Tired(EmbeddedEngine):
        def mine(self, stage, knowledge, plans, folder):  # type: ignore[no-untyped-def]
            for n, done in enumerate(super().mine(stage, knowledge, plans, folder)):
                if stage is stages.ASSESS and n == 1:
                    raise KeyboardInterrupt
                yield Done(*done)

    with pytest.raises(KeyboardInterrupt):
        mine(tmp_path / "work", [log], engine=Tired())
    with miner_in(tmp_path / "work") as miner:
        assert len(miner._folder.rows("assess")) == 1
    assert mine(tmp_path / "work", [])[1] == mine(tmp_path / "whole", [log])[1]


# ---- lines


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(), st.text(max_size=200),
    st.lists(st.text(max_size=3), max_size=2), st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)  # fmt: skip


@given(data=st.data())
@settings(max_examples=100)
def test_a_plain_line_is_read_as_any_other(data: st.DataObject) -> None:
    """The quick way takes a line only where it comes to what the checked way comes to."""
    record = dict(data.draw(st.sampled_from(_SAMPLES)))
    for _ in range(data.draw(st.integers(0, 2))):
        at = record
        name = data.draw(st.sampled_from(sorted([*at, "rewritten_query"])))
        while isinstance(at.get(name), dict) and at[name] and data.draw(st.booleans()):
            at[name] = dict(at[name])
            at = at[name]
            name = data.draw(st.sampled_from(sorted(at)))
        if data.draw(st.booleans()):
            at[name] = data.draw(_VALUES)
        else:
            at.pop(name, None)
    quick = columns._plain_row(record)
    if quick is not None:
        assert quick == columns._columns_of(parse_interaction(record))
    try:
        expected = columns._columns_of(parse_interaction(record))
    except SchemaError as error:
        with pytest.raises(SchemaError, match=error.field):
            columns.row_of(record)
    else:
        assert repr(columns.row_of(record)) == repr(expected)


_SAMPLES = orjson.loads(orjson.dumps(list(generate(people=4, days=2))))


def test_most_lines_take_the_quick_way() -> None:
    assert all(columns._plain_row(record) is not None for record in _SAMPLES)


def test_executors_need_no_library_of_serving() -> None:
    """What Spark's executors import: see EXECUTORS_NEED."""
    program = (
        "import sys, mining.engines.stages, mining.engines.importing, mining.labels.label_stage\n"
        "heavy = {'faiss', 'onnxruntime', 'lightgbm', 'scipy', 'duckdb', 'pyspark', 'lmdb', 'redis', 'grpc'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- further stages


def _said(turns: Sequence[Interaction], knowledge: str) -> Iterator[Row]:
    """How often one person said a word."""
    times = sum(knowledge in turn.request.query.split() for turn in turns)
    if times:
        yield Row("said", key_of(knowledge), (times,), 1, turns[-1].request.timestamp_ms)


SAID = Stage("said", ("said",), _said)


def test_more_is_asked_of_each_person(records: list[Record], log: Path, tmp_path: Path) -> None:
    times = {user: 0 for user in {record["user_id"] for record in records}}
    for record in records:
        times[record["user_id"]] += "the" in record["query"].split()
    with miner_in(tmp_path / "work") as miner:
        miner.take_up([log])
        before = miner.mine().mined.tables
        made = miner.further(SAID, "the", "the")
        assert {row["user_id"]: row["amount_0"] for row in made.rows("said").to_pylist()} == {
            user: n for user, n in times.items() if n
        }
        latest = made.rows("said").column("latest").to_pylist()
        assert latest == sorted(latest)
        (summed,) = made.sums()["said"].to_pylist()
        assert (summed["amount_0"], summed["people"]) == (sum(times.values()), sum(n > 0 for n in times.values()))
        assert not miner.further(SAID, "nowhere", "nowhere").rows("said").num_rows
        assert not miner.further(SAID, "nowhere", "nowhere").sums()["said"].num_rows
        assert miner.mine().mined.tables == before
        with pytest.raises(ValueError, match="assess"):
            miner.further(Stage("assess", ("said",), _said), "the", "")


def test_a_further_stage_forgets_as_well(records: list[Record], log: Path, tmp_path: Path) -> None:
    gone = records[0]["user_id"]
    with miner_in(tmp_path / "work") as miner:
        miner.take_up([log])
        miner.mine()
        assert gone in miner.further(SAID, "the", "the").rows("said").column("user_id").to_pylist()
    forget_in(tmp_path / "work", lambda user: 1 << 60 if user == gone else 0)
    with miner_in(tmp_path / "work") as miner:
        assert gone not in miner.further(SAID, "the", "the").rows("said").column("user_id").to_pylist()
