"""Reading logs: every kind of file, and every way in which a line can be bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import orjson
import pyarrow
import pyarrow.parquet
import pytest

from mining.reader import LogError, read_log
from mining.schema import SchemaError, from_record, parse_as_heard, parse_interaction, to_record
from tests.turns import turn

RECORD = to_record(turn("play go", intent="Play", slots={"title": "go"}))


def write(path: Path, records: list) -> Path:
    lines = b"".join(r if isinstance(r, bytes) else orjson.dumps(r) + b"\n" for r in records)
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def records(n: int) -> list[dict]:
    return [RECORD | {"interaction_id": f"i{i}", "timestamp_ms": 1_700_000_000_000 + i} for i in range(n)]


def test_a_turn_counts_for_the_text_that_was_asked() -> None:
    served = RECORD | {"rewritten_query": "watch the movie go"}
    assert parse_interaction(served).request.query == "watch the movie go"
    assert parse_as_heard(served).request.query == RECORD["query"]
    for nothing in (None, ""):
        assert parse_interaction(RECORD | {"rewritten_query": nothing}) == parse_interaction(RECORD)
    with pytest.raises(SchemaError, match="rewritten_query"):
        parse_interaction(RECORD | {"rewritten_query": 1})


def test_record_and_turn_are_inverse() -> None:
    assert to_record(parse_interaction(RECORD)) == RECORD


def test_what_was_written_here_is_read_without_checks_as_with_them() -> None:
    given = [
        {"context": RECORD["context"] | {"device_state": {"oven": "on"}, "has_screen": True}},
        {"interpretation": None, "outcome": "no_match", "channel": "app", "asr_confidence": None},
        {"feedback": {"barge_in": True, "explicit": "no", "dwell_s": 3}, "alternatives": ["play ago", ""]},
        {"interpretation": {"intent": "Play", "slots": {"title": "go", "artist": "ann", "volume": 3, "room": None}}},
    ]
    for changed in ({}, *given):
        turn_read = parse_interaction(RECORD | changed)
        written = orjson.loads(orjson.dumps(to_record(turn_read)))
        assert from_record(written) == parse_interaction(written) == turn_read


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz", "misnamed.gz.txt"])
def test_json_lines_plain_and_gzip(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, records(5))
    if name == "misnamed.gz.txt":
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert [t.request.interaction_id for t in read_log([path]).turns] == [f"i{i}" for i in range(5)]


def test_parquet_gives_the_same_turns(tmp_path: Path) -> None:
    # Parquet cannot hold a struct without fields, which an empty device_state would be.
    known = [r | {"context": r["context"] | {"device_state": {"oven": "on"}}} for r in records(5)]
    lines = write(tmp_path / "log.jsonl", known)
    table = pyarrow.Table.from_pylist(known)
    pyarrow.parquet.write_table(table, tmp_path / "log.parquet")
    assert read_log([tmp_path / "log.parquet"]).turns == read_log([lines]).turns


def test_parquet_with_maps_and_nulls(tmp_path: Path) -> None:
    plain = RECORD | {"interpretation": None, "alternatives": None, "asr_confidence": None, "outcome": "no_match"}
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    context = pyarrow.struct([("device_id", pyarrow.string()), ("has_screen", pyarrow.bool_()), ("device_state", kind)])
    schema = pyarrow.schema(
        [
            ("interaction_id", pyarrow.string()), ("user_id", pyarrow.string()), ("timestamp_ms", pyarrow.int64()),
            ("channel", pyarrow.string()), ("query", pyarrow.string()), ("context", context),
            ("outcome", pyarrow.string()),
        ]
    )  # fmt: skip
    row = {k: plain[k] for k in ("interaction_id", "user_id", "timestamp_ms", "channel", "query", "outcome")}
    row["context"] = {"device_id": "d", "has_screen": True, "device_state": [("oven", "on")]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row], schema=schema), tmp_path / "l.parquet")
    (read,) = read_log([tmp_path / "l.parquet"]).turns
    assert read.request.context.device_state == {"oven": "on"} and read.interpretation is None


BAD = [
    (b"not json\n", "(line)"),
    (b"[1, 2]\n", "(line)"),
    (b'{"user_id": "u"\n', "(line)"),
    (RECORD | {"user_id": None}, "user_id: missing"),
    (RECORD | {"user_id": ""}, "user_id"),
    (RECORD | {"user_id": "x" * 200}, "user_id"),
    (RECORD | {"timestamp_ms": -1}, "timestamp_ms"),
    (RECORD | {"timestamp_ms": "noon"}, "timestamp_ms"),
    (RECORD | {"timestamp_ms": 10**17}, "timestamp_ms"),
    (RECORD | {"query": None}, "query: missing"),
    (RECORD | {"query": 7}, "query"),
    (RECORD | {"channel": "telepathy"}, "channel"),
    (RECORD | {"outcome": "maybe"}, "outcome"),
    (RECORD | {"asr_confidence": 1.5}, "asr_confidence"),
    (RECORD | {"asr_confidence": True}, "asr_confidence"),
    (RECORD | {"alternatives": "play"}, "alternatives"),
    (RECORD | {"context": 3}, "context"),
    (RECORD | {"context": {"has_screen": "yes"}}, "context.has_screen"),
    (RECORD | {"interpretation": {"slots": {}}}, "interpretation.intent"),
    (RECORD | {"feedback": {"explicit": "perhaps"}}, "feedback.explicit"),
    (RECORD | {"feedback": {"dwell_s": -3}}, "feedback.dwell_s"),
    (b'{"query": "' + b"x" * (2 << 20) + b'"}\n', "longer than"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_set_aside_with_its_number_and_reason(tmp_path: Path, line: object, reason: str) -> None:
    good = records(40)
    path = write(tmp_path / "log.jsonl", [*good[:3], line, *good[3:]])
    quarantine = tmp_path / "quarantine.jsonl"
    reading = read_log([path], quarantine)
    assert len(reading.turns) == 40 and reading.lines == 41
    (kept,) = [json.loads(text) for text in quarantine.read_text().splitlines()]
    assert kept["line"] == 4 and kept["file"] == str(path) and reason in kept["reason"]


def test_too_many_bad_lines_stop_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [*records(10), b"bad\n"])
    with pytest.raises(LogError, match=r"1 of 11 lines.*line 11"):
        read_log([path], tmp_path / "q.jsonl")
    assert len(read_log([path], max_malformed_share=0.2).turns) == 10


def test_unknown_fields_are_left_alone_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [b"\n", RECORD | {"shoe_size": 43}, b"   \n"])
    assert len(read_log([path]).turns) == 1


def test_late_and_double_events(tmp_path: Path) -> None:
    lines = records(6)
    again = lines[2] | {"feedback": {"barge_in": True, "explicit": None, "dwell_s": 1.0}}
    reading = read_log([write(tmp_path / "log.jsonl", [*reversed(lines), again])])
    assert [t.request.interaction_id for t in reading.turns] == [f"i{i}" for i in range(6)]
    assert reading.duplicates == 1 and reading.turns[2].feedback.barge_in


def test_escaped_lone_surrogates_read_as_replacement(tmp_path: Path) -> None:
    line = orjson.dumps(RECORD | {"query": "play go"}).replace(b"play go", rb"play \ud800go \ud83d\ude00")
    (read,) = read_log([write(tmp_path / "log.jsonl", [line + b"\n"])]).turns
    assert read.request.query == "play \ufffdgo \U0001f600"


@pytest.mark.parametrize(
    "content", [gzip.compress(b"{}" * 1000, mtime=0)[:-20], b"PAR1 but not Parquet"], ids=["cut gzip", "no parquet"]
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(LogError, match="broken"):
        read_log([path])


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="nowhere"):
        read_log([tmp_path / "nowhere.jsonl"])


def test_schema_errors_name_the_field() -> None:
    with pytest.raises(SchemaError) as error:
        parse_interaction(RECORD | {"outcome": None})
    assert error.value.field == "outcome"
