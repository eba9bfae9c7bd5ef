"""Statuses as HTTP answers: the code, and JSON in the form of google.rpc.Status (google.aip.dev/193), which names the
field at fault and says what would be accepted."""

from __future__ import annotations

import math
from typing import Any

import grpc
import orjson

from rewrite_service.grpc_errors import Status

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""As google.rpc.Code says, of the codes that the service uses."""

Answer = tuple[int, dict[str, str], bytes]
"""HTTP code, headers, body."""


def error_answer(status: Status, http: int | None = None) -> Answer:
    """`http`: the code, where it says more than the status's own."""
    number = _HTTP.get(status.code, 500) if http is None else http
    error: dict[str, Any] = {"code": number, "status": status.code.name, "message": status.message}
    headers: dict[str, str] = {}
    details: list[dict[str, Any]] = []
    if status.field is not None:
        said = status.message.removeprefix(f"{status.field}: ")
        violation = {"field": status.field, "description": said}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if status.retry_after_s is not None:
        delay = f"{status.retry_after_s:.3f}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
        headers["retry-after"] = str(math.ceil(status.retry_after_s))
    if details:
        error["details"] = details
    if status.code is grpc.StatusCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    return number, headers, orjson.dumps({"error": error})
