"""The door: a call's metadata in, who is calling out. Shared by all services of a process; one call to ask:

    principal = access.check(context.invocation_metadata(), Scope.RECORD)
    with principal.quota: ...

Without a tokens file everybody may do everything; settings see to it that only this machine can then be asked.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rewrite_service.access.quota import Quota
from rewrite_service.access.scopes import Scope
from rewrite_service.access.tokens import MAX_TOKEN_CHARS, TokenEntry, digest_of, is_expired, read_tokens
from rewrite_service.errors import PermissionDenied, RewriteError, Unauthenticated

_METADATA_KEY = "authorization"
_SCHEME = "bearer"
_REMEDY = "send the metadata 'authorization: Bearer TOKEN'"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `name`: of the token, None where none is needed. `tenant`: whose users the call speaks of.
    `quota`: `with principal.quota:` around the call."""

    name: str | None
    scopes: frozenset[Scope]
    tenant: str = ""
    quota: Quota = field(default_factory=Quota, compare=False)


ANYBODY = Principal(None, frozenset(Scope))
"""Every caller of a server without tokens."""


class Access:
    """Belongs to one event loop's thread. `tokens`: None lets everybody in, an empty list nobody. `now`: the time of
    day, by which tokens expire."""

    def __init__(
        self,
        tokens: Iterable[TokenEntry] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._now = now
        self._entries: tuple[tuple[bytes, TokenEntry, Principal], ...] | None = None
        if tokens is not None:
            self.replace(tokens)

    @classmethod
    def from_file(cls, path: Path | None) -> Access:
        """By the tokens of a file, or open to all where there is none. Raises `TokensError`."""
        return cls(None if path is None else read_tokens(path))

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._entries is None

    def replace(self, tokens: Iterable[TokenEntry]) -> None:
        """From now on only these. One that has not changed keeps what it has used up of its quota."""
        known = {entry: principal for _, entry, principal in self._entries or ()}
        self._entries = tuple(
            (entry.digest, entry, known.get(entry) or _principal(entry)) for entry in tokens
        )

    def check(self, metadata: Iterable[tuple[str, str | bytes]] | None, scope: Scope) -> Principal:
        """Who is calling, and may do what `scope` says; counts the call against the caller's rate.

        Raises `Unauthenticated` where the call has no token that is known and valid, `PermissionDenied` where it lacks
        the scope, `Overloaded` where its rate is used up. No message holds anything of the token.
        """
        if self._entries is None:
            return ANYBODY
        principal = self.recognise(_token(metadata), scope)
        try:
            principal.quota.take()
        except RewriteError as error:
            error.client = principal.name
            raise
        return principal

    def recognise(self, token: str, scope: Scope) -> Principal:
        """Whose token it is, where it may do what `scope` says; counts nothing. Raises as `check`, and
        `Unauthenticated` of a server without tokens: it knows nobody."""
        entry, principal = self._find(digest_of(token))
        try:
            if is_expired(entry, self._now()):
                raise Unauthenticated("the token has expired; ask whoever runs this server for a new one")
            if scope not in principal.scopes:
                raise PermissionDenied(f"the token may not do this; it needs the scope '{scope}'")
        except RewriteError as error:
            error.client = principal.name
            raise
        return principal

    def _find(self, digest: bytes) -> tuple[TokenEntry, Principal]:
        """Compares with every entry, each in constant time, so that how long it takes tells nothing of any."""
        found = None
        for known, entry, principal in self._entries or ():
            if hmac.compare_digest(known, digest):
                found = entry, principal
        if found is None:
            raise Unauthenticated(f"the token is not known here; {_REMEDY} with one that is")
        return found


def _principal(entry: TokenEntry) -> Principal:
    return Principal(entry.name, entry.scopes, entry.tenant, Quota(entry.rate, entry.burst, entry.calls))


def _token(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    values = [value for key, value in metadata or () if key.lower() == _METADATA_KEY]
    if not values:
        raise Unauthenticated(f"no token; {_REMEDY}")
    if len(values) > 1:
        raise Unauthenticated(f"more than one authorization; {_REMEDY} once")
    scheme, _, token = str(values[0]).partition(" ")
    token = token.strip()
    if scheme.lower() != _SCHEME or not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise Unauthenticated(f"no bearer token; {_REMEDY}")
    return token
