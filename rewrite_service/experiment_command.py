"""`query-rewrite experiment`: what serving rewrites changed, by the arms of a later log."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

_console = Console()


def experiment(
    log: Annotated[list[Path], typer.Option(help="Turns of the days in which users were held out. Repeatable.")],
    holdout_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="As the servers had it; default: from the settings.")
    ] = None,
    holdout_salt: Annotated[str | None, typer.Option(help="As the servers had it; default: from the settings.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with the servers' settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Compare users who were served rewrites with those held out, by what a later log tells of failures.

    Example: `query-rewrite experiment --log week.jsonl.gz --holdout-share 0.05 --holdout-salt spring`
    """
    import orjson

    from rewrite_service.experiment import experiment_of_logs
    from rewrite_service.settings import load_settings

    settings = load_settings(config, holdout_share=holdout_share, holdout_salt=holdout_salt)
    if not 0 < settings.holdout_share < 1:
        raise typer.BadParameter(
            "nobody is held out, or everybody: give the share that the servers had, above 0 and below 1",
            param_hint="--holdout-share",
        )
    found = experiment_of_logs(log, settings.holdout_share, settings.holdout_salt)
    if as_json:
        print(orjson.dumps(found.as_dict()).decode())  # NaN becomes null
        return
    table = Table("arm", "users", "requests", "failed (expected)", "defect rate", "95 %", box=None)
    for name, arm in (("served", found.served), ("held out", found.hold_out)):
        low, high = arm.interval
        table.add_row(
            name, str(arm.users), str(arm.requests), f"{arm.failed:.1f}", f"{arm.rate:.2%}", f"{low:.2%} to {high:.2%}"
        )
    _console.print(table)
    if math.isnan(found.reduction):
        _console.print("nothing to compare: an arm has fewer than two users, or no failure")
        return
    low, high = found.interval
    _console.print(f"defects reduced by {found.reduction:.1%} (95 % interval {low:.1%} to {high:.1%})")
    _console.print(f"with as much data a reduction of {found.least_told:.1%} is found four times in five")
    if found.few:
        _console.print("note: an arm has few users; its intervals are too narrow")
