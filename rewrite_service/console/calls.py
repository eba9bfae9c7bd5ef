"""The page's calls: each is one of the contract's, in protobuf's own JSON, made with the token of who is logged in.

So nothing can be seen or done here that the token could not see or do over gRPC, and nothing is checked twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import orjson
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from rewrite_service.console.guard import Guest, Refused
from rewrite_service.console.inside import Inside
from rewrite_service.pb import admin_pb2, rewrite_pb2

ASK, RULE = "Explain", ("Block", "Pin")
METHODS = {
    **{name: rewrite_pb2.DESCRIPTOR.services_by_name["RewriteService"] for name in (ASK, "DescribeUser")},
    **{
        name: admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
        for name in ("BundleStatus", *RULE, "Unblock", "ListRules")
    },
}
"""What the page may call, and of which service."""
_SECONDS = 10.0
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_NOT_THERE = "the server does not answer: it is starting, stopping or gone; try again in a moment, or look at its log"


def to_message(method: str, body: bytes, author: str) -> Message:
    """The message of a call. What a person leaves out is put in: id and time of a request, now; `author`: of a rule,
    whoever is logged in, whatever was sent. Raises `Refused`."""
    message: Any = _kind(method, METHODS[method].methods_by_name[method].input_type.name)()
    try:
        given = orjson.loads(body or b"{}")
        if not isinstance(given, dict):
            raise ParseError("it is no object")
        ParseDict(given, message)
    except (orjson.JSONDecodeError, ParseError) as error:
        raise Refused(400, f"this call is not understood: {error}") from None
    if method == ASK:
        request = message.request
        request.interaction_id = request.interaction_id or f"console-{uuid.uuid4().hex}"
        request.timestamp_ms = request.timestamp_ms or time.time_ns() // 1_000_000
        for turn in message.earlier:
            turn.user_id = request.user_id
            turn.interaction_id = turn.interaction_id or f"console-{uuid.uuid4().hex}"
    elif method in RULE:
        message.author = author
    made: Message = message
    return made


def _kind(method: str, name: str) -> Any:
    """The class of a message of the method's own file."""
    return getattr(admin_pb2 if METHODS[method].name == "AdminService" else rewrite_pb2, name)


def to_json(message: Message) -> dict[str, Any]:
    """A reply as the page has it: every field, in the contract's names; what is not a number is null."""
    made: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for candidate in made.get("candidates", ()):
        for feature in candidate["features"]:
            feature.update((name, None) for name, value in feature.items() if name != "name" and value in _NO_NUMBERS)
    return made


class Calls:
    """Asks the serving process. Belongs to one event loop."""

    def __init__(self, inside: Inside) -> None:
        self._secret = inside.metadata
        # A worker that is started anew is found within the second.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        self._channel = grpc.aio.insecure_channel(inside.address, options=options)

    async def call(self, method: str, message: Message, guest: Guest) -> Message:
        """The reply to `message`. Raises `Refused`, with the server's own words."""
        service = METHODS[method]
        kind = _kind(method, service.methods_by_name[method].output_type.name)
        ask: Callable[..., Awaitable[Message]] = self._channel.unary_unary(
            f"/{service.full_name}/{method}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=kind.FromString,
        )
        metadata = (("authorization", f"Bearer {guest.session.token}"), *self._secret)
        try:
            return await ask(message, timeout=_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            status = _STATUS.get(error.code(), 502)
            words = _NOT_THERE if status in (503, 504) else error.details() or error.code().name
            raise Refused(status, words) from None

    async def close(self) -> None:
        await self._channel.close()
