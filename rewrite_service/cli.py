"""`query-rewrite`: the command line. Each command parses, calls one function, prints, and exits with a code that means
something: 0 done, 1 failed, 2 wrong usage (and see `rewrite_service.server.Exit` for `serve`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rewrite_service.access.commands import app as token_app
from rewrite_service.admin.commands import app as admin_commands
from rewrite_service.decision import Layer
from rewrite_service.experiment_command import experiment
from rewrite_service.loadtest_command import loadtest
from rewrite_service.people_commands import compact, export, forget
from rewrite_service.training_command import train_encoder

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A query-rewrite service for assistants: learns from the interaction log, serves over gRPC.",
)
app.add_typer(admin_commands, name="admin")
app.add_typer(token_app, name="token")
_console = Console()

# Heavy libraries are imported inside the commands, so that --help answers at once.

INTERRUPTED = 130
_EXPECTED = ("requests", "failed", "rewrites", "wins", "losses", "missed", "needless", "wins_per_harm", "reduction")


def _layers(text: str) -> frozenset[Layer]:
    """The layers named in `text`, with commas between. Raises a usage error."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in set(Layer) for name in names):
        raise typer.BadParameter(f"{text!r}: name personal, global, or both with a comma", param_hint="--layers")
    return frozenset(Layer(name) for name in names)


