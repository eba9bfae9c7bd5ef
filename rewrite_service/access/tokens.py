"""The tokens file: who may call, for what, as whom. It holds hashes, so whoever reads it can call nothing.

A token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a slow hash would protect.
docs/operations.md shows the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from rewrite_service.access.scopes import Scope
from rewrite_service.access.tenants import TENANT
from rewrite_service.errors import RewriteError

PREFIX = "qrw_"
"""Every token begins so, for people and scanners of secrets to know one when they see it."""
MAX_TOKENS = 256
"""Each call is compared with all of them."""
MAX_TOKEN_CHARS = 256

_HEADER = """\
# Who may call the server, one [[token]] each; made by `query-rewrite token new`. To withdraw one, delete its block:
# the server sees a change within a second or two.
"""


class TokensError(RewriteError):
    """The tokens file cannot be read or used; the message says where, and quotes nothing of the file."""


class TokenEntry(BaseModel):
    """One token as the file has it.

    `name`: for log lines; unique. `sha256`: of the token, 64 hexadecimal digits. `scopes`: what it may do. `tenant`:
    whose users it speaks of; empty: those of the default tenant. `rate`: requests a second, `burst`: how many may come
    at once (one second's where left out), `calls`: under way at the same time, each for one server process; left out:
    no bound. `expires`: from when on it is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    tenant: Annotated[str, StringConstraints(pattern=TENANT)] = ""
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    expires: AwareDatetime | None = None

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.sha256)


def digest_of(token: str) -> bytes:
    """SHA-256 of a token, 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """The tokens of a file. Raises `TokensError`; a file without any is fine, and lets nobody in."""
    try:
        return parse_tokens(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise TokensError(f"{path}: cannot be read: {problem}") from None
    except TokensError as error:
        raise TokensError(f"{path}: {error}") from None


def parse_tokens(text: str) -> tuple[TokenEntry, ...]:
    """The tokens of a file's text. Raises `TokensError`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # whose message may quote the line
        raise TokensError("is not TOML") from None
    blocks = values.pop("token", [])
    if values:
        raise TokensError("holds something besides [[token]] blocks; write each as [[token]]")
    if not isinstance(blocks, list) or len(blocks) > MAX_TOKENS:
        raise TokensError(f"needs [[token]] blocks, at most {MAX_TOKENS}")
    entries = tuple(entry_of(block, f"token {number}: ") for number, block in enumerate(blocks, 1))
    for field in ("name", "sha256"):
        seen: set[str] = set()
        for number, entry in enumerate(entries, 1):
            if getattr(entry, field) in seen:
                raise TokensError(f"token {number}: {field}: another token has the same")
            seen.add(getattr(entry, field))
    return entries


def entry_of(block: object, at: str = "") -> TokenEntry:
    """The entry of a block's values. `at`: where it stands, for the message. Raises `TokensError`."""
    try:
        return TokenEntry.model_validate(block)
    except ValidationError as error:
        # Without the input: a token pasted in place of its hash must not end up in a log.
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise TokensError(f"{at}{place}: {problem['msg']}") from None


def new_token() -> str:
    """A fresh token."""
    return PREFIX + secrets.token_urlsafe(32)


def add_token(path: Path, entry: TokenEntry) -> None:
    """Adds an entry to the file, which is made, for its owner's eyes only, where there is none. The file is replaced
    in one step, so a server never reads half of it; two that add at once both get in. Raises `TokensError`, OSError."""
    path = path.resolve()  # where it is a link, what it points to is replaced
    lock = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = path.read_text(encoding="utf-8") if path.exists() else _HEADER
        text += ("" if text.endswith("\n") else "\n") + "\n" + as_block(entry)
        try:
            parse_tokens(text)
        except TokensError as error:
            raise TokensError(f"{path}: {error}") from None
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        _replace(path, text, mode)
    finally:
        os.close(lock)


def _replace(path: Path, text: str, mode: int) -> None:
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(number, mode)
            os.fsync(number)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def as_block(entry: TokenEntry) -> str:
    """The entry as the file has it. No value holds a quote or a backslash: the patterns see to that."""
    lines = ["[[token]]", f'name = "{entry.name}"', f'sha256 = "{entry.sha256}"']
    lines.append("scopes = [" + ", ".join(f'"{scope}"' for scope in Scope if scope in entry.scopes) + "]")
    if entry.tenant:
        lines.append(f'tenant = "{entry.tenant}"')
    for name in ("rate", "burst", "calls"):
        if (value := getattr(entry, name)) is not None:
            lines.append(f"{name} = {value}")
    if entry.expires is not None:
        lines.append(f"expires = {entry.expires.astimezone(UTC).isoformat(timespec='seconds')}")
    return "\n".join(lines) + "\n"


def is_expired(entry: TokenEntry, now: datetime | None = None) -> bool:
    """Whether the token is past its day."""
    return entry.expires is not None and (now or datetime.now(UTC)) >= entry.expires
