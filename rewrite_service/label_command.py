"""`query-rewrite label`, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rewrite_service.log_options import (
    EngineName,
    Forgotten,
    Logs,
    Master,
    MaxMalformed,
    Quiet,
    SparkConfig,
    Threads,
    Work,
    engine_settings,
    require_logs,
)

_console = Console()


def label(
    out: Annotated[Path, typer.Option(help="File of labels, JSON lines (gzip by name); replaced when all is done.")],
    log: Logs = None,
    precision: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=0.999,
            help="Share of the labels that shall be right, by a lower bound on held-out days of the log.",
        ),
    ] = 0.98,
    with_users: Annotated[bool, typer.Option("--with-users", help="Name in each label whose turn it is.")] = False,
    work: Work = None,
    engine: EngineName = "duckdb",
    master: Master = "local[*]",
    spark_config: SparkConfig = None,
    training_turns: Annotated[
        int | None, typer.Option(min=1, help="Turns of whole users that is learned from at most.")
    ] = None,
    max_malformed: MaxMalformed = None,
    threads: Threads = None,
    forgotten: Forgotten = None,
    quiet: Quiet = False,
) -> None:
    """Label failed turns with what they should have been: training data for a recogniser and language understanding.

    Nobody annotates: what people said next tells. The labels hold what users said; keep them like the log.

    Example: `query-rewrite label --log day1.jsonl.gz --log day2.parquet --out labels.jsonl`

    Example: `query-rewrite label --work var/work --precision 0.99 --out labels.jsonl.gz`

    Example: `query-rewrite label --engine spark --master spark://head:7077 --work /shared/work --out labels.jsonl`
    """
    require_logs(log, work)
    mined_by = engine_settings(engine, master, spark_config, work, threads)
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.labelling import LabelSettings
    from rewrite_service.labelling import label as run
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    given: dict[str, Any] = {"training_turns": training_turns, "max_malformed_share": max_malformed}
    settings = LabelSettings(
        precision=precision, with_users=with_users, **{k: v for k, v in given.items() if v is not None}
    )
    tombstones = tombstones_of(load_settings(), forgotten)
    result = run(log or [], out, settings, Progress(quiet), tombstones, mined_by)
    if result.malformed:
        _console.print(f"{result.malformed} malformed lines set aside in {result.quarantine}", soft_wrap=True)
    if result.forgotten:
        _console.print(f"{result.forgotten} turns left out, of users who were forgotten")
    chosen = result.threshold
    _console.print(
        f"threshold {chosen.least:.3f}; by the held-out days {chosen.precision:.1%} of the labels are right, at least "
        f"{chosen.at_least:.1%}, and {chosen.coverage:.0%} of the failed turns whose goal was reached have one",
        soft_wrap=True,
    )
    use = result.of_use
    _console.print(
        f"{result.labels} labels of {result.turns} turns in {out}: {use['asr']} for a recogniser, {use['nlu']} for "
        "language understanding",
        soft_wrap=True,
    )
