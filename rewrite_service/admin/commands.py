"""`query-rewrite admin`: an operator's calls to a running server's AdminService."""

from __future__ import annotations

import getpass
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Speak to a running server: bundles, blocked and pinned rewrites. The server needs `admin_port`. A token "
    "(scope admin) is taken from QUERY_REWRITE_ADMIN_TOKEN, the authority of its TLS certificate (a PEM file) from "
    "QUERY_REWRITE_ADMIN_CA.",
)
_console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 240)

Address = Annotated[str, typer.Option(help="AdminService, host:port.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait; what was begun goes on after them.")]
Author = Annotated[str, typer.Option(help="Who says so; default: who is logged in.")]
Expires = Annotated[str, typer.Option("--for", help="For how long, such as 90m, 12h, 30d; default: until removed.")]
Because = Annotated[str, typer.Option("--reason", help="Why, for whoever reads the rules later.")]

_ADDRESS = "127.0.0.1:50052"
TOKEN_VARIABLE, CA_VARIABLE = "QUERY_REWRITE_ADMIN_TOKEN", "QUERY_REWRITE_ADMIN_CA"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command()
def status(address: Address = _ADDRESS, timeout: Timeout = 10.0) -> None:
    """Print what each server process serves, and which bundles there are to go back to.

    Example: `query-rewrite admin status --address 127.0.0.1:50052`
    """
    found = _call(address, timeout, lambda stub, pb: stub.BundleStatus, lambda pb: pb.BundleStatusRequest())
    table = Table("process", "serves", "since (UTC)", "makes ready", "refused", "because", box=None)
    for p in found.processes:
        table.add_row(
            str(p.pid), p.version, _date(p.since_ms), p.loading_version, p.refused_version, p.refused_because
        )
    _console.print(table)
    _console.print(f"in its place: {found.standing_version or 'none'}")
    _console.print(f"kept: {', '.join(found.kept_versions) or 'none'}")


@app.command()
def swap(
    bundle: Annotated[
        str, typer.Argument(help="A version, or a bundle's folder on the server's machine; default: in its place.")
    ] = "",
    address: Address = _ADDRESS,
    timeout: Timeout = 300.0,
) -> None:
    """Have all server processes serve another bundle; returns once they do.

    Example: `query-rewrite admin swap /srv/bundles/new`
    """
    given = {"path": str(Path(bundle).absolute())} if "/" in bundle else {"version": bundle}
    done = _call(address, timeout, lambda stub, pb: stub.SwapBundle, lambda pb: pb.SwapBundleRequest(**given))
    _console.print(f"{done.version} is served; before: {done.before_version}")


@app.command()
def rollback(
    from_version: Annotated[
        str, typer.Option("--from", help="Refuse unless this one is served, so that a second call does nothing.")
    ] = "",
    address: Address = _ADDRESS,
    timeout: Timeout = 300.0,
) -> None:
    """Have all server processes serve the bundle before the one that they serve.

    Example: `query-rewrite admin rollback`
    """
    done = _call(
        address, timeout, lambda stub, pb: stub.RollBack, lambda pb: pb.RollBackRequest(from_version=from_version)
    )
    _console.print(f"{done.version} is served; before: {done.before_version}")


@app.command()
def block(
    rewrite: Annotated[str, typer.Argument(help="The rewrite that is never to be made.")],
    reason: Because,
    heard: Annotated[str, typer.Option(help="Only where this is heard; default: whatever is heard.")] = "",
    author: Author = "",
    lasting: Expires = "",
    address: Address = _ADDRESS,
    timeout: Timeout = 10.0,
) -> None:
    """Make a pass of a rewrite, for every user, from the next request on.

    Example: `query-rewrite admin block "call the police" --reason "report 17" --for 30d`
    """
    _rule(address, timeout, "Block", heard, rewrite, author, reason, lasting)


