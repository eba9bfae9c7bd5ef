"""Takes up one file of a log: its turns go to files by bucket, its malformed lines to a file of their own.

The same function runs in this process, in another, or on an executor; it shares nothing but the folder.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet

from mining.engines import columns
from mining.reader import LogError, Malformed, stream_records
from mining.schema import SchemaError

_HELD_ROWS = 2048
"""So many turns of a bucket are held before they are written as one group of rows."""
_SAID_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """`number`: of the import. `parts`: by bucket, the path of the file to write. `quarantine`: path for the malformed
    lines."""

    path: str
    number: int
    parts: tuple[str, ...]
    quarantine: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a job. `turns`: by bucket; where there are none, there is no file. `first`: malformed line."""

    number: int
    sha256: str
    lines: int
    turns: tuple[int, ...]
    malformed: int
    first: Malformed | None


def import_file(job: Job, progress: Callable[[int], None] = lambda n: None) -> Imported:
    """Does a job. Raises LogError where the file cannot be read to its end."""
    path = Path(job.path)
    if not path.is_file():
        raise LogError(f"{path}: no such file; name a JSON lines (plain or gzip) or Parquet file")
    bad, first, lines = 0, None, 0
    with ExitStack() as stack:
        parts = stack.enter_context(_Parts(job.parts))
        quarantine = None
        try:
            for number, record, raw in stream_records(path):
                lines += 1
                if lines % _SAID_EVERY == 0:
                    progress(_SAID_EVERY)
                try:
                    if isinstance(record, Exception):
                        raise SchemaError("(line)", str(record))
                    parts.add(columns.sequence(job.number, number), columns.row_of(record))
                except SchemaError as error:
                    text = raw[:2000].decode("utf-8", "replace").strip()
                    line = Malformed(str(path), number, str(error), text)
                    if quarantine is None:
                        quarantine = stack.enter_context(Path(job.quarantine).open("wb"))
                        first = line
                    quarantine.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                    bad += 1
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise LogError(f"{path}: cannot be read after {lines} lines: {error}") from error
        progress(lines % _SAID_EVERY)
        parts.whole = True
    return Imported(job.number, sha256_of(path), lines, tuple(parts.counts), bad, first)


class _Parts:
    """Writes turns to their buckets' files, which appear under their names only once all are whole."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = [Path(path) for path in paths]
        self._drafts = [path.with_name(f".{path.name}.draft") for path in self._paths]
        self._held: list[list[tuple[Any, ...]]] = [[] for _ in paths]
        self._writers: dict[int, pyarrow.parquet.ParquetWriter] = {}
        self.counts = [0] * len(paths)
        self.whole = False

    def add(self, sequence: int, row: tuple[Any, ...]) -> None:
        user, *rest = row
        bucket = columns.bucket_of(user, len(self._paths))
        held = self._held[bucket]
        held.append((bucket, user, sequence, *rest))
        if len(held) >= _HELD_ROWS:
            self._write(bucket)

    def _write(self, bucket: int) -> None:
        held = self._held[bucket]
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(zip(*held, strict=True), columns.SCHEMA, strict=True)
        ]
        if bucket not in self._writers:
            self._writers[bucket] = pyarrow.parquet.ParquetWriter(
                self._drafts[bucket], columns.SCHEMA, compression="zstd"
            )
        self._writers[bucket].write_batch(pa.RecordBatch.from_arrays(arrays, schema=columns.SCHEMA))
        self.counts[bucket] += len(held)
        held.clear()

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self.whole:
                for bucket, held in enumerate(self._held):
                    if held:
                        self._write(bucket)
            for writer in self._writers.values():
                writer.close()
            if self.whole:
                for bucket in self._writers:
                    with self._drafts[bucket].open("rb") as done:
                        os.fsync(done.fileno())
                    os.replace(self._drafts[bucket], self._paths[bucket])
        finally:
            for draft in self._drafts:
                draft.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def turns_in(path: Path) -> Iterator[pa.RecordBatch]:
    """The turns in a file that was made here."""
    yield from pyarrow.parquet.ParquetFile(path).iter_batches(1 << 14)
