"""The command line of build and replay as scripts use it: files in, files out, exit codes, and time kept honest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from stopped import stopped
from typer.testing import CliRunner

from mining.schema import to_record
from retriever.interaction import Interaction, Outcome, Request
from rewrite_service.cli import app
from rewrite_service.sample.generate import generate
from tests.turns import DAY_S, request, turn

KEYS = {"interaction_id", "decision", "rewrite", "layer", "probability", "margin", "reason"}
REQUEST_FIELDS = (
    "interaction_id", "user_id", "timestamp_ms", "channel", "query", "alternatives", "asr_confidence", "context",
)  # fmt: skip
CLI = [sys.executable, "-m", "rewrite_service.cli"]
NOW_S = 40 * DAY_S
"""Seconds after the first noon: later than the whole sample log."""


def run(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False)


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in records))
    return path


def as_request(asked: Request) -> dict[str, Any]:
    """A line of a requests file: the log's schema up to the context."""
    whole = to_record(Interaction(asked, None, Outcome.NO_MATCH))
    return {field: whole[field] for field in REQUEST_FIELDS}


def ok(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stderr
    return done


def failed_with(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line, no trace."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Traceback" not in done.stdout
    if code == 1:
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


class Replays:
    """Replays against one bundle, each into a file of its own."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.bundle, self.folder, self.count = bundle, folder, 0

    def __call__(
        self, asked: Sequence[Request], *histories: Sequence[Interaction], layers: str | None = None
    ) -> list[dict[str, Any]]:
        """The decisions on `asked`, each file of history given by an option of its own."""
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir()
        requests = write_lines(place / "requests.jsonl", map(as_request, asked))
        given: list[object] = []
        for i, turns in enumerate(histories):
            given += ["--history", write_lines(place / f"history-{i}.jsonl", map(to_record, turns))]
        if layers is not None:
            given += ["--layers", layers]
        out = place / "out.jsonl"
        command = ["replay", "--quiet", "--bundle", self.bundle, "--requests", requests, "--out", out, *given]
        # In this process, which is the same command line without the wait for a new one to start.
        done = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert {p.name for p in place.iterdir()} >= {"out.jsonl"} and not list(place.glob(".*")), "no draft is left"
        return [orjson.loads(line) for line in out.read_bytes().splitlines()]


@pytest.fixture
def replays(bundle_dir: Path, tmp_path: Path) -> Replays:
    return Replays(bundle_dir, tmp_path)


ASKED = [
    request("play zyxquan by the flurbles", NOW_S, "zoe", id="a"),
    request("play ago", NOW_S + 5, "cleo", id="b", screen=True),
    request("", NOW_S + 10, "zoe", id="c"),
    request("what's the weather in wilkerson", NOW_S + 15, "ada", id="d", screen=True),
    request("set a timer for ten minutes", NOW_S + 20, "nobody", id="e"),
]
SLOTS = {"song": "zyxquon", "artist": "the flurbles"}


def zoes_habit(until_s: float, times: int = 5) -> list[Interaction]:
    """The same song every day, with success, the last time a day before `until_s`."""
    return [
        turn("play zyxquon by the flurbles", until_s - d * DAY_S, "music.song", "zoe", slots=SLOTS)
        for d in range(times, 0, -1)
    ]


# Replay.


def test_a_line_a_request_with_these_keys(replays: Replays) -> None:
    out = replays(ASKED, zoes_habit(NOW_S))
    assert [line["interaction_id"] for line in out] == ["a", "b", "c", "d", "e"]
    for line in out:
        assert set(line) == KEYS
        assert line["decision"] in ("rewrite", "pass")
        assert (line["decision"] == "rewrite") == (line["rewrite"] is not None) == (line["reason"] == "confident")
        assert line["layer"] in ("personal", "global", None)
        assert 0 <= line["probability"] <= 1 and -1 <= line["margin"] <= 1
        assert isinstance(line["reason"], str)
    assert (out[2]["reason"], out[2]["layer"]) == ("empty_query", None)


def test_requests_are_answered_in_time_order_whatever_the_files(replays: Replays) -> None:
    habit = zoes_habit(NOW_S)
    assert replays(ASKED[::-1], habit[::2], habit[1::2]) == replays(ASKED, habit)


def test_what_happened_before_counts(replays: Replays) -> None:
    without = replays(ASKED)[0]
    after = replays(ASKED, zoes_habit(NOW_S))[0]
    assert after["layer"] == "personal" and without["layer"] != "personal"
    assert after["probability"] > without["probability"]


def test_a_turn_just_before_counts(replays: Replays) -> None:
    """A follow-up is nothing without the turn that it goes on from."""
    asked = [request("turn it off", NOW_S, "zoe", id="a")]
    slots = {"action": "on", "device": "light", "room": "kitchen"}
    light = turn("turn on the kitchen light", NOW_S - 20, "home.switch", "zoe", slots=slots)
    assert replays(asked, [light]) != replays(asked)


def test_what_happens_later_does_not_count(replays: Replays) -> None:
    before = zoes_habit(NOW_S, times=1)
    later = zoes_habit(NOW_S + 30 * DAY_S, times=20)
    just_after = [
        turn("play zyxquon by the flurbles", NOW_S + 21, "music.song", "zoe", slots=SLOTS),
        turn("watch the movie go", NOW_S + 22, "video.film", "cleo", slots={"film": "go"}),
    ]
    assert replays(ASKED, before, just_after, later) == replays(ASKED, before)


def test_what_happens_at_the_very_moment_comes_after(replays: Replays) -> None:
    """A request's own turn, and any at the same millisecond, must not be seen by it."""
    own = turn("play zyxquon by the flurbles", NOW_S, "music.song", "zoe", slots=SLOTS, id="a")
    another = turn("play zyxquon by the flurbles", NOW_S, "music.song", "zoe", slots=SLOTS, id="0")
    assert replays(ASKED[:1], [own, another]) == replays(ASKED[:1])


def test_an_earlier_request_sees_less_than_a_later_one(replays: Replays) -> None:
    """Between two requests of the same words lies the turn that the second one may know of."""
    asked = [request("play zyxquan by the flurbles", NOW_S + at, "zoe", id=str(at)) for at in (0, 5 * DAY_S)]
    early, late = replays(asked, zoes_habit(NOW_S + 5 * DAY_S, times=4))
    assert early["layer"] != "personal" and late["layer"] == "personal"
    assert early == replays(asked[:1])[0]


def test_the_global_layer_alone_knows_no_habits(replays: Replays) -> None:
    """Only turns of the last five minutes count, as situation."""
    situation = [turn("turn on the kitchen light", NOW_S - 60, "home.switch", "zoe", slots={"device": "light"})]
    long_ago = [zoes_habit(NOW_S, 2), zoes_habit(NOW_S, 6), []]
    heard = [replays(ASKED, [*past, *situation], layers="global") for past in long_ago]
    assert heard[0] == heard[1] == heard[2]
    assert {line["layer"] for line in heard[0]} <= {"global", None}
    both = [replays(ASKED, [*past, *situation], layers="personal,global")[0] for past in long_ago[1:]]
    assert both[0] != both[1], "with both layers the same past does count"


def test_the_personal_layer_alone_offers_only_what_this_user_said(replays: Replays) -> None:
    heard = [
        request("play we don't talk about brew no", NOW_S, "zoe", id="1"),  # everybody's, never hers
        request("what's the weather in wilkersen", NOW_S + 600, "nobody", id="2"),
        request("play zyxquan by the flurbles", NOW_S + 1200, "zoe", id="3"),
        request("turn it off", NOW_S + 1800, "zoe", id="4"),
        request("play ago", NOW_S + 2400, "cleo", id="5", screen=True),
    ]
    habit = zoes_habit(NOW_S)
    out = replays(heard, habit, layers="personal")
    assert {line["layer"] for line in out} == {"personal", None}
    assert (out[1]["decision"], out[1]["reason"], out[1]["layer"]) == ("pass", "no_candidates", None)
    assert out[2]["layer"] == "personal"
    zoes = {line["rewrite"] for line in out if line["interaction_id"] in "134"} - {None}
    assert zoes <= {t.request.query for t in habit}
    everybody = replays(heard, habit)
    assert everybody[0]["layer"] == "global", "with both layers, others' words are near"


def test_both_layers_is_what_is_meant_without_the_option(replays: Replays) -> None:
    habit = zoes_habit(NOW_S)
    assert replays(ASKED, habit) == replays(ASKED, habit, layers="personal,global")
    assert replays(ASKED, habit) == replays(ASKED, habit, layers="global, personal")


# Replay: what goes wrong.


@pytest.fixture
def files(bundle_dir: Path, tmp_path: Path) -> dict[str, Path]:
    """Arguments that are fine, by option."""
    return {
        "--bundle": bundle_dir,
        "--requests": write_lines(tmp_path / "requests.jsonl", map(as_request, ASKED)),
        "--history": write_lines(tmp_path / "history.jsonl", map(to_record, zoes_habit(NOW_S))),
        "--out": tmp_path / "out.jsonl",
    }


def arguments(files: dict[str, Path]) -> list[object]:
    return ["replay", *(part for option in files.items() for part in option)]


@pytest.mark.parametrize("layers", ["", ",", "all", "personal;global", "Personal", "personal,global,local"])
def test_layers_nobody_knows_are_wrong_usage(files: dict[str, Path], layers: str) -> None:
    done = run(*arguments(files), "--layers", layers)
    failed_with(done, 2, "--layers", "personal", "global")
    assert not files["--out"].exists()


def test_a_replay_as_a_process_of_its_own(files: dict[str, Path]) -> None:
    done = ok(run(*arguments(files)))
    assert len(files["--out"].read_bytes().splitlines()) == len(ASKED)
    assert f"of {len(ASKED)} requests rewritten, 5 turns of history" in " ".join(done.stdout.split())
    assert "replaying ..." in done.stderr, "progress is kept apart from the answer"
    assert ok(run(*arguments(files), "--quiet")).stderr == ""


@pytest.mark.parametrize("option", ["--bundle", "--requests", "--history"])
def test_a_missing_file_is_named(files: dict[str, Path], tmp_path: Path, option: str) -> None:
    missing = tmp_path / "not-there"
    failed_with(run("replay", "--quiet", *arguments(files | {option: missing})[1:]), 1, str(missing))
    assert not files["--out"].exists()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"play go"',
        b'{"interaction_id": "x"}',
        b'{"interaction_id":"x","user_id":"u","timestamp_ms":-1,"query":"play go"}',
        b'{"interaction_id":"x","user_id":"u","timestamp_ms":1,"query":"play go","context":[1]}',
    ],
)
def test_a_malformed_request_is_named_by_its_line(files: dict[str, Path], line: bytes) -> None:
    """Every request must get its answer, so not one may be dropped."""
    good = files["--requests"].read_bytes().splitlines()
    files["--requests"].write_bytes(b"\n".join([good[0], line, *good[1:]]) + b"\n")
    files["--out"].write_text("decisions of yesterday")
    failed_with(run("replay", "--quiet", *arguments(files)[1:]), 1, str(files["--requests"]), "line 2")
    assert files["--out"].read_text() == "decisions of yesterday"


