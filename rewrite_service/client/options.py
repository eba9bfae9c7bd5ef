"""How a client connects and how long it waits: its options, and the channels that follow from them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import grpc

from rewrite_service.pb import rewrite_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["RewriteService"].full_name
USER_KEY = "x-user-key"
"""Metadata: a keyed hash of the user's id. A proxy that sends equal keys to the same server keeps caches warm, and
neither it nor its log learns who asks."""

# The server cuts off who pings more than once in 10 s. Its restart should be noticed within a second or two, where
# gRPC's own pause between attempts grows to two minutes. How long one attempt may take goes by another name there.
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 30_000, 5_000
_FIRST_RECONNECT_MS, _MOST_RECONNECT_MS = 100, 2_000
_CONNECT_MS = 5_000
_MOST_AFFINITY_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Everything a client can be told, checked when it is made: `ValueError` names the field and the remedy.

    `deadline_ms`: how long a `rewrite` may take, all told. `hedge_after_ms`: ask again over another connection when
    there is no answer after so long, and take the first that comes; None: do not. `connections`: to the target, used in
    turn; several, where the server has several workers. `write_timeout_s`: for `record` and all else that writes, tries
    included. `breaker_failures`: failed calls in a row after which `rewrite` does not call for `breaker_pause_s`,
    doubling up to `breaker_most_pause_s` while it goes on failing.

    `tls`: with TLS, by the system's authorities, or those of `ca`; `cert`, `key`: the client's own, for mutual TLS; all
    PEM files. `authority`: the name in the server's certificate, where it is not the target's. `token`: sent as bearer
    token. `affinity_key`: a secret, the same in all clients, at most 64 bytes; with it each call carries `x-user-key`.
    `health_checks`: leave out servers of the target that do not say SERVING.
    """

    deadline_ms: float = 25.0
    hedge_after_ms: float | None = None
    connections: int = 1
    write_timeout_s: float = 5.0
    breaker_failures: int = 5
    breaker_pause_s: float = 0.5
    breaker_most_pause_s: float = 10.0
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    authority: str | None = None
    token: str | None = field(default=None, repr=False)
    affinity_key: bytes | None = field(default=None, repr=False)
    health_checks: bool = True

    def __post_init__(self) -> None:
        for name, least, most in (
            ("deadline_ms", 1, 60_000),
            ("hedge_after_ms", 0, 60_000),
            ("connections", 1, 64),
            ("write_timeout_s", 0.001, 3600),
            ("breaker_failures", 1, 1_000_000),
            ("breaker_pause_s", 0.001, 3600),
            ("breaker_most_pause_s", self.breaker_pause_s, 3600),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name}: {value:g} lies outside {least:g} to {most:g}")
        if not self.tls and (self.ca or self.cert or self.key):
            raise ValueError("ca, cert, key: are for TLS; set tls=True")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together: give both, or neither")
        if self.affinity_key is not None and not 0 < len(self.affinity_key) <= _MOST_AFFINITY_BYTES:
            raise ValueError(f"affinity_key: give 1 to {_MOST_AFFINITY_BYTES} bytes")

    @classmethod
    def from_environment(cls, **given: Any) -> ClientOptions:
        """As `given`, and where that says nothing, by the environment: `QUERY_REWRITE_CLIENT_` and the name in
        capitals, such as `QUERY_REWRITE_CLIENT_TOKEN`. Raises `ValueError`."""
        for option in fields(cls):
            text = os.environ.get(f"QUERY_REWRITE_CLIENT_{option.name.upper()}")
            if text is not None and option.name not in given:
                try:
                    given[option.name] = _READ[str(option.type).split(" | ")[0]](text)
                except ValueError:
                    name = f"QUERY_REWRITE_CLIENT_{option.name.upper()}"
                    raise ValueError(f"{name}: not a value of the kind {option.type}") from None
        return cls(**given)

    @property
    def channels(self) -> int:
        """Connections to hold: one more than one, where a second call needs another."""
        return max(self.connections, 1 if self.hedge_after_ms is None else 2)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """For TLS, or None. Raises OSError where a file cannot be read."""
        if not self.tls:
            return None
        ca, key, cert = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)

    def arguments(self) -> Sequence[tuple[str, Any]]:
        """gRPC's options of a channel: all servers behind the target's name in turn, those that are well alone."""
        config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if self.health_checks:
            config["healthCheckConfig"] = {"serviceName": SERVICE}
        arguments: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.use_local_subchannel_pool", 1),  # else two channels to one target share their connection
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _MOST_RECONNECT_MS),
        ]
        if self.authority is not None:
            arguments.append(("grpc.default_authority", self.authority))
            arguments.append(("grpc.ssl_target_name_override", self.authority))
        return arguments

    def metadata(self, user_id: str | None) -> tuple[tuple[str, str], ...]:
        """What goes with a call about that user (None: about several, or none)."""
        out: list[tuple[str, str]] = []
        if self.token is not None:
            out.append(("authorization", f"Bearer {self.token}"))
        if self.affinity_key is not None and user_id is not None:
            out.append((USER_KEY, user_key(user_id, self.affinity_key)))
        return tuple(out)


def user_key(user_id: str, affinity_key: bytes) -> str:
    """What stands for a user where servers are chosen: 128 bits of BLAKE2b, in hex; of no use without the key."""
    raw = user_id.encode("utf-8", "surrogatepass")
    return blake2b(raw, digest_size=16, key=affinity_key, person=b"qr-user-key").hexdigest()


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "1")


_READ: dict[str, Callable[[str], Any]] = {
    "float": float, "int": int, "bool": _bool, "str": str, "Path": Path, "bytes": str.encode,
}  # fmt: skip
