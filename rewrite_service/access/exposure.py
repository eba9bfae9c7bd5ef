"""Whether a server may stand open: beyond loopback it needs TLS, and knows its callers by token or certificate, unless
`allow_insecure` says that something before it sees to that."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewrite_service.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_to_others(host: str, settings: Settings) -> str | None:
    """What a server on `host` would let others do, with the remedy; None where it is shut, or meant to be open."""
    if is_loopback(host) or settings.allow_insecure:
        return None
    remedy = "or set allow_insecure where a proxy or a private network sees to that"
    if settings.tls_cert is None:
        return f"{host} can be reached by others, and without TLS they can listen: set tls_cert and tls_key, {remedy}"
    if settings.tokens_file is None and settings.tls_client_ca is None:
        return f"{host} can be reached by others, and anybody may call: set tokens_file or tls_client_ca, {remedy}"
    return None
