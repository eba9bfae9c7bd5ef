"""Where the console asks the serving process, and what opens that socket: made by whoever starts both."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

SECRET = "x-console-secret"


@dataclass(frozen=True, slots=True)
class Inside:
    """Where the socket is, and what opens it."""

    name: str = field(default_factory=lambda: f"query-rewrite-{secrets.token_hex(16)}")
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def address(self) -> str:
        """What gRPC calls the socket: in Linux's abstract name space, where no file is left behind."""
        return f"unix-abstract:{self.name}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of each call, besides the token."""
        return ((SECRET, self.secret),)
