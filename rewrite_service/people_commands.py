"""`query-rewrite forget`, `export` and `compact`: what an operator does for one user at a time."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

_console = Console()

_User = Annotated[str, typer.Option(help="The user's id.")]
_StateDir = Annotated[Path | None, typer.Option(help="The servers' state folder; default: as `serve` has it.")]
_Tenant = Annotated[str, typer.Option(help="The tenant whose user it is; default: the default tenant.")]
_Bundles = Annotated[
    list[Path] | None,
    typer.Option(help="A bundle that may hold the user's turns; those kept beside it come along. Repeatable."),
]


def forget(
    user: _User,
    tenant: _Tenant = "",
    state_dir: _StateDir = None,
    bundle: _Bundles = None,
    verify: Annotated[bool, typer.Option("--verify", help="Scan the files for what is left, byte by byte.")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Compact the store too; no server may use it.")] = False,
    only_verify: Annotated[bool, typer.Option("--only-verify", help="Forget nothing; only scan.")] = False,
    known: Annotated[
        Path | None, typer.Option(help="What `export` wrote before: texts to scan for that are held no longer.")
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="Another file to scan, such as a log, or the --work folder of builds. Repeatable."),
    ] = None,
) -> None:
    """Forget a user: remove all that is held, at once and for running servers too.

    With `--verify`, exits with 1 where anything is left, and says where and what removes it: mostly bytes in pages that
    the store no longer uses (`compact`), and the bundle, until the next build.

    Example: `query-rewrite forget --user ada --bundle var/bundle --verify`
    """
    import orjson

    from rewrite_service import forgetting, traces
    from rewrite_service.access.tenants import inner_id
    from rewrite_service.export import everything_of
    from rewrite_service.store import embedded_files
    from rewrite_service.store.opening import open_store

    user, settings = inner_id(tenant, user), _settings(state_dir)
    bundles, unreadable = _with_kept(bundle)
    place = settings.state_dir if settings.store == "embedded" else None
    if compact and place is None:
        raise typer.BadParameter("only the embedded store has files to compact", param_hint="--compact")
    archives = {str(path): traces.archive_of(path) for path in bundles}
    exported = [] if known is None else [orjson.loads(line) for line in known.read_bytes().splitlines()]
    with ExitStack() as ending:
        store = open_store(settings)
        ending.callback(store.close)
        wanted = traces.Known.of(user, everything_of(user, store, archives, served=False))
        wanted |= traces.Known.of(user, exported)
        if not only_verify:
            gone = forgetting.forget(user, store, list(archives.values()))
            _console.print(f"forgotten: {gone.turns} turns and {gone.preferences} preferences", soft_wrap=True)
        held = store.user(user)
    if compact and place is not None:
        done = embedded_files.compact(place)
        _console.print(f"compacted: {done.before} bytes, now {done.after}")
    if not (verify or only_verify):
        return
    left = traces.traces(wanted, place, bundles, also or [])
    remedy = "remove the folder: no server of this version can go back to it"
    left += [traces.Trace(path, "a kept bundle that cannot be searched", remedy) for path in unreadable]
    if place is None and (held.turns or held.preferences):
        left.insert(0, traces.Trace(Path("redis"), "rows of the user", "query-rewrite forget"))
    if not left:
        _console.print(f"nothing is left, of the user's id and {len(wanted.texts)} texts and ids of turns")
        return
    for trace in left:
        _console.print(f"left in {trace.place}: {trace.what}; what removes it: {trace.remedy}", soft_wrap=True)
    raise typer.Exit(1)


def export(
    user: _User,
    tenant: _Tenant = "",
    state_dir: _StateDir = None,
    bundle: _Bundles = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Export everything held of a user, as JSON lines: turns, the rewrites they were served with, preferences.

    Example: `query-rewrite export --user ada --bundle var/bundle --out ada.jsonl`
    """
    from rewrite_service.access.tenants import inner_id
    from rewrite_service.export import everything_of, written
    from rewrite_service.store.opening import open_store
    from rewrite_service.traces import archive_of

    user, (bundles, _) = inner_id(tenant, user), _with_kept(bundle)
    archives = {str(path): archive_of(path) for path in bundles}
    store = open_store(_settings(state_dir))
    try:
        lines = everything_of(user, store, archives)
    finally:
        store.close()
    with ExitStack() as ending:
        file: BinaryIO = sys.stdout.buffer if out is None else ending.enter_context(_private(out))
        for line in lines:
            file.write(written(line))
    if out is not None:
        _console.print(f"{len(lines)} lines in {out}", soft_wrap=True)


def compact(state_dir: _StateDir = None) -> None:
    """Write the store's files anew without what was removed from it. No server may be using them.

    Example: `query-rewrite compact --state-dir var/state`
    """
    from rewrite_service.store import embedded_files

    settings = _settings(state_dir)
    if settings.store != "embedded":
        raise typer.BadParameter("the settings name another store; only the embedded one has files", param_hint="store")
    place = settings.state_dir
    done = embedded_files.compact(place)
    _console.print(f"{place}: {done.before} bytes, now {done.after}", soft_wrap=True)


def _with_kept(given: list[Path] | None) -> tuple[list[Path], list[Path]]:
    """The bundles, with those kept beside them; and which of the latter cannot be read. Raises BundleError where one
    that was given cannot."""
    from rewrite_service.errors import BundleError
    from rewrite_service.kept_bundles import with_kept
    from rewrite_service.traces import archive_of

    found, unreadable = [], []
    for place in given or []:
        for bundle in with_kept(place):
            try:
                archive_of(bundle)
            except BundleError:
                if bundle == place:
                    raise
                unreadable.append(bundle)
            else:
                found.append(bundle)
    return found, unreadable


def _private(path: Path) -> BinaryIO:
    """The file opened for writing anew, for its owner only."""
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _settings(state_dir: Path | None) -> Settings:
    """The servers' own, with another state folder where one is given."""
    from rewrite_service.errors import StoreError
    from rewrite_service.settings import load_settings
    from rewrite_service.store.embedded_files import has_store

    given: dict[str, Any] = {} if state_dir is None else {"state_dir": state_dir, "store": "embedded"}
    settings = load_settings(**given)
    if settings.store == "embedded" and not has_store(settings.state_dir):  # opening it would make an empty one
        raise StoreError(f"{settings.state_dir}: no store there; name the servers' folder with --state-dir")
    return settings
