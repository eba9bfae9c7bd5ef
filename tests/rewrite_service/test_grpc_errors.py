"""Errors to gRPC statuses: every error of the tree has its code, and no status quotes anybody."""

from __future__ import annotations

import grpc
import pytest

from rewrite_service import errors, grpc_errors

SECRET = "tangerine"


def test_every_error_of_the_tree_has_a_code() -> None:
    tree = {kind for kind in errors.RewriteError.__subclasses__() if kind.__module__ == errors.__name__}
    assert tree == set(grpc_errors._CODES)


def test_the_caller_is_told_about_its_own_field() -> None:
    status = grpc_errors.to_status(errors.InvalidRequest("query", "1001 characters", "send at most 1000"))
    assert status == grpc_errors.Status(
        grpc.StatusCode.INVALID_ARGUMENT, "query: 1001 characters; send at most 1000", field="query"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Overloaded("64 requests are under way"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.NotReady("loading"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_the_caller_is_told_whether_to_come_again(error: Exception, code: grpc.StatusCode) -> None:
    assert grpc_errors.to_status(error) == grpc_errors.Status(code, str(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StoreError(SECRET), grpc.StatusCode.UNAVAILABLE),
        (errors.BundleError(SECRET), grpc.StatusCode.INTERNAL),
        (errors.RewriteError(SECRET), grpc.StatusCode.INTERNAL),
        (KeyError(SECRET), grpc.StatusCode.INTERNAL),
    ],
)
def test_inner_errors_are_opaque(error: Exception, code: grpc.StatusCode) -> None:
    status, other = grpc_errors.to_status(error), grpc_errors.to_status(error)
    assert status.code is code
    assert SECRET not in status.message
    assert status.error_id and status.error_id in status.message
    assert status.error_id != other.error_id
