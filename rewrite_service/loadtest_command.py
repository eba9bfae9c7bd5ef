"""`query-rewrite loadtest`: how a running server bears a load, at one rate or at rising ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rewrite_service.options import one_of

_console = Console()


def loadtest(
    target: Annotated[str, typer.Option(help="Server to load, host:port.")] = "127.0.0.1:50051",
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long.")] = 10.0,
    log: Annotated[Path | None, typer.Option(help="Where requests come from; default: a small sample log.")] = None,
    mix: Annotated[str, typer.Option(help="usual, repeated (all remembered), or fresh (nothing remembered).")] = "",
    sweep: Annotated[bool, typer.Option("--sweep", help="Raise the rate until the budget breaks.")] = False,
    budget_ms: Annotated[float, typer.Option(min=0.1, help="What 99 of 100 answers must keep to in a sweep.")] = 20.0,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Connections to the server.")] = 2,
    token: Annotated[
        str | None, typer.Option(envvar="QUERY_REWRITE_TOKEN", help="Token to send; better by the variable.")
    ] = None,
    authority: Annotated[Path | None, typer.Option(help="PEM file of who signed the server's certificate.")] = None,
    json: Annotated[Path | None, typer.Option(help="File for the report as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for a plot of a sweep: .svg, .png or .pdf.")] = None,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Load a server on another machine.")] = False,
) -> None:
    """Load a running server: open loop, Zipf over users, latency from the appointed start.

    Example: `query-rewrite loadtest --target 127.0.0.1:50051 --rate 200 --seconds 10`

    Example: `query-rewrite loadtest --sweep --rate 100 --budget-ms 20 --mix fresh --plot var/load.svg`
    """
    from functools import partial

    import orjson

    from rewrite_service.load_sweep import as_table, capacity
    from rewrite_service.load_sweep import plot as draw
    from rewrite_service.load_sweep import sweep as rising
    from rewrite_service.loadtest import Mix, read_requests, run_loadtest

    if plot is not None and not sweep:
        raise typer.BadParameter("a plot is of a sweep: add --sweep", param_hint="--plot")
    run = partial(
        run_loadtest,
        target,
        seconds=seconds,
        requests=read_requests(log),
        mix=one_of(Mix, mix, "--mix") or Mix.USUAL,
        connections=connections,
        allow_remote=allow_remote,
        token=token,
        authority=authority,
    )
    if not sweep:
        report = run(rate)
        _console.print(report.as_table())
        found = report.as_dict()
    else:
        reports = rising(run, rate, budget_ms)
        most = capacity(reports, budget_ms)
        _console.print(as_table(reports, budget_ms))
        _console.print(f"keeps {budget_ms:g} ms at the 99th percentile up to {most:.0f} requests a second")
        found = {"budget_ms": budget_ms, "capacity": most, "reports": [report.as_dict() for report in reports]}
        if plot is not None:
            draw(reports, budget_ms, plot)
    if json is not None:
        json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
