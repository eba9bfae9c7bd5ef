"""The socket by which the console asks a serving process: both services, on a Unix socket of a random name.

Of its own beside the server's ports, so that the console needs no certificate of the server's name, no client
certificate, and no open AdminService. So that nobody else on the machine gets round these by it, each call must carry
a secret of this start; and its token, as anywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from pathlib import Path
from typing import Any

import grpc

from rewrite_service.access.door import Access
from rewrite_service.access.sockets import server_options
from rewrite_service.admin.servicer import AdminServicer
from rewrite_service.console.inside import SECRET, Inside
from rewrite_service.servicer import RewriteServicer
from rewrite_service.settings import Settings


class _ConsoleAlone(grpc.aio.ServerInterceptor):
    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        shown = dict(details.invocation_metadata).get(SECRET, "")
        handler = await continuation(details)
        if handler is None or compare_digest(str(shown).encode(), self._secret):
            return handler

        async def refuse(raw: bytes, context: Any) -> bytes:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this socket is the console's own")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def open_door(
    inside: Inside, place: Path, settings: Settings, access: Access, servicer: RewriteServicer
) -> grpc.aio.Server:
    """Serves on the socket. Raises RuntimeError where it cannot be had, StoreError as `AdminServicer`."""
    server = grpc.aio.server(options=server_options(settings), interceptors=[_ConsoleAlone(inside.secret)])
    server.add_generic_rpc_handlers((servicer.handlers(), AdminServicer(place, settings, access).handlers()))
    server.add_insecure_port(inside.address)
    await server.start()
    return server