def test_a_malformed_line_of_history_is_reported(files: dict[str, Path]) -> None:
    good = files["--history"].read_bytes()
    files["--history"].write_bytes(good * 5 + b"{ broken\n")
    done = ok(run("replay", "--quiet", *arguments(files)[1:]))
    assert "1 malformed" in (done.stdout + done.stderr).replace("\n", " ")


def test_a_history_of_mostly_rubbish_stops_the_replay(files: dict[str, Path]) -> None:
    files["--history"].write_bytes(b"{ broken\n" * 3 + files["--history"].read_bytes())
    failed_with(run("replay", "--quiet", *arguments(files)[1:]), 1, "malformed", str(files["--history"]), "line 1")
    assert not files["--out"].exists()


# Build.


@pytest.fixture(scope="module")
def small_log() -> list[bytes]:
    """Lines of a log that is quickly built from."""
    return [orjson.dumps(record) for record in generate(people=12, days=8)]


def test_a_build_takes_several_logs_and_reports_what_it_set_aside(tmp_path: Path, small_log: list[bytes]) -> None:
    half = len(small_log) // 2
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_bytes(b"\n".join([*small_log[:3], b"{ broken", *small_log[3:half]]) + b"\n")
    other.write_bytes(b"\n".join(small_log[half:]) + b"\n")
    out = tmp_path / "bundle"
    done = ok(run("build", "--log", one, "--log", other, "--out", out, "--quiet"))
    said = " ".join(done.stdout.split())
    assert "1 malformed line" in said and "held-out" in said and done.stderr == ""
    quarantined = [orjson.loads(line) for line in (tmp_path / "bundle.quarantine.jsonl").read_bytes().splitlines()]
    assert [(q["file"], q["line"], q["text"]) for q in quarantined] == [(str(one), 4, "{ broken")]
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    assert [log["name"] for log in manifest["built_from"]["logs"]] == ["one.jsonl", "other.jsonl"]
    assert (manifest["built_from"]["turns"], manifest["built_from"]["malformed"]) == (len(small_log), 1)


