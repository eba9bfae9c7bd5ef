"""One way to a Redis, or to a cluster of them: a client with its own timeouts, behind circuit breakers.

A cluster has a breaker for each node, so that the users of those that are well lose nothing by one that is not. Errors
say what kind they are and no more: what Redis answers may quote what it was told.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, TypeAlias, TypeVar

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from rewrite_service.errors import StoreError
from rewrite_service.store.breaker import Breaker, Probes

T = TypeVar("T")
Client: TypeAlias = Redis | RedisCluster

FAULTS = (
    ConnectionError, TimeoutError, BusyLoadingError, ClusterDownError, ReadOnlyError, RedisClusterException, OSError,
)  # fmt: skip
"""Errors that tell of an ill Redis; others are answers, quick ones, to a call that was wrong."""
_CODE = re.compile(r"[A-Z]{2,20}\b")


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a Redis is and how long to wait for it. `url`: redis://, rediss:// or unix://; may hold a password.
    Seconds; `lost_s`, `failures`: see `breaker`."""

    url: str
    cluster: bool
    timeout_s: float
    connect_timeout_s: float
    failures: int
    lost_s: float


class Script:
    """A script in Lua, known to Redis by its hash once it has run there."""

    def __init__(self, source: str) -> None:
        self.source, self.sha = source, sha1(source.encode(), usedforsecurity=False).hexdigest()


class Lane:
    """Calls go to the node that has their key. Thread-safe; connects when it is first needed."""

    def __init__(self, name: str, reach: Reach, probes: Probes) -> None:
        self._name, self._reach, self._probes = name, reach, probes
        self._client: Client | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}

    def run(self, key: str, work: Callable[[Client], T]) -> T:
        """What `work` returns, which asks for `key` or for keys of its slot. Raises `StoreError`."""
        if self._closed:
            raise StoreError("the store is closed")
        try:
            client = self._client
            if client is None:
                with self._breaker("start").guard(FAULTS, self._connected):
                    client = self._connected()
            with self._breaker(self._place_of(client, key)).guard(FAULTS, lambda: client.exists(key)):
                return work(client)
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreError(f"redis failed: {kind_of(error)}") from None

    def script(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Runs a script on keys of one slot: one round trip, two where Redis has not met it before."""

        def work(client: Client) -> Any:
            try:
                return client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return client.eval(script.source, len(keys), *keys, *arguments)

        return self.run(keys[0], work)

    def nodes(self) -> list[Redis]:
        """A client of each Redis that takes writes. Raises what redis-py raises."""
        client = self._connected()
        return [client] if isinstance(client, Redis) else [p.redis_connection for p in client.get_primaries()]

    def connect(self) -> None:
        """Connects now, so that no request has to; where that fails, asks no more until it can be done."""
        try:
            self._connected()
        except FAULTS:
            self._breaker("start").trip(self._connected)

    def close(self) -> None:
        self._closed = True
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                client = self._open()
                if isinstance(client, Redis):  # a cluster has been asked for its nodes already
                    client.ping()
                self._client = client
            return self._client

    def _open(self) -> Client:
        reach = self._reach
        chosen: dict[str, Any] = {
            "socket_timeout": reach.timeout_s,
            "socket_connect_timeout": reach.connect_timeout_s,
            "retry": Retry(NoBackoff(), 0),  # trying again is the breaker's business: a request has no time for it
            "protocol": 2,
        }
        if reach.cluster:
            return RedisCluster.from_url(reach.url, require_full_coverage=False, **chosen)
        return Redis.from_url(reach.url, driver_info=None, **chosen)

    def _place_of(self, client: Client, key: str) -> str:
        if isinstance(client, Redis):
            return "redis"
        node = client.get_node_from_key(key)
        return "nowhere" if node is None else str(node.name)

    def _breaker(self, place: str) -> Breaker:
        breaker = self._breakers.get(place)
        if breaker is None:
            made = Breaker(
                f"{self._name} {place}", self._probes, failures=self._reach.failures, lost_s=self._reach.lost_s
            )
            breaker = self._breakers.setdefault(place, made)
        return breaker


def kind_of(error: Exception) -> str:
    """The error's class, the code in capitals that Redis begins its answers with, and the class of what caused it."""
    code = _CODE.match(str(error)) if isinstance(error, RedisError) else None
    cause = f" ({type(error.__cause__).__name__})" if error.__cause__ is not None else ""
    return type(error).__name__ + (f" {code.group()}" if code else "") + cause
