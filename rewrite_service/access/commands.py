"""`query-rewrite token ...`: makes and lists the tokens of a tokens file."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Make and list tokens, by which callers are known."
)

_File = Annotated[
    Path, typer.Option("--file", help="Tokens file, the server's `tokens_file`; made where there is none.")
]


@app.command()
def new(
    file: _File,
    name: Annotated[str, typer.Option(help="What the token is called in the file and in log lines.")],
    scope: Annotated[list[str], typer.Option(help="rewrite, record, explain, forget, admin or console. Repeatable.")],
    tenant: Annotated[str, typer.Option(help="Whose users it speaks of; default: those of the default tenant.")] = "",
    rate: Annotated[float | None, typer.Option(help="Requests a second, of each server process.")] = None,
    burst: Annotated[int | None, typer.Option(help="How many of them may come at once; default: one second's.")] = None,
    calls: Annotated[int | None, typer.Option(help="Calls under way at the same time.")] = None,
    expires_days: Annotated[float | None, typer.Option(min=0, help="Days after which it is refused.")] = None,
) -> None:
    """Make a token: print it, this once, and add its hash to the file. A running server takes it in by itself.

    Example: `query-rewrite token new --file var/tokens.toml --name assistant --scope rewrite --scope record`

    Example: `query-rewrite token new --file var/tokens.toml --name acme --tenant acme --scope rewrite --rate 200`
    """
    from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token

    token = new_token()
    given: dict[str, object] = {"tenant": tenant, "rate": rate, "burst": burst, "calls": calls}
    if expires_days is not None:
        given["expires"] = datetime.now(UTC) + timedelta(days=expires_days)
    add_token(file, entry_of({"name": name, "sha256": digest_of(token).hex(), "scopes": scope} | given))
    print(f"added '{name}' to {file}; send it as 'authorization: Bearer TOKEN'. Shown only now:", file=sys.stderr)
    print(token)


@app.command("list")
def list_(file: _File) -> None:
    """List the tokens of a file: names, scopes and bounds. The tokens themselves are nowhere.

    Example: `query-rewrite token list --file var/tokens.toml`
    """
    from rewrite_service.access.tokens import is_expired, read_tokens

    table = Table("name", "scopes", "tenant", "rate", "calls", "expires", box=None)
    for entry in read_tokens(file):
        until = "" if entry.expires is None else entry.expires.isoformat(timespec="seconds")
        row = (entry.name, " ".join(sorted(entry.scopes)), entry.tenant, entry.rate, entry.calls)
        table.add_row(*("" if value is None else str(value) for value in row), until + (" (over)" * is_expired(entry)))
    Console().print(table)
