"""Options of commands that mine logs, each said once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from rewrite_service.options import MAX_DRIFT

if TYPE_CHECKING:
    from rewrite_service.log_mining import EngineSettings

Logs: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        help="Interaction log: JSON lines (plain or gzip) or Parquet. Repeatable. One that --work has taken up is not "
        "read again."
    ),
]
Work: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder to keep what was read and mined, so that the next run only adds what is new."),
]
EngineName: TypeAlias = Annotated[
    str, typer.Option(help="What mines the log: duckdb (here) or spark (a cluster).")
]
Master: TypeAlias = Annotated[
    str, typer.Option(help="Spark's master: local[2], spark://host:7077, yarn; see docs/operations.md.")
]
SparkConfig: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A setting of Spark's, as NAME=VALUE. Repeatable.")
]
MaxMalformed: TypeAlias = Annotated[
    float | None, typer.Option(min=0, max=1, help="Share of malformed lines above which the command stops.")
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Cores to use; default: all, at most 8. The result does not depend on it.")
]
Forgotten: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="State folder whose forgotten users are left out; default: the servers' store."),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def require_logs(log: Sequence[Path] | None, work: Path | None) -> None:
    """Raises a usage error where there is nothing to mine."""
    if not log and work is None:
        raise typer.BadParameter("name a log, or a --work folder that has taken up some", param_hint="--log")


def spark_settings(settings: Sequence[str]) -> dict[str, str]:
    """Settings of Spark's by name. Raises a usage error."""
    pairs = [setting.partition("=") for setting in settings]
    if bad := [name for name, equals, _ in pairs if not equals or not name.startswith("spark.")]:
        raise typer.BadParameter(f"{bad[0]!r}: expected spark.NAME=VALUE", param_hint="--spark-config")
    return {name: value for name, _, value in pairs}


def engine_settings(
    engine: str,
    master: str,
    spark_config: Sequence[str] | None,
    work: Path | None,
    threads: int | None,
    max_drift: float = MAX_DRIFT,
) -> EngineSettings:
    """What the options say of the engine. Raises a usage error."""
    from mining.engines.opening import ENGINES

    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine!r}: name one of {', '.join(ENGINES)}", param_hint="--engine")
    from rewrite_service.log_mining import EngineSettings

    spark = spark_settings(spark_config or [])
    processes = threads or min(8, len(os.sched_getaffinity(0)))
    return EngineSettings(engine, master, spark, work, max_drift if work else 0.0, processes)
