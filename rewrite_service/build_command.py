"""The command that turns logs into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from rewrite_service.options import MAX_DRIFT

if TYPE_CHECKING:
    from rewrite_service.examples import Miner

_console = Console()
_EXPECTED = ("requests", "failed", "rewrites", "wins", "losses", "missed", "needless", "wins_per_harm", "reduction")


def _miners(names: list[str]) -> tuple[Miner, ...]:
    """The miners of these names, each once. Raises a usage error."""
    from rewrite_service.examples import Miner

    if unknown := [name for name in names if name not in set(Miner)]:
        raise typer.BadParameter(f"{unknown[0]!r}: name one of {', '.join(Miner)}", param_hint="--without")
    return tuple(Miner(name) for name in sorted(set(names)))


def build(
    out: Annotated[Path, typer.Option(help="Directory of the bundle; replaced as a whole when all is done.")],
    log: Logs = None,
    work: Work = None,
    engine: EngineName = "duckdb",
    master: Master = "local[*]",
    spark_config: SparkConfig = None,
    max_drift: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="With --work: mean change of a turn's probability of having failed up to which people "
            "without new turns stay judged as they were. 0: everybody is judged anew whenever anything has changed."
        ),
    ] = MAX_DRIFT,
    training_turns: Annotated[
        int | None, typer.Option(min=1, help="Turns of whole users that the ranker learns from at most.")
    ] = None,
    wins_per_harm: Annotated[
        float | None, typer.Option(min=1, help="Wins to a loss or miss that the threshold must keep on held-out days.")
    ] = None,
    max_needless: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of requests that may be rewritten needlessly.")
    ] = None,
    min_people: Annotated[
        int | None, typer.Option(min=1, help="People who must have said a text before others may be offered it.")
    ] = None,
    max_malformed: MaxMalformed = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Encoder that train-encoder made; it goes into the bundle.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Offline miner to leave out, to see what it adds: chains. Repeatable.")
    ] = None,
    rephrase_model: Annotated[
        Path | None, typer.Option(help="Model of train-rephrase; it says what repaired what, in place of the rules.")
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="Bundles that stood there to keep in OUT.kept, so that servers can go back.")
    ] = 1,
    threads: Threads = None,
    forgotten: Forgotten = None,
    quiet: Quiet = False,
) -> None:
    """Build a bundle from interaction logs.

    Example: `query-rewrite build --log day1.jsonl.gz --log day2.parquet --out var/bundle`

    Example: `query-rewrite build --work var/work --log today.jsonl.gz --out var/bundle`

    Example: `query-rewrite build --engine spark --master spark://head:7077 --work /shared/work --log d.gz --out B`
    """
    require_logs(log, work)
    mined_by = engine_settings(engine, master, spark_config, work, threads, max_drift)
    from rewrite_service.build import BuildSettings
    from rewrite_service.build import build as run
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    given: dict[str, Any] = {
        "wins_per_harm": wins_per_harm,
        "max_needless": max_needless,
        "min_people": min_people,
        "max_malformed_share": max_malformed,
        "encoder": encoder,
        "without": _miners(without or []),
        "training_turns": training_turns,
        "rephrase_model": rephrase_model,
        "threads": threads,
    }
    settings = BuildSettings(**{k: v for k, v in given.items() if v is not None})
    tombstones = tombstones_of(load_settings(), forgotten)
    result = run(log or [], out, settings, Progress(quiet), keep, tombstones, mined_by)
    report, policy = result.learned.report, result.learned.policy
    if result.malformed:
        _console.print(f"{result.malformed} malformed lines set aside in {result.quarantine}")
    if result.forgotten:
        _console.print(f"{result.forgotten} turns left out, of users who were forgotten")
    if result.dropped:
        _console.print(f"kept no longer, as they hold users who were forgotten: {', '.join(result.dropped)}")
    table = Table("", "held-out days (expected)", box=None)
    for name in _EXPECTED:
        table.add_row(name, f"{report[name]:g}")
    table.add_row("threshold, least win, margin", f"{policy.threshold:.3f}, {policy.least_win:g}, {policy.margin:g}")
    _console.print(table)
    if work is not None:
        _console.print("everybody was judged anew" if result.anew else "only people with new turns were judged anew")
    _console.print(f"bundle {result.version} from {result.turns} turns in {out}")
    if not report["rewrites"]:
        _console.print(f"note: no threshold keeps {settings.wins_per_harm:g} wins to a harm; it never rewrites")
