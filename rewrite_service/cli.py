"""`query-rewrite`: the command line. Each command parses, calls one function, prints, and exits with a code that means
something: 0 done, 1 failed, 2 wrong usage (and see `rewrite_service.server.Exit` for `serve`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rewrite_service.access.commands import app as token_app
from rewrite_service.admin.commands import app as admin_commands
from rewrite_service.build_command import build
from rewrite_service.experiment_command import experiment
from rewrite_service.health_command import health
from rewrite_service.label_command import label
from rewrite_service.loadtest_command import loadtest
from rewrite_service.people_commands import compact, export, forget
from rewrite_service.report_command import report
from rewrite_service.training_command import train_encoder, train_rephrase
from rewrite_service.validate_command import validate

if TYPE_CHECKING:
    from rewrite_service.decision import Layer

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


def _layers(text: str) -> frozenset[Layer]:
    """The layers named in `text`, with commas between. Raises a usage error."""
    from rewrite_service.decision import Layer

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in set(Layer) for name in names):
        raise typer.BadParameter(f"{text!r}: name personal, global, or both with a comma", param_hint="--layers")
    return frozenset(Layer(name) for name in names)


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
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port for JSON over HTTP; 0 takes a free one. Default: off.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; see docs/operations.md.")] = None,
) -> None:
    """Serve a bundle over gRPC until SIGTERM or SIGINT.

    One process listens at once and says NOT_SERVING while it loads; of several, each listens once it can answer.

    Example: `query-rewrite serve --bundle var/bundle --port 50051`

    Example: `query-rewrite serve --bundle var/bundle --workers 2 --http-port 8080`

    Example: `query-rewrite serve --bundle var/bundle --store redis --redis-url redis://127.0.0.1:6379`
    """
    from rewrite_service.settings import load_settings

    settings = load_settings(
        config, host=host, port=port, workers=workers, state_dir=state_dir, store=store, redis_url=redis_url,
        metrics_port=metrics_port, http_port=http_port,
    )  # fmt: skip
    if settings.otlp_endpoint is not None:
        from rewrite_service.tracing import require_tracing

        require_tracing()
    if settings.store == "redis":
        from rewrite_service.store.opening import require_redis

        require_redis()
    if settings.workers > 1:
        from rewrite_service.supervisor import supervise as run
    else:
        from rewrite_service.server import serve as run
    raise typer.Exit(run(bundle, settings))


@app.command()
def settings(
    config: Annotated[Path | None, typer.Option(help="TOML file with settings, as for serve.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print them as a table for a document.")] = False,
    into: Annotated[Path | None, typer.Option(help="Put that table into this document, between its marks.")] = None,
) -> None:
    """Print the settings that a server started here would have, those that are not the default in bold.

    Example: `QUERY_REWRITE_WORKERS=4 query-rewrite settings --config server.toml`

    Example: `query-rewrite settings --into docs/operations.md`
    """
    from rewrite_service import settings_table
    from rewrite_service.settings import load_settings

    if into is not None:
        changed = settings_table.put_into(into)
        _console.print(f"{into}: {'made anew' if changed else 'was up to date'}")
    elif markdown:
        print(settings_table.markdown())
    else:
        table = Table("setting", "value", box=None)
        for name, value, other in settings_table.effective(load_settings(config)):
            table.add_row(name, str(value), style="bold" if other else None)
        _console.print(table)


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
def inspect(
    bundle: Annotated[Path, typer.Argument(help="Directory of the bundle.")],
    chain: Annotated[
        str | None, typer.Option(help="Draw where users went from this request when it failed. Shows what they said.")
    ] = None,
) -> None:
    """Print what a bundle is made of: version, sources, policy, held-out report.

    Example: `query-rewrite inspect var/bundle`

    Example: `query-rewrite inspect var/bundle --chain "turn off the light"`
    """
    from rewrite_service.bundle import read_manifest

    if chain is not None:
        from rewrite_service.chain_drawing import draw_chain_of

        print(draw_chain_of(bundle, chain))
        return

    manifest = read_manifest(bundle)
    manifest["files"] = {"count": len(manifest["files"]), "bytes": sum(f["bytes"] for f in manifest["files"].values())}
    manifest["policy"].pop("calibration")
    _console.print_json(data=manifest)


_COMMANDS = (
    build, label, report, train_encoder, train_rephrase, validate, experiment, loadtest, health, forget, export,
    compact,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)


def main() -> None:
    """Entry point. Errors raised on purpose are one line on standard error; a fault shows its whole trace."""
    import structlog

    # What a library of ours has to say must not stand in what a command puts out; servers set up their own lines.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        app()
    except _on_purpose() as error:
        from rewrite_service.settings import SettingsError

        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from None
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # the command line's library turns Ctrl-C into this, without a word
            print("stopped; nothing was replaced", file=sys.stderr)
        raise


def _on_purpose() -> tuple[type[Exception], ...]:
    """The errors that are one line; asked only once there is an error, as the log reader is heavy to load."""
    from mining.reader import LogError
    from rewrite_service.errors import RewriteError

    return RewriteError, LogError, OSError  # OSError: a path that cannot be read or written, named in it


if __name__ == "__main__":
    main()