def test_too_many_malformed_lines_stop_a_build_before_it_replaces_anything(
    tmp_path: Path, small_log: list[bytes]
) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "bundle"
    log.write_bytes(b"\n".join([*small_log[:90], *[b"{ broken"] * 10]) + b"\n")
    out.mkdir()
    (out / "manifest.json").write_text("the old one")
    failed_with(run("build", "--quiet", "--log", log, "--out", out), 1, "10 of 100", "line 91", "quarantine")
    assert len((tmp_path / "bundle.quarantine.jsonl").read_bytes().splitlines()) == 10
    assert (out / "manifest.json").read_text() == "the old one"


def test_a_log_that_is_missing_or_too_short_is_named(tmp_path: Path, small_log: list[bytes]) -> None:
    out = tmp_path / "bundle"
    missing, short = tmp_path / "not-there.jsonl", tmp_path / "short.jsonl"
    failed_with(run("build", "--quiet", "--log", missing, "--out", out), 1, str(missing))
    short.write_bytes(small_log[0] + b"\n")
    failed_with(run("build", "--quiet", "--log", short, "--out", out), 1, "too few")
    assert not out.exists()


@pytest.mark.parametrize("command", ["build", "replay"])
def test_a_missing_option_is_wrong_usage(command: str) -> None:
    failed_with(run(command), 2, "Missing option")