@app.command()
def build(
    log: Annotated[
        list[Path], typer.Option(help="Interaction log: JSON lines (plain or gzip) or Parquet. Repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the bundle; replaced as a whole when all is done.")],
    wins_per_harm: Annotated[
        float | None, typer.Option(min=1, help="Wins to a loss or miss that the threshold must keep on held-out days.")
    ] = None,
    max_needless: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of requests that may be rewritten needlessly.")
    ] = None,
    min_people: Annotated[
        int | None, typer.Option(min=1, help="People who must have said a text before others may be offered it.")
    ] = None,
    max_malformed: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of malformed lines above which the build stops.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Encoder that train-encoder made; it goes into the bundle.")
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="Bundles that stood there to keep in OUT.kept, so that servers can go back.")
    ] = 1,
    forgotten: Annotated[
        Path | None, typer.Option(help="State folder whose forgotten users are left out; default: the servers' store.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Build a bundle from interaction logs.

    Example: `query-rewrite build --log day1.jsonl.gz --log day2.parquet --out var/bundle`
    """
    from rewrite_service.build import BuildSettings
    from rewrite_service.build import build as run
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    given = {
        "wins_per_harm": wins_per_harm,
        "max_needless": max_needless,
        "min_people": min_people,
        "max_malformed_share": max_malformed,
        "encoder": encoder,
    }
    settings = BuildSettings(**{k: v for k, v in given.items() if v is not None})
    result = run(log, out, settings, Progress(quiet), keep, tombstones_of(load_settings(), forgotten))
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
    _console.print(f"bundle {result.version} from {result.turns} turns in {out}")
    if not report["rewrites"]:
        _console.print(f"note: no threshold keeps {settings.wins_per_harm:g} wins to a harm; it never rewrites")


@app.command()
def replay(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    requests: Annotated[Path, typer.Option(help="Requests: lines of the log's schema, up to the context.")],
    out: Annotated[Path, typer.Option(help="Decisions, JSON lines, one a request.")],
    history: Annotated[
        list[Path] | None, typer.Option(help="Turns that happen meanwhile, as recorded. Repeatable.")
    ] = None,
    layers: Annotated[str, typer.Option(help="Layers that may speak: personal, global, or both.")] = "personal,global",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Replay requests in time order through the serving pipeline; each sees only what came before it.

    Example: `query-rewrite replay --bundle var/bundle --requests day.jsonl.gz --history day.jsonl.gz --out d.jsonl`
    """
    from rewrite_service.progress import Progress
    from rewrite_service.replay import replay as run

    with Progress(quiet).task("replaying") as step:
        counts = run(bundle, requests, out, history or [], _layers(layers), step)
    if counts.malformed:
        _console.print(f"{counts.malformed} malformed lines of history left out")
    _console.print(
        f"{counts.rewrites} of {counts.requests} requests rewritten, {counts.history} turns of history: {out}"
    )


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    log: Annotated[list[Path], typer.Option(help="Turns after those the bundle was built from. Repeatable.")],
    layers: Annotated[str, typer.Option(help="Layers that may speak: personal, global, or both.")] = "personal,global",
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report: one page, index.html. It holds texts of users.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Estimate wins and harms of a bundle on a later log, from the log's own signals: no truth is needed.

    Example: `query-rewrite evaluate --bundle var/bundle --log tomorrow.jsonl.gz --report var/report`
    """
    import orjson

    from rewrite_service.evaluation import evaluate as run
    from rewrite_service.evaluation import summary
    from rewrite_service.progress import Progress

    chosen = _layers(layers)
    if report is not None and report.exists() and not report.is_dir():
        raise typer.BadParameter(f"{report}: is a file; name a folder", param_hint="--report")
    with Progress(quiet).task("evaluating") as step:
        found = run(bundle, log, chosen, step)
    figures = summary(found.cases)
    if report is not None:
        from rewrite_service.report.page import write_report

        page = write_report(found, report, [path.name for path in log])
        if not as_json:
            _console.print(f"report in {page}")
    if as_json:
        print(orjson.dumps(figures).decode())
        return
    table = Table("", "expected", box=None)
    for name, value in figures.items():
        table.add_row(name, f"{value:g}" if isinstance(value, int | float) else str(value))
    _console.print(table)


@app.command()
def serve(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one and logs which.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes, one for each core to use.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
    store: Annotated[str | None, typer.Option(help="embedded (one machine) or redis (several).")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="redis://, rediss:// or unix://; with a password, use QUERY_REWRITE_REDIS_URL.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port for Prometheus; 0 takes a free one. Default: no metrics.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; see docs/operations.md.")] = None,
) -> None:
    """Serve a bundle over gRPC until SIGTERM or SIGINT.

    Example: `query-rewrite serve --bundle var/bundle --port 50051`

    Example: `query-rewrite serve --bundle var/bundle --store redis --redis-url redis://127.0.0.1:6379`
    """
    from rewrite_service.settings import load_settings

    settings = load_settings(
        config, host=host, port=port, workers=workers, state_dir=state_dir, store=store, redis_url=redis_url,
        metrics_port=metrics_port,
    )  # fmt: skip
    if settings.otlp_endpoint is not None:
        from rewrite_service.tracing import require_tracing

        require_tracing()
    if settings.workers > 1:
        from rewrite_service.supervisor import supervise as run
    else:
        from rewrite_service.server import serve as run
    raise typer.Exit(run(bundle, settings))


@app.command()
def sample_log(
    out: Annotated[Path, typer.Option(help="File to write; gzipped where the name ends in .gz.")],
    people: Annotated[int, typer.Option(min=3, help="How many people.")] = 200,
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
) -> None:
    """Generate a sample interaction log of made-up people and public facts.

    Example: `query-rewrite sample-log --out var/sample.jsonl.gz`
    """
    from rewrite_service.sample.generate import write

    _console.print(f"{write(out, people, days, seed)} turns in {out}")


@app.command()
def inspect(bundle: Annotated[Path, typer.Argument(help="Directory of the bundle.")]) -> None:
    """Print what a bundle is made of: version, sources, policy, held-out report.

    Example: `query-rewrite inspect var/bundle`
    """
    from rewrite_service.bundle import read_manifest

    manifest = read_manifest(bundle)
    manifest["files"] = {"count": len(manifest["files"]), "bytes": sum(f["bytes"] for f in manifest["files"].values())}
    manifest["policy"].pop("calibration")
    _console.print_json(data=manifest)


for _command in (train_encoder, experiment, loadtest, forget, export, compact):
    app.command()(_command)


def main() -> None:
    """Entry point. Errors raised on purpose are one line on standard error; a fault shows its whole trace."""
    import structlog

    from mining.reader import LogError
    from rewrite_service.errors import RewriteError
    from rewrite_service.settings import SettingsError

    # What a library of ours has to say must not stand in what a command puts out; servers set up their own lines.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        app()
    except (RewriteError, LogError, OSError) as error:  # OSError: a path that cannot be read or written, named in it
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from None
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # the command line's library turns Ctrl-C into this, without a word
            print("stopped; nothing was replaced", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
