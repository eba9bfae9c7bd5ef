"""Ports for the servers of tests and benches."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_FIRST, _LAST = 20_000, 22_700
"""Below those that Linux gives to connections (from 32,768), which would take one while its server still starts; also
with 10,000 more."""


def free_port() -> int:
    """A port of loopback that nobody has, nor the one 10,000 above it, where a Redis cluster's nodes speak to each
    other. One that is taken would be shared by gRPC servers, which may listen with SO_REUSEPORT."""
    while True:
        port = random.randrange(_FIRST, _LAST)
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