@app.command()
def pin(
    heard: Annotated[str, typer.Argument(help="What is heard.")],
    rewrite: Annotated[str, typer.Argument(help="What to ask instead, always.")],
    reason: Because,
    author: Author = "",
    lasting: Expires = "",
    address: Address = _ADDRESS,
    timeout: Timeout = 10.0,
) -> None:
    """Rewrite whatever is heard so, for every user, from the next request on.

    Example: `query-rewrite admin pin "play ago" "watch the movie go" --reason "premiere" --for 7d`
    """
    _rule(address, timeout, "Pin", heard, rewrite, author, reason, lasting)


@app.command()
def unblock(
    rewrite: Annotated[str, typer.Argument(help="The rewrite of the rule.")],
    heard: Annotated[str, typer.Option(help="What is heard, as in the rule; default: whatever is heard.")] = "",
    address: Address = _ADDRESS,
    timeout: Timeout = 10.0,
) -> None:
    """Remove the blocks and pins of a pair.

    Example: `query-rewrite admin unblock "watch the movie go" --heard "play ago"`
    """
    done = _call(
        address, timeout, lambda stub, pb: stub.Unblock, lambda pb: pb.UnblockRequest(heard=heard, rewrite=rewrite)
    )
    if not done.removed:
        raise SystemExit("error: there is no such rule; `query-rewrite admin rules` lists them")
    _console.print(f"removed {done.removed}")


@app.command()
def rules(address: Address = _ADDRESS, timeout: Timeout = 10.0) -> None:
    """Print all blocks and pins.

    Example: `query-rewrite admin rules`
    """
    from rewrite_service.logs import printable

    found = _call(address, timeout, lambda stub, pb: stub.ListRules, lambda pb: pb.ListRulesRequest()).rules
    table = Table("", "heard", "rewrite", "author", "reason", "made (UTC)", "until (UTC)", box=None)
    now_ms = time.time() * 1000
    for r in found:
        over = " (over)" if r.expires_ms and r.expires_ms <= now_ms else ""
        until = _date(r.expires_ms) + over if r.expires_ms else "removed"
        kind = "block" if r.kind == 1 else "pin"
        texts = [printable(text) for text in (r.heard or "(anything)", r.rewrite, r.author, r.reason)]
        table.add_row(kind, *texts, _date(r.made_ms), until)
    _console.print(table if found else "no rules")


def _rule(
    address: str, timeout: float, method: str, heard: str, rewrite: str, author: str, reason: str, lasting: str
) -> None:
    given = {
        "heard": heard,
        "rewrite": rewrite,
        "author": author or getpass.getuser(),
        "reason": reason,
        "expires_ms": int(1000 * (time.time() + _seconds(lasting))) if lasting else 0,
    }
    made = _call(
        address, timeout, lambda stub, pb: getattr(stub, method), lambda pb: getattr(pb, f"{method}Request")(**given)
    ).rule
    until = f"until {_date(made.expires_ms)}" if made.expires_ms else "until it is removed"
    _console.print(f"{made.heard or '(anything)'} -> {made.rewrite}: {method.lower()}, {until}")


def _call(address: str, timeout: float, method: Callable[..., Any], message: Callable[..., Any]) -> Any:
    """The reply; a refusal ends the command with 1 and the server's words."""
    import grpc

    from rewrite_service.pb import admin_pb2 as pb
    from rewrite_service.pb import admin_pb2_grpc

    token, ca = os.environ.get(TOKEN_VARIABLE), os.environ.get(CA_VARIABLE)
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    with _channel(address, Path(ca) if ca else None) as channel:
        try:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            return method(stub, pb)(message(pb), timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            hint = ""
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                hint = " (is the server's admin_port set, and is this its address?)"
            raise SystemExit(f"error: {error.code().name}: {error.details()}{hint}") from None


def _channel(address: str, ca: Path | None) -> Any:
    """With TLS where the server's authority is named."""
    import grpc

    if ca is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes()))


def _seconds(lasting: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", lasting)
    if not found or not int(found[1]):
        raise typer.BadParameter(f"{lasting!r}: a number with s, m, h or d behind it", param_hint="--for")
    return int(found[1]) * _UNITS_S[found[2]]


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
