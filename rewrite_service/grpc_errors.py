"""The one place where errors become gRPC statuses.

A caller learns which of its own fields was wrong, or whether trying again helps; of anything else only an opaque id,
under which the log has the rest. No status carries a text that some user said.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass

import grpc

from rewrite_service.errors import (
    BundleError,
    InvalidRequest,
    LimitReached,
    NotDone,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    RewriteError,
    StillUnderWay,
    StoreError,
    Unauthenticated,
)

_CODES: dict[type[RewriteError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    LimitReached: grpc.StatusCode.FAILED_PRECONDITION,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    NotFound: grpc.StatusCode.NOT_FOUND,
    NotDone: grpc.StatusCode.FAILED_PRECONDITION,
    StillUnderWay: grpc.StatusCode.DEADLINE_EXCEEDED,
    StoreError: grpc.StatusCode.UNAVAILABLE,
    BundleError: grpc.StatusCode.INTERNAL,
}

# These two speak of files and other inner things, which are the operator's business and not the caller's.
_MESSAGES: dict[type[RewriteError], str] = {
    StoreError: "the state store failed; nothing was taken, send it again later",
    BundleError: "the bundle cannot be used",
}


PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata: milliseconds after which to try again. gRPC clients that retry by themselves keep to it
(github.com/grpc/proposal, A6)."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the caller gets. `error_id`: names the log's entry of an error that is the service's own; else None.
    `trailing`: metadata that goes with it. `field`: of the caller's message, at fault. `retry_after_s`: seconds after
    which to try again, where that is known."""

    code: grpc.StatusCode
    message: str
    error_id: str | None = None
    trailing: tuple[tuple[str, str], ...] = ()
    field: str | None = None
    retry_after_s: float | None = None


class Refused(Exception):
    """A call that ended without an answer: what to tell the caller, however it called."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.code.name)
        self.status = status


def to_status(error: Exception) -> Status:
    """The status of an error. Errors not raised on purpose, and inner ones, get INTERNAL or UNAVAILABLE and an id."""
    kind = type(error)
    if kind not in _CODES:
        return _with_id(grpc.StatusCode.INTERNAL, "internal error")
    if kind in _MESSAGES:
        return _with_id(_CODES[kind], _MESSAGES[kind])
    if isinstance(error, Overloaded) and error.retry_after_s is not None:
        trailing = ((PUSHBACK_KEY, str(math.ceil(1000 * error.retry_after_s))),)
        return Status(_CODES[kind], str(error), trailing=trailing, retry_after_s=error.retry_after_s)
    return Status(_CODES[kind], str(error), field=error.field if isinstance(error, InvalidRequest) else None)


def _with_id(code: grpc.StatusCode, message: str) -> Status:
    error_id = uuid.uuid4().hex[:16]
    return Status(code, f"{message} (error {error_id})", error_id)
