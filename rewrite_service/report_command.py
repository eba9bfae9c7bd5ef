"""`query-rewrite report`: where requests fail, as a page that a person acts on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

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
_POINTS_SHOWN = 5


def report(
    out: Annotated[Path, typer.Option(help="Folder of the report; replaced as a whole when all is done.")],
    log: Logs = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to ask what rewriting repairs of what fails.")
    ] = None,
    min_people: Annotated[
        int | None,
        typer.Option(min=2, help="People who must share a text, an intent, a device type for it to be named."),
    ] = None,
    work: Work = None,
    engine: EngineName = "duckdb",
    master: Master = "local[*]",
    spark_config: SparkConfig = None,
    max_malformed: MaxMalformed = None,
    threads: Threads = None,
    forgotten: Forgotten = None,
    quiet: Quiet = False,
) -> None:
    """Report what fails, at which component, what was meant, and what rewriting repairs of it: one page, index.html,
    and the same figures for programs, report.json.

    Nothing is named that fewer than `--min-people` people have said or have.

    Example: `query-rewrite report --log var/sample.jsonl.gz --bundle var/bundle --out var/report`

    Example: `query-rewrite report --work var/work --log today.jsonl.gz --min-people 20 --out var/report`

    Example: `query-rewrite report --engine spark --master spark://head:7077 --work /shared/work --log d.gz --out R`
    """
    require_logs(log, work)
    mined_by = engine_settings(engine, master, spark_config, work, threads)
    from rewrite_service.defect_report.findings import findings
    from rewrite_service.defect_report.making import ReportSettings, make_report
    from rewrite_service.defect_report.page import NAMES
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    given = {"min_people": min_people, "max_malformed_share": max_malformed}
    settings = ReportSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    tombstones = tombstones_of(load_settings(), forgotten)
    made = make_report(log or [], out, settings, mined_by, bundle, tombstones, Progress(quiet))
    if made.malformed:
        _console.print(f"{made.malformed} malformed lines set aside in {made.quarantine}")
    if made.forgotten:
        _console.print(f"{made.forgotten} turns left out, of users who were forgotten")
    figures, whole = made.report.figures, made.report.figures.whole
    _console.print(
        f"{whole.count.turns:,.0f} turns, {whole.people:,} people, {whole.count.rate:.1%} failed (expected)"
    )
    named = sum(request.count.defects for request in figures.requests)
    share = named / whole.count.defects if whole.count.defects else 0.0
    _console.print(
        f"{len(figures.requests):,} requests failed {figures.min_people} people or more, with {share:.1%} of the "
        "failures; the others are only counted",
        soft_wrap=True,
    )
    columns = ("first to fail", "failures", "of all", *(("repaired", "left") if bundle is not None else ()))
    table = Table(*columns, box=None)
    for found in findings(made.report)[:_POINTS_SHOWN]:
        repaired = "not known" if found.repaired is None else f"{found.repaired:,.1f}"
        more = () if bundle is None else (repaired, f"{found.left:,.1f}")
        table.add_row(NAMES[found.point], f"{found.defects:,.1f}", f"{found.share:.1%}", *more)
    _console.print(table)
    _console.print(f"report in {made.page}")