def interrupted(log: Path, out: Path, midway: str) -> tuple[int, str]:
    """A build that is stopped with Ctrl-C after the first step of `midway`: exit code, and what it said."""
    done = stopped(midway, 1, "build", "--log", log, "--out", out)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("midway", "old"), [("replaying requests", True), ("learning to rank", False)])
def test_ctrl_c_leaves_no_half_bundle(tmp_path: Path, small_log: list[bytes], midway: str, old: bool) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "bundle"
    log.write_bytes(b"\n".join(small_log) + b"\n")
    if old:
        out.mkdir()
        (out / "manifest.json").write_text("the old one")
    code, rest = interrupted(log, out, midway)
    assert (code, rest.strip().splitlines()[-1:]) == (130, ["stopped; nothing was replaced"])
    assert "Traceback" not in rest
    assert sorted(p.name for p in tmp_path.iterdir()) == (["bundle", "log.jsonl"] if old else ["log.jsonl"])
    assert not old or (out / "manifest.json").read_text() == "the old one"


def test_an_output_that_cannot_be_written_is_named(bundle_dir: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    requests.write_bytes(b"")
    for command in (
        ["replay", "--bundle", str(bundle_dir), "--requests", str(requests), "--out", str(tmp_path)],
        ["sample-log", "--people", "3", "--days", "1", "--out", "/proc/nowhere/log.gz"],
        ["build", "--log", str(requests), "--out", str(tmp_path)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rewrite_service.cli", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert command[-1].split("/")[1] in done.stderr
