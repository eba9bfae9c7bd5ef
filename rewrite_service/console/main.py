"""The console's process: uvicorn on a socket that was opened before, tokens and certificates watched for changes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mining.child_process import end_with
from rewrite_service.settings import Settings

if TYPE_CHECKING:
    from rewrite_service.console.inside import Inside

_CONNECTIONS = 64
_KEEP_ALIVE_S = 15
_HEAD_BYTES = 16 * 1024
_DRAIN_S = 1


def run(
    place: Path, settings: Settings, inside: Inside, listening: socket.socket, counted: Sequence[Any], parent: int
) -> None:
    """Serves the console until SIGTERM; see `process.Console` for what is given."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all of a terminal; whoever started it ends it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    if not end_with(parent, signal.SIGTERM):
        return
    os.nice(5)  # requests go before

    import uvicorn

    from rewrite_service.access.door import Access
    from rewrite_service.console.app import ConsoleApp
    from rewrite_service.console.calls import Calls
    from rewrite_service.console.comparing import OtherBundle
    from rewrite_service.console.live import Live
    from rewrite_service.logs import configure_logging
    from rewrite_service.metrics.catalogue import REGISTRY
    from rewrite_service.metrics.cells import new_cells

    configure_logging(settings)
    access = Access.from_file(settings.tokens_file)

    async def serve() -> None:
        live = Live([new_cells(REGISTRY, memory) for memory in counted], settings.workers)
        app = ConsoleApp(place, settings, access, Calls(inside), OtherBundle(settings), live).asgi()
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            **_tls(settings),
        )
        config.load()
        watching = asyncio.create_task(_watch(settings, access, config.ssl))
        await uvicorn.Server(config).serve(sockets=[listening])
        watching.cancel()

    asyncio.run(serve())


def _tls(settings: Settings) -> dict[str, Any]:
    """uvicorn's options for TLS as the gRPC port has it; none where it has none."""
    if settings.tls_cert is None:
        return {}
    mutual = settings.tls_client_ca is not None
    return {
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
        "ssl_ca_certs": settings.tls_client_ca,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE,
        "ssl_version": ssl.PROTOCOL_TLS_SERVER,
    }


class _WebCertificates:
    """As `access.tls.Certificates`, for a context of Python's own: new connections get what the files hold."""

    def __init__(self, cert: Path, key: Path, context: ssl.SSLContext) -> None:
        self.paths, self._context = (cert, key), context

    def reload(self) -> None:
        self._context.load_cert_chain(*self.paths, password="")


async def _watch(settings: Settings, access: Any, context: ssl.SSLContext | None) -> None:
    from rewrite_service.access.watch import keep_current

    certificates = None
    if context is not None and settings.tls_cert is not None and settings.tls_key is not None:
        certificates = _WebCertificates(settings.tls_cert, settings.tls_key, context)
    await keep_current(access, certificates, settings.tokens_file)
