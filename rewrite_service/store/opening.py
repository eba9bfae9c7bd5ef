"""The store that the settings name."""

from __future__ import annotations

from rewrite_service.settings import Settings, SettingsError
from rewrite_service.store.base import Store

DAY_S = 24 * 3600


def require_redis() -> None:
    """Raises SettingsError where the libraries for Redis are not installed."""
    try:
        import hiredis  # noqa: F401
        import redis  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingsError(f"the store redis needs {error.name}: pip install 'query-rewrite[redis]'") from None


def open_store(settings: Settings) -> Store:
    """Opened, with the bounds of the settings. Raises StoreError, and SettingsError as `require_redis`."""
    bounds = {"max_turns_per_user": settings.max_turns_per_user, "max_bytes_per_user": settings.max_bytes_per_user}
    if settings.store == "embedded":
        from rewrite_service.store.embedded import EmbeddedStore

        return EmbeddedStore(settings.state_dir, **bounds)
    require_redis()
    from rewrite_service.store.redis_store import RedisStore

    assert settings.redis_url is not None  # checked with the settings
    return RedisStore(
        settings.redis_url.get_secret_value(),
        cluster=settings.redis_cluster,
        read_timeout_s=settings.redis_read_timeout_ms / 1000,
        write_timeout_s=settings.redis_write_timeout_ms / 1000,
        connect_timeout_s=settings.redis_connect_timeout_ms / 1000,
        ttl_s=settings.redis_ttl_days * DAY_S,
        **bounds,
    )
