"""How long a caller over HTTP will wait: `x-timeout-ms: 25`, or `grpc-timeout: 25m` as gRPC writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rewrite_service.errors import InvalidRequest

TIMEOUT_MS, GRPC_TIMEOUT = "x-timeout-ms", "grpc-timeout"
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_S = 3600.0


def patience_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, None where the caller does not say. Raises `InvalidRequest`."""
    if (said := headers.get(TIMEOUT_MS)) is not None:
        if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,6})?", said):
            raise InvalidRequest(TIMEOUT_MS, "not a number", "send milliseconds, such as 25")
        return _within(TIMEOUT_MS, float(said) / 1000)
    if (said := headers.get(GRPC_TIMEOUT)) is not None:
        if not re.fullmatch(r"[0-9]{1,8}[HMSmun]", said):
            raise InvalidRequest(GRPC_TIMEOUT, "not a timeout", "send at most eight digits and a unit, such as 25m")
        return _within(GRPC_TIMEOUT, int(said[:-1]) * _UNITS[said[-1]])
    return None


def _within(header: str, seconds: float) -> float:
    if seconds <= 0:
        raise InvalidRequest(header, "no time at all", "send more than 0")
    return min(seconds, _MOST_S)
