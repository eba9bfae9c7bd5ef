"""An ASGI application that hands calls to the servicer: the same way, the same gates, the same log lines as over gRPC.

    POST /v1/rewrite        Rewrite; likewise record, explain, teach, list_preferences, remove_preference, forget_user
    GET  /v1/openapi.json   what there is, for tools
    GET  /healthz           200 where calls are answered, else 503

Callers are programs. What a browser sends for a page is refused, so that no page that somebody opens can speak to a
server on their machine: pages cannot send JSON to others without asking, which nobody answers here, nor leave out where
they come from.
"""

from __future__ import annotations

import asyncio
import time
from importlib.resources import files

import grpc
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rewrite_service.errors import InvalidRequest
from rewrite_service.grpc_errors import Refused, Status, to_status
from rewrite_service.http_door.errors import Answer, error_answer
from rewrite_service.http_door.json_messages import read_message, write_message
from rewrite_service.http_door.patience import patience_s
from rewrite_service.metrics.catalogue import METHODS
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.servicer import RewriteServicer

PATHS = {f"/v1/{event}": method for event, method in METHODS.items()}
OPENAPI, HEALTH = "/v1/openapi.json", "/healthz"
_BODY_S = 10.0
"""For a message to arrive, where its caller did not say less."""
_SLOW_BYTES = 16 * 1024
_PATIENTLY = 4
"""So many times the most there may be is read of a message that is too long, and thrown away, so that its sender gets
to hear of it."""


class JsonCodec:
    name = "http"

    def read(self, kind: type[Message], raw: bytes) -> Message:
        return read_message(kind, raw)

    def write(self, message: Message) -> bytes:
        return write_message(message)

    def is_slow(self, kind: type[Message], raw: bytes) -> bool:
        # Of all others what is read is soon refused, or small; nor may they wait behind the disk.
        return kind is pb.RecordRequest and len(raw) > _SLOW_BYTES


_CODEC = JsonCodec()


class HttpDoor:
    """The application. `most_bytes`: of a message."""

    def __init__(self, servicer: RewriteServicer, most_bytes: int) -> None:
        self._servicer, self._most_bytes = servicer, most_bytes
        self._openapi = files(__package__).joinpath("openapi.json").read_bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            code, headers, body = await self._answer(request)
        except ClientDisconnect:
            return
        headers["cache-control"] = "no-store"
        if not self._servicer.is_serving:
            headers["connection"] = "close"  # so that the caller finds another server
        await Response(body, code, headers, "application/json")(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        path, asked = request.scope["path"], request.scope["method"]
        method = PATHS.get(path)
        if method is None and path not in (OPENAPI, HEALTH):
            message = f"there is no such path; send POST to one of {', '.join(PATHS)}"
            return error_answer(Status(grpc.StatusCode.NOT_FOUND, message))
        allowed = "GET" if method is None else "POST"
        if asked != allowed:
            code, headers, body = error_answer(_bad(f"{path} takes {allowed} alone; send that"), 405)
            return code, headers | {"allow": allowed}, body
        if path == HEALTH:
            serving = self._servicer.is_serving
            return 200 if serving else 503, {}, b'{"status":"SERVING"}' if serving else b'{"status":"NOT_SERVING"}'
        if method is None:
            return 200, {}, self._openapi
        return await self._call(method, request)

    async def _call(self, method: str, request: Request) -> Answer:
        headers = request.headers
        if "origin" in headers:
            return error_answer(Status(grpc.StatusCode.PERMISSION_DENIED, "web pages may not call; call from a server"))
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return error_answer(_bad("send JSON, with the header 'content-type: application/json'"), 415)
        if headers.get("content-encoding", "identity") != "identity":
            return error_answer(_bad("send the message unpacked, without content-encoding"), 415)
        arrived = time.monotonic()
        try:
            patience = patience_s(headers)
            async with asyncio.timeout(_BODY_S if patience is None else min(_BODY_S, patience)):
                raw = await self._body(request)
        except InvalidRequest as error:
            return error_answer(to_status(error))
        except TimeoutError:
            return error_answer(Status(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not arrive in time"), 408)
        if raw is None:
            message = f"send a message of at most {self._most_bytes} bytes"
            code, extra, body = error_answer(Status(grpc.StatusCode.RESOURCE_EXHAUSTED, message), 413)
            return code, extra | {"connection": "close"}, body
        left_s = None if patience is None else max(0.0, patience - (time.monotonic() - arrived))
        metadata = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers.raw]
        try:
            async with asyncio.timeout(left_s):
                return 200, {}, await self._servicer.call(method, raw, left_s, metadata, _CODEC)
        except Refused as refused:
            return error_answer(refused.status)
        except TimeoutError:
            return error_answer(Status(grpc.StatusCode.DEADLINE_EXCEEDED, "not done in time; it may be done later"))

    async def _body(self, request: Request) -> bytes | None:
        """The message, None where it is too long."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > _PATIENTLY * self._most_bytes:
                break
            if size <= self._most_bytes:
                parts.append(part)
            else:
                parts.clear()
        return b"".join(parts) if size <= self._most_bytes else None


def _bad(remedy: str) -> Status:
    return Status(grpc.StatusCode.INVALID_ARGUMENT, remedy)
