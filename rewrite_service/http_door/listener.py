"""Listens for HTTP on a port of its own, on the event loop that serves gRPC: uvicorn's protocol, with our bounds.

uvicorn's own server is not used: it takes over the process's signals and ends the process where it cannot start.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from rewrite_service.access.sockets import HANDSHAKE_MS
from rewrite_service.access.tls import Certificates
from rewrite_service.http_door.door import HttpDoor
from rewrite_service.servicer import RewriteServicer

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

_BACKLOG = 1024
_KEEP_ALIVE_S = 75
_HEAD_S = HANDSHAKE_MS / 1000
"""For the head of a request to arrive, as for a handshake of gRPC."""


class _State(ServerState):
    def __init__(self, most_connections: int) -> None:
        super().__init__()
        self.most_connections = most_connections


class _Protocol(H11Protocol):
    """Closes a connection beyond the most there may be, and one that does not get to the end of a request's head."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        assert isinstance(self.server_state, _State)
        if len(self.connections) > self.server_state.most_connections:
            transport.abort()
        else:
            self._head = self.loop.call_later(_HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head is None:
            self._head = self.loop.call_later(_HEAD_S, self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE or not self.conn.trailing_data[0]:
            self._stop_waiting()  # between two requests, uvicorn's own time for keep-alive counts

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class HttpListener:
    """Listens from `open` to `close`. Belongs to one event loop."""

    def __init__(self, servicer: RewriteServicer, settings: Settings) -> None:
        self._host, self._port = settings.host, settings.http_port
        self._share_port = settings.workers > 1
        self._config = Config(
            HttpDoor(servicer, settings.max_message_bytes),
            loop="none", http=_Protocol, ws="none", interface="asgi3", lifespan="off", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S, h11_max_incomplete_event_size=settings.max_metadata_bytes,
        )  # fmt: skip
        self._config.load()
        self._state = _State(settings.max_connections)
        self._server: asyncio.Server | None = None

    async def open(self, certificates: Certificates | None) -> int:
        """Begins to listen, with TLS where there are certificates. The port's number. Raises OSError where it is taken,
        or the address is none of this machine's."""
        assert self._port is not None
        with_tls: dict[str, Any] = {}
        if certificates is not None:
            with_tls = {"ssl": certificates.ssl_context(), "ssl_handshake_timeout": _HEAD_S}
        bound = _bind(self._host, self._port, self._share_port)
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocol, sock=bound, backlog=_BACKLOG, **with_tls)
        except BaseException:
            bound.close()
            raise
        return int(bound.getsockname()[1])

    async def close(self, grace_s: float) -> None:
        """Listens no longer; lets answers under way be sent, for at most so long, and closes all connections."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=grace_s)
        for connection in list(self._state.connections):
            connection.transport.close()

    def _protocol(self) -> _Protocol:
        return _Protocol(self._config, self._state, {})


def _bind(host: str, port: int, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setblocking(False)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


