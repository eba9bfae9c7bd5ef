"""The store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewrite_service.store.base import Store

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

DAY_S = 24 * 3600


def open_store(settings: Settings) -> Store:
    """Opened, with the bounds of the settings. Raises StoreError."""
    bounds = {"max_turns_per_user": settings.max_turns_per_user, "max_bytes_per_user": settings.max_bytes_per_user}
    if settings.store == "embedded":
        from rewrite_service.store.embedded import EmbeddedStore

        return EmbeddedStore(settings.state_dir, **bounds)
    from rewrite_service.store.redis_store import RedisStore

    return RedisStore(
        settings.redis_url.get_secret_value(),
        cluster=settings.redis_cluster,
        read_timeout_s=settings.redis_read_timeout_ms / 1000,
        write_timeout_s=settings.redis_write_timeout_ms / 1000,
        connect_timeout_s=settings.redis_connect_timeout_ms / 1000,
        ttl_s=settings.redis_ttl_days * DAY_S,
        **bounds,
    )
