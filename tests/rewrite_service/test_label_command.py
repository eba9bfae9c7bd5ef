"""`query-rewrite label` as a user calls it: its file, whom it leaves out, and what is left when it is stopped."""

from __future__ import annotations

import gzip
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from stopped import stopped

from mining.reader import read_log
from mining.sessions import by_user
from retriever.normalise import normalise
from rewrite_service.labelling import LabelError, LabelSettings, label
from rewrite_service.log_mining import EngineSettings
from rewrite_service.progress import Progress
from rewrite_service.sample.generate import write
from rewrite_service.store.base import user_key
from rewrite_service.whole_file import written_whole

CLI = [sys.executable, "-m", "rewrite_service.cli", "label"]
FIELDS = [
    "interaction_id", "heard", "text", "intent", "slots", "probability", "failure_point", "failure_point_probability",
    "taken_from", "use",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, its labels, and the work folder they were made in."""
    place = tmp_path_factory.mktemp("label")
    write(place / "log.jsonl.gz", people=16, days=10)
    command = [*CLI, "--log", place / "log.jsonl.gz", "--out", place / "labels.jsonl", "--work", place / "work"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (place / "said").write_text(done.stdout)
    return place


def lines(path: Path) -> list[dict]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [orjson.loads(line) for line in raw.splitlines()]


def from_work(place: Path, out: Path, tombstones: dict[bytes, int] | None = None, **more) -> None:
    settings = LabelSettings(**{"precision": 0.9} | more)
    label([], out, settings, Progress(quiet=True), tombstones, EngineSettings(work=place / "work"))


def test_a_file_of_labels(place: Path) -> None:
    labels, turns = lines(place / "labels.jsonl"), read_log([place / "log.jsonl.gz"]).turns
    by_id = {turn.request.interaction_id: turn for turn in turns}
    assert len(labels) > 40 and all(list(line) == FIELDS for line in labels)
    for line in labels:
        failed, source = by_id[line["interaction_id"]], by_id[line["taken_from"]]
        assert line["heard"] == failed.request.query and line["text"] == normalise(source.request.query)
        assert source.interpretation and line["intent"] == source.interpretation.intent
        assert line["slots"] == dict(source.interpretation.slots)
        assert failed.request.user_id == source.request.user_id
        assert failed.request.timestamp_ms < source.request.timestamp_ms
        assert 0.5 < line["probability"] <= 1 and 0 < line["failure_point_probability"] <= 1
        assert set(line["use"]) <= {"asr", "nlu"}
    stamps = [by_id[line["interaction_id"]].request.timestamp_ms for line in labels]
    assert stamps == sorted(stamps), "in order of time, not by user"
    said = (place / "said").read_text()
    assert "threshold 0." in said and f"{len(labels)} labels of {len(turns)} turns" in said


def test_the_file_is_its_owners_and_names_no_user(place: Path) -> None:
    path = place / "labels.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    users = {turn.request.user_id for turn in read_log([place / "log.jsonl.gz"]).turns}
    held = path.read_text()
    assert not any(f'"{user}"' in held for user in users)
    assert sorted(p.name for p in place.iterdir()) == ["labels.jsonl", "log.jsonl.gz", "said", "work"]


def test_who_was_forgotten_has_no_label(place: Path, tmp_path: Path) -> None:
    """A work folder of its own, since forgetting removes turns for good; users are named to see who is there."""
    people = by_user(read_log([place / "log.jsonl.gz"]).turns)
    labelled = {line["interaction_id"] for line in lines(place / "labels.jsonl")}
    gone = max(people, key=lambda user: sum(t.request.interaction_id in labelled for t in people[user]))
    assert any(turn.request.interaction_id in labelled for turn in people[gone])
    end, out = people[gone][-1].request.timestamp_ms, tmp_path / "labels.jsonl.gz"
    label(
        [place / "log.jsonl.gz"], out, LabelSettings(precision=0.9, with_users=True), Progress(quiet=True),
        {user_key(gone): end},
    )  # fmt: skip
    left = lines(out)
    assert {line["user_id"] for line in left} <= set(people) - {gone} and len(left) > 20
    ids = {turn.request.interaction_id for turn in people[gone]}
    assert not ids & {line[name] for line in left for name in ("interaction_id", "taken_from")}
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl.gz"]


def test_the_same_log_gives_the_same_file(place: Path, tmp_path: Path) -> None:
    from_work(place, tmp_path / "a.jsonl.gz", precision=0.98)
    assert lines(tmp_path / "a.jsonl.gz") == lines(place / "labels.jsonl")


def test_too_little_to_show_such_precision_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl.gz", people=5, days=5)
    out = tmp_path / "labels.jsonl"
    out.write_text("what was there before\n")
    with pytest.raises(LabelError, match=r"give more days"):
        label([tmp_path / "log.jsonl.gz"], out, LabelSettings(precision=0.999), Progress(quiet=True))
    assert out.read_text() == "what was there before\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.jsonl", "log.jsonl.gz"]
    with pytest.raises(LabelError, match="is a directory; name a file for --out"):
        label([tmp_path / "log.jsonl.gz"], tmp_path, LabelSettings(), Progress(quiet=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a log"),
        (("--log", "x", "--engine", "abacus"), "name one of duckdb, spark"),
        (("--log", "x", "--precision", "1.5"), "precision"),
        (("--log", "x", "--spark-config", "memory"), "spark.NAME=VALUE"),
        (("--log", "/nowhere/x.jsonl"), "no such file"),
    ],
)
def test_wrong_usage_is_named(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    from typer.testing import CliRunner

    from rewrite_service.cli import app

    result = CliRunner().invoke(app, ["label", "--quiet", "--out", str(tmp_path / "labels.jsonl"), *arguments])
    assert result.exit_code != 0 and message in result.output + str(result.exception)
    assert not (tmp_path / "labels.jsonl").exists()


# ---- stopped


_WRITES = """
import sys, time
from pathlib import Path
from rewrite_service.whole_file import written_whole
with written_whole(Path(sys.argv[1])) as out:
    out.write(b"half a li")
    out.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_who_is_stopped_while_writing_leaves_what_was_there(tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "labels.jsonl"
    out.write_bytes(b"whole\n")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES, str(out)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as writer:  # fmt: skip
        assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
        with written_whole(out) as other:  # somebody else's draft is left alone
            other.write(b"another's\n")
        drafts = list(tmp_path.glob(".labels.jsonl.draft-*"))
        assert len(drafts) == 1 and out.read_bytes() == b"another's\n"
        os.kill(writer.pid, how)
    assert out.read_bytes() == b"another's\n"
    assert bool(list(tmp_path.glob(".*"))) is (how == signal.SIGKILL)
    with written_whole(out) as mine:
        mine.write(b"whole again\n")
    assert out.read_bytes() == b"whole again\n" and [p.name for p in tmp_path.iterdir()] == ["labels.jsonl"]


def test_ctrl_c_while_it_learns_leaves_nothing(place: Path, tmp_path: Path) -> None:
    halted = stopped(
        "learning what a label is worth", 0, "label", "--work", place / "work", "--out", tmp_path / "labels.jsonl"
    )
    assert halted.returncode == 130 and "nothing was replaced" in halted.stderr
    assert list(tmp_path.iterdir()) == []


def test_too_few_turns_to_learn_from_are_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="training_turns: no user has as few as 1 turns; allow more"):
        from_work(place, tmp_path / "labels.jsonl", training_turns=1)
