"""One call of the service, whatever it came over: what it carries, how long it may take, how its bytes are read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from rewrite_service.access.scopes import Scope
from rewrite_service.decision import Decision
from rewrite_service.errors import InvalidRequest

# What of a client's patience is kept for the answer's way back: a twentieth, for on a busy machine it is the scheduler,
# not the wire, that eats it; and gRPC rounds a patience of seconds up, by 10 ms from 1 s on and by 100 ms from 10 s on.
# No more than 250 ms of a patient client, and 1 ms or a tenth of an impatient one.
_WAY_BACK_SHARE, _MOST_WAY_BACK_S = 0.05, 0.25
_LEAST_WAY_BACK_SHARE, _LEAST_WAY_BACK_S = 0.1, 0.001

Facts = dict[str, Any]
Metadata = Iterable[tuple[str, str | bytes]] | None


def way_back_s(remaining_s: float) -> float:
    """Seconds, of those that a client will still wait, that its answer needs to get there before its patience ends."""
    least = min(_LEAST_WAY_BACK_S, _LEAST_WAY_BACK_SHARE * remaining_s)
    return max(least, min(_MOST_WAY_BACK_S, _WAY_BACK_SHARE * remaining_s))


class Call:
    """One call under way. `arrived`: `time.monotonic()` seconds. `decision`: what was decided. `scopes`: what
    its caller may do. `traceparent`: the caller's trace, where calls are traced."""

    __slots__ = ("_told", "arrived", "deadline", "decision", "scopes", "traceparent")

    def __init__(self, patience_s: float | None) -> None:
        self.arrived = time.monotonic()
        self._told: list[Callable[[], Facts]] = []
        self.decision: Decision | None = None
        self.scopes: frozenset[Scope] = frozenset()
        self.traceparent: str | None = None
        self.deadline: float | None = None
        if patience_s is not None:
            self.deadline = self.arrived + patience_s - way_back_s(patience_s)

    def elapsed_us(self) -> int:
        return us_since(self.arrived)

    def tell(self, facts: Callable[[], Facts]) -> None:
        """What the call's log line will say as well, found out only where a line is written."""
        self._told.append(facts)

    @property
    def facts(self) -> Facts:
        """What the call's log line will say."""
        return {name: value for facts in self._told for name, value in facts().items()}


class Codec(Protocol):
    """How a door writes messages as bytes. `name`: for the log, where it is not gRPC's."""

    @property
    def name(self) -> str | None: ...

    def read(self, kind: type[Message], raw: bytes) -> Message:
        """Raises `InvalidRequest`."""

    def write(self, message: Message) -> bytes: ...

    def is_slow(self, kind: type[Message], raw: bytes) -> bool:
        """Whether reading takes so long that the event loop should not wait for it."""


class ProtobufCodec:
    name = None

    def read(self, kind: type[Message], raw: bytes) -> Message:
        return parse(kind, raw)

    def write(self, message: Message) -> bytes:
        return message.SerializeToString()

    def is_slow(self, kind: type[Message], raw: bytes) -> bool:
        return False


PROTOBUF = ProtobufCodec()


def parse(kind: type[Message], raw: bytes) -> Message:
    """The message of that kind in `raw`. Raises InvalidRequest."""
    try:
        return kind.FromString(raw)
    except DecodeError:
        remedy = f"send a {kind.DESCRIPTOR.full_name} with UTF-8 texts"
        raise InvalidRequest("(message)", "not readable", remedy) from None  # the cause may quote what was sent


def us_since(since: float) -> int:
    return int((time.monotonic() - since) * 1e6)
