"""`query-rewrite validate` on files: what is malformed, what is odd, what it says and what it keeps to itself."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from mining.log_check import LogCheck
from rewrite_service.cli import app

SECRET = "tangerine"
HOUR = 3_600_000
NOON = 1_767_268_800_000


def records(count: int = 200, **fields: Any) -> list[dict[str, Any]]:
    """A log that is fine, but for what `fields` say: of ten users over four days, who say things again."""
    return [
        {
            "interaction_id": f"t{n}", "user_id": f"u{n // 2 % 10}",
            "timestamp_ms": NOON + n // 2 * HOUR + n % 2 * 9000,
            "channel": "voice", "query": f"play {SECRET} {n % 2}", "asr_confidence": 0.9,
            "interpretation": {"intent": "play", "slots": {}}, "outcome": ["ok", "no_match"][n % 2],
            "feedback": {"barge_in": False, "explicit": None, "dwell_s": 4.0},
        } | fields
        for n in range(count)
    ]  # fmt: skip


def written(path: Path, turns: list[Any]) -> Path:
    lines = [turn if isinstance(turn, str) else json.dumps(turn) for turn in turns]
    path.write_bytes(("\n".join(lines) + "\n").encode())
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["validate", "--quiet", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def findings(path: Path) -> dict[str, str]:
    return {finding["name"]: finding["message"] for finding in json.loads(run(path, "--json")[1])["findings"]}


def test_a_good_log_is_good(tmp_path: Path) -> None:
    code, said = run(written(tmp_path / "log", records()), "--strict")
    assert code == 0 and said.startswith("200 lines: 200 turns of 10 users, 0 malformed"), said
    assert "warning" not in said and said.endswith("build can use it\n")


def test_the_sample_log_is_good(sample_log: Path) -> None:
    assert run(sample_log, "--strict")[0] == 0


def test_what_is_malformed_is_counted_by_field_and_named_by_line(tmp_path: Path) -> None:
    log = records(400)
    log[3]["outcome"] = SECRET
    log[5]["outcome"] = "else"
    log[7] = f"not json {SECRET}"
    log[9]["asr_confidence"] = 93
    path = written(tmp_path / "log", log)
    code, said = run(path)
    assert code == 0, "one in a hundred is below the limit"
    assert f"malformed  2 x outcome: none of ok, no_match, error ({path} line 4, {path} line 6)" in said
    assert f"malformed  1 x (line): is no JSON, or too long ({path} line 8)" in said
    assert f"malformed  1 x asr_confidence: lies outside 0 to 1 ({path} line 10)" in said
    assert SECRET not in said and SECRET not in run(path, "--json")[1]
    assert f"not json {SECRET}" in run(path, "--show-texts")[1]
    code, said = run(path, "--max-malformed", "0.001")
    assert code == 1 and said.endswith("build cannot use it\n")


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("seconds", [r | {"timestamp_ms": r["timestamp_ms"] // 1000} for r in records()]),
        ("not_milliseconds", [r | {"timestamp_ms": r["timestamp_ms"] * 1000} for r in records()]),
        ("future", records(timestamp_ms=4_000_000_000_000)),
        ("no_feedback", records(feedback={"barge_in": False, "explicit": None, "dwell_s": None})),
        ("one_user", [r | {"user_id": "same" if n % 3 else r["user_id"]} for n, r in enumerate(records())]),
        ("no_others", records(user_id="same")),
        ("duplicates", records() + records(10)),
        ("unsorted", records()[::-1]),
        ("no_repairs", [r | {"query": ["zebra crossing", "make it hot"][n % 2]} for n, r in enumerate(records())]),
        ("no_interpretation", records(interpretation=None)),
        ("one_outcome", records(outcome="ok")),
        ("no_confidence", records(asr_confidence=None)),
        ("empty_queries", records(query=" ?! ")),
        ("short", records(timestamp_ms=NOON)),
        ("small", records(20)),
        ("empty", []),
    ],
)
def test_what_is_odd_is_said(tmp_path: Path, name: str, log: list[dict[str, Any]]) -> None:
    found = findings(written(tmp_path / "log", log))
    assert name in found and len(found[name]) > 15, found
    if name != "empty":
        assert run(tmp_path / "log", "--strict")[0] == (0 if name in ("unsorted", "no_confidence") else 1)


def test_every_format_is_read_and_a_broken_file_is_an_error(tmp_path: Path) -> None:
    log = records()
    zipped = tmp_path / "log.gz"
    zipped.write_bytes(gzip.compress(written(tmp_path / "log", log).read_bytes()))
    parquet = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([r | {"interpretation": None} for r in log]), parquet)
    assert run(zipped)[0] == run(parquet)[0] == 0
    assert run(zipped, tmp_path / "log")[1].startswith("400 lines: 400 turns of 10 users")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(zipped.read_bytes()[:-200])
    code, said = run(cut)
    assert code == 1 and "cannot be read after" in said
    assert run(tmp_path / "none")[0] == 1 and "no such file" in run(tmp_path / "none")[1]


def test_memory_does_not_grow_with_the_log() -> None:
    check = LogCheck(NOON)
    check._ids._most = check._users._most = 500
    for n, record in enumerate(records(3000)):
        check.add("log", n, record | {"user_id": f"u{n}"} if n % 2 else {"bad": n})
    report = check.report()
    assert not report.exact and len(check._ids._seen) <= 500 and report.malformed == 1500
    assert all(len(fault.examples) <= 3 for fault in report.faults)
