"""The embedded engine: DuckDB and plain Python in this process, or in a few beside it, one bucket at a time each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mining.child_process import end_with
from mining.engines import rows, statements
from mining.engines.base import Done, Engine
from mining.engines.folder import DRAFTS, ROWS, Plan, WorkFolder, write_parquet
from mining.engines.importing import Imported, Job, import_file
from mining.engines.stages import Stage

_BATCH = 1 << 13


class EmbeddedEngine(Engine):
    """`processes`: that mine at the same time. `memory_mib`: what DuckDB may take in each before it goes on on disk."""

    name = "duckdb"

    def __init__(self, processes: int = 1, memory_mib: int = 512) -> None:
        self._processes, self._memory_mib = processes, memory_mib
        self._pool: ProcessPoolExecutor | None = None
        self._spill: Path | None = None

    def read(self, jobs: Sequence[Job], progress: Any) -> Iterator[Imported]:
        if self._processes == 1 or len(jobs) == 1:
            for job in jobs:
                yield import_file(job, progress)
            return
        for done in self._each(import_file, [(job,) for job in jobs]):
            progress(done.lines)
            yield done

    def mine(self, stage: Stage, knowledge: Any, plans: Sequence[Plan], folder: WorkFolder) -> Iterator[Done]:
        self._spill = folder.path / DRAFTS
        work = [
            (stage, knowledge, plan, str(folder.path), folder.new_file(ROWS, f"{stage.name}-{plan.bucket:04}"),
             self._memory_mib)
            for plan in plans
        ]  # fmt: skip
        if self._processes == 1 or len(work) == 1:
            for item in work:
                yield mine_bucket(*item)
        else:
            yield from self._each(mine_bucket, work)

    def query(
        self, statement: str, files: Mapping[str, Sequence[str]], tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        with _connection(self._memory_mib, self._processes, self._spill) as connection:
            for name, paths in files.items():
                _view(connection, name, paths)
            for name, table in (tables or {}).items():
                connection.register(name, table)
            return connection.sql(statement).to_arrow_table()

    def close(self) -> None:
        """Ends its processes and its database, threads included; what is asked afterwards opens a new one."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        _close_database()

    def _each(self, function: Any, work: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """The results of the function for each item, as they come, from other processes."""
        if self._pool is None:
            # Started anew and not forked: threads of the libraries that are loaded here do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context, initializer=_begin, initargs=(os.getpid(),))
        futures: list[Future[Any]] = [self._pool.submit(function, *item) for item in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C as well
            for future in futures:
                future.cancel()
            raise


def _begin(parent: int) -> None:
    """Of a process that works for another: ends when that is killed; Ctrl-C is the other's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not end_with(parent):
        os._exit(1)


_opened: dict[tuple[int, int, str], duckdb.DuckDBPyConnection] = {}
"""One database a process at most: opening one takes longer than most statements."""


def _database(memory_mib: int, threads: int, spill: str) -> duckdb.DuckDBPyConnection:
    wanted = memory_mib, threads, spill
    if wanted not in _opened:
        _close_database()
        connection = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": f"{memory_mib}MiB"})
        if spill:
            connection.execute(f"SET temp_directory = {_literal(spill)}")
        _opened[wanted] = connection
    return _opened[wanted]


def _close_database() -> None:
    for connection in _opened.values():
        connection.close()
    _opened.clear()


@contextmanager
def _connection(memory_mib: int, threads: int, spill: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection without views, for one statement."""
    connection = _database(memory_mib, threads, "" if spill is None else str(spill / "spill")).cursor()
    try:
        yield connection
    finally:
        connection.close()


def _quoted(path: str | Path) -> str:
    return str(path).replace("'", "''")


def _view(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str]) -> None:
    files = ", ".join(map(_literal, paths))
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM read_parquet([{files}])")


def _literal(path: str) -> str:
    return f"'{_quoted(path)}'"


def mine_bucket(stage: Stage, knowledge: Any, plan: Plan, root: str, name: str, memory_mib: int) -> Done:
    """One stage over the people of one bucket. `name`: of the file to write, in the folder `root`."""
    folder = Path(root)
    inputs = [str(folder / file) for file in plan.inputs]
    if not inputs:
        return Done(plan, [])
    with ExitStack() as stack:
        connection = stack.enter_context(_connection(memory_mib, 1, folder / DRAFTS))
        if stage.of_rows is None:
            _view(connection, "turns", inputs)
            statement, order = statements.turns_of_people(plan.since), statements.TURN_ORDER
        else:
            _view(connection, "mined", inputs)
            statement, order = statements.rows_named(stage.of_rows), statements.ROW_ORDER
        ordered = f"{statement} ORDER BY {', '.join(order)}"
        made = stage.run(connection.sql(ordered).to_arrow_reader(_BATCH), knowledge)
        kept: Iterator[pa.RecordBatch] = iter(())
        if plan.since and plan.kept:
            untouched = stack.enter_context(_connection(memory_mib, 1, folder / DRAFTS))
            _view(untouched, "turns", inputs)
            _view(untouched, "mined", [str(folder / file) for file in plan.kept])
            kept = iter(untouched.sql(statements.rows_of_untouched(plan.since)).to_arrow_reader(_BATCH))
        written = write_parquet(folder / name, rows.SCHEMA, chain(made, kept))
    if not written:
        (folder / name).unlink()
    return Done(plan, [name] if written else [])
