"""How the server's sockets are opened, for every service of the process: TLS or not, and the bounds on connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from rewrite_service.access.tls import Certificates

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

# Bounds on what a connection may cost, beyond what settings say. A client that pings more often than this without a
# call under way is cut off after three times; a peer that has vanished is found within the minute; one that does not
# finish its handshake frees its place soon.
_MIN_PING_INTERVAL_MS = 10_000
_PING_STRIKES = 2
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 45_000, 15_000
HANDSHAKE_MS = 10_000
"""For a handshake of a new connection; whoever is not done by then is let go."""


def server_options(settings: Settings) -> list[tuple[str, Any]]:
    """gRPC's options for a server's sockets."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def certificates_of(settings: Settings) -> Certificates | None:
    """The certificates that the settings name, if any. Raises `CertificateError`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def listen(server: grpc.aio.Server, host: str, port: int, certificates: Certificates | None) -> int:
    """Opens a port of `server`, with TLS where there are certificates. The port's number. Raises RuntimeError where
    it is taken or the address is none of this machine's."""
    address = f"{host}:{port}"
    if certificates is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, certificates.credentials())
