"""What a Redis must be to be used, and what its operator should hear about how durable it is."""

from __future__ import annotations

from typing import Any

import structlog
from redis import Redis
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError, ResponseError

from rewrite_service.errors import StoreError
from rewrite_service.store.redis_lane import FAULTS, Lane, kind_of

LEAST_VERSION = (6, 2)

_log = structlog.get_logger()


def check(lane: Lane, *, cluster: bool) -> None:
    """Raises `StoreError` where Redis answers and cannot be used. Where it does not answer, and of what makes it less
    durable than it could be, the log has a warning, and it is used."""
    try:
        nodes = lane.nodes()
        about = nodes[0].info("server")
        _refuse(about, cluster)
        for warning in dict.fromkeys(warning for node in nodes for warning in warnings_of(node)):
            _log.warning("redis is less durable than it could be", why=warning)
    except FAULTS as error:
        cause = error.__cause__ if isinstance(error, RedisClusterException) else error
        if isinstance(cause, AuthenticationError):
            raise StoreError("redis refuses the password or user of redis_url") from None
        if isinstance(cause, ResponseError | RedisClusterException):
            raise StoreError(f"redis cannot be used as a cluster: {kind_of(cause)}; is redis_cluster right?") from None
        _log.warning("redis cannot be reached; serving without what is personal until it can", error=kind_of(error))
    except RedisError as error:
        raise StoreError(f"redis cannot be used: {kind_of(error)}") from None


def _refuse(about: dict[str, Any], cluster: bool) -> None:
    version = tuple(int(part) for part in str(about["redis_version"]).split(".")[:2])
    if version < LEAST_VERSION:
        raise StoreError(f"redis is {about['redis_version']}; it must be 6.2 or later")
    if not cluster and about.get("redis_mode") == "cluster":
        raise StoreError("redis is a node of a cluster; set redis_cluster")


def warnings_of(node: Redis) -> list[str]:
    """What may lose turns that were acknowledged. Managed services may keep their settings to themselves."""
    if not node.info("persistence").get("aof_enabled"):
        return ["appendonly is off: what was recorded since the last snapshot is lost when Redis ends"]
    try:
        asked = node.config_get("appendfsync", "maxmemory-policy")
    except ResponseError:
        return ["appendfsync cannot be seen: unless it is always, a power cut may lose the last second or two"]
    found = []
    if asked.get("appendfsync") != "always":
        found.append(f"appendfsync is {asked.get('appendfsync')}: a power cut may lose the last second or two")
    if asked.get("maxmemory-policy") != "noeviction":
        found.append(f"maxmemory-policy is {asked.get('maxmemory-policy')}: when memory is full, users may be dropped")
    return found
