"""Reads interaction logs: JSON lines (plain or gzip) and Parquet. Malformed lines go to a quarantine file.

A line that cannot be read is set aside with its file, line number and reason, and counted; where more than a stated
share is malformed the run stops before anything is replaced, since that is a broken export and not a few bad lines.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet

from mining.schema import SchemaError, parse_interaction
from retriever.interaction import Interaction

MAX_LINE_BYTES = 1 << 20
"""A longer line is quarantined unread: no turn is a mebibyte long."""


_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


class LogError(Exception):
    """A log that cannot be used: not there, not readable, or too much of it malformed."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line set aside. `line` counts from 1 (for Parquet: the row)."""

    file: str
    line: int
    reason: str
    text: str


@dataclass(slots=True)
class LogReading:
    """What reading gave: turns in time order (ties by id), each id once; the lines set aside; lines read in all."""

    turns: list[Interaction] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    duplicates: int = 0
    lines: int = 0


def _loads(line: bytes) -> Any:
    """One JSON document. Escaped lone surrogates, which no Unicode text can hold, read as the replacement character."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        mended = _LONE_SURROGATE.sub(rb"\\ufffd", line)
        if mended == line:
            raise
        return orjson.loads(mended)


def _json_lines(path: Path) -> Iterator[tuple[int, Any, bytes]]:
    """(line number, record or the error met, raw line) of each line that is not blank."""
    with path.open("rb") as raw:
        zipped = raw.peek(2)[:2] == b"\x1f\x8b"  # by content, not by name: exports are often misnamed
        stream: Any = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                head = line[:200]
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES)
                yield number, ValueError(f"longer than {MAX_LINE_BYTES} bytes"), head
            elif line.strip():
                try:
                    yield number, _loads(line), line
                except orjson.JSONDecodeError as error:
                    yield number, error, line


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any, bytes]]:
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=4096):
            for record in batch.to_pylist():
                number += 1
                yield number, record, b""
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:  # a damaged file
        raise LogError(f"{path}: cannot be read after {number} rows: {error}") from error


def stream_records(path: Path) -> Iterator[tuple[int, Any, bytes]]:
    """Of each line that is not blank, or row: its number from 1, the record or the error met, and the raw line (empty
    for Parquet). Holds one batch at a time. Raises `LogError` where the file cannot be read, or not to its end."""
    if not path.is_file():
        raise LogError(f"{path}: no such file; name a JSON lines (plain or gzip) or Parquet file")
    lines = 0
    try:
        for lines, record, raw in _records(path):
            yield lines, record, raw
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        raise LogError(f"{path}: cannot be read after {lines} lines: {error}") from error


def _records(path: Path) -> Iterator[tuple[int, Any, bytes]]:
    with path.open("rb") as head:
        is_parquet = head.read(4) == b"PAR1"
    return _parquet_rows(path) if is_parquet else _json_lines(path)


def read_records(
    paths: list[Path], parse: Callable[[Any], Any], progress: Callable[[int], None] = lambda n: None
) -> tuple[list[Any], list[Malformed], int]:
    """Every record of the files that `parse` takes, those it refuses (`SchemaError`), and the count of lines read."""
    good: list[Any] = []
    bad: list[Malformed] = []
    lines = 0
    for path in paths:
        for number, record, raw in stream_records(path):
            lines += 1
            progress(1)
            try:
                if isinstance(record, Exception):
                    raise SchemaError("(line)", str(record))
                good.append(parse(record))
            except SchemaError as error:
                bad.append(Malformed(str(path), number, str(error), raw[:2000].decode("utf-8", "replace").strip()))
    return good, bad, lines


def read_log(
    paths: list[Path],
    quarantine: Path | None = None,
    max_malformed_share: float = 0.05,
    progress: Callable[[int], None] = lambda n: None,
    parse: Callable[[Any], Interaction] = parse_interaction,
) -> LogReading:
    """Reads all files. Writes the lines set aside to `quarantine` (JSON lines). `parse`: `parse_as_heard` for the words
    that were heard where a rewrite was served. Raises `LogError` above the limit."""
    turns, bad, lines = read_records(paths, parse, progress)
    if quarantine is not None and bad:
        quarantine.parent.mkdir(parents=True, exist_ok=True)
        with quarantine.open("wb") as out:
            for m in bad:
                out.write(orjson.dumps(m, option=orjson.OPT_APPEND_NEWLINE))
    if lines and len(bad) / lines > max_malformed_share:
        first = bad[0]
        raise LogError(
            f"{len(bad)} of {lines} lines are malformed, over the limit of {max_malformed_share:.0%}; "
            f"the first: {first.file} line {first.line}: {first.reason}"
            + (f"; all of them: {quarantine}" if quarantine else "")
        )
    by_id: dict[tuple[str, str], Interaction] = {}
    for turn in turns:  # the last one of an id wins: a later export knows more of the reaction
        by_id[turn.request.user_id, turn.request.interaction_id] = turn
    ordered = sorted(by_id.values(), key=lambda t: (t.request.timestamp_ms, t.request.interaction_id))
    return LogReading(ordered, bad, len(turns) - len(ordered), lines)
