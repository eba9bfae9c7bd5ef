"""What can be set, from where, within which bounds.

Each setting comes from the first of: the command line, the environment (`QUERY_REWRITE_` and its name in capitals), a
TOML file (`--config` or `QUERY_REWRITE_CONFIG`), its default. docs/operations.md lists them all; a test sees to that.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from retriever.normalise import MAX_CHARS
from rewrite_service.access.exposure import is_loopback, open_to_others
from rewrite_service.errors import RewriteError

ENV_PREFIX = "QUERY_REWRITE_"
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"

MIB = 1024 * 1024


class SettingsError(RewriteError):
    """A setting is unknown or out of its bounds; the message has a line for each."""


class Settings(BaseSettings):
    """The settings of one server. Immutable. Use `load_settings` to read them with clear errors."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )

    host: str = Field("127.0.0.1", min_length=1)
    """Address to serve on. Beyond loopback TLS is needed, and tokens or client certificates, or `allow_insecure`."""

    port: int = Field(50051, ge=0, le=65535)
    """Port to serve on; 0 takes a free one and logs which."""

    workers: int = Field(1, ge=1, le=256)
    """Server processes on the port, one for each core to use; requests are dealt out among them by connection."""

    tls_cert: Path | None = None
    """File with the server's certificate chain, PEM. With it and `tls_key` the server speaks TLS and nothing else.
    Read anew when it changes."""

    tls_key: Path | None = None
    """File with the certificate's private key, PEM, without a password."""

    tls_client_ca: Path | None = None
    """File with authorities, PEM: only clients with a certificate that one of them signed can connect (mutual
    TLS)."""

    tokens_file: Path | None = None
    """File that says who may call, made by `query-rewrite token new`; not given: whoever can connect. Read anew
    when it changes."""

    allow_insecure: bool = False
    """Serve beyond loopback without TLS, or to callers who show neither token nor certificate. For containers
    behind a proxy or in a network of their own that sees to this."""

    state_dir: Path = Path("var/state")
    """Folder of the embedded store, made where there is none, readable by its owner only. Not on a network file
    system that several machines share."""

    bundle_watch_s: float = Field(5.0, ge=0, le=86_400)
    """How often to look for another bundle in the place of the one that is served, in seconds; 0: never."""

    admin_port: int | None = Field(None, ge=0, le=65535)
    """Port for AdminService; not given: it is off; 0 takes a free one and logs which."""

    admin_host: str = Field("127.0.0.1", min_length=1)
    """Address for AdminService. Beyond loopback TLS and `tokens_file` are needed, whatever `allow_insecure` says."""

    store: Literal["embedded", "redis"] = "embedded"
    """Where turns and preferences are kept: in `state_dir`, for one machine, or in a Redis, for several."""

    redis_url: SecretStr | None = None
    """Address of the Redis, such as `rediss://user:password@host:6379/0`; `redis://` has no TLS, `unix://` is
    local. Needed with `store` redis. No message and no log line quotes it."""

    redis_cluster: bool = False
    """Whether the Redis is a cluster; `redis_url` then names any of its nodes."""

    redis_read_timeout_ms: int = Field(10, ge=1, le=60_000)
    """How long a `Rewrite` waits for Redis, in milliseconds; then it goes without what is personal. With TLS at
    least `redis_connect_timeout_ms`, since the handshake falls under it."""

    redis_write_timeout_ms: int = Field(1000, ge=1, le=60_000)
    """How long a `Record` waits for Redis, in milliseconds; then it is refused with UNAVAILABLE."""

    redis_connect_timeout_ms: int = Field(50, ge=1, le=60_000)
    """How long a new connection to Redis may take, TLS included, in milliseconds."""

    redis_ttl_days: int = Field(400, ge=1, le=3650)
    """Days after a user's last write until Redis drops what it has of the user."""

    threshold: float | None = Field(None, ge=0, le=1)
    """Least probability that a rewrite helps rather than harms; not given: the bundle's own. `evaluate --report`
    advises on it."""

    least_win: float | None = Field(None, ge=0, le=1)
    """Least probability that a rewrite helps at all; not given: the bundle's own. Lower means more needless
    rewrites."""

    holdout_share: float = Field(0.0, ge=0, le=1)
    """Share of users who get no rewrites, so that the difference can be measured."""

    holdout_salt: str = "holdout"
    """Goes into the hash that draws them: another one draws others. The same on all servers."""

    experience_every_s: float = Field(5.0, ge=0, le=3600)
    """Seconds between looks at what came of rewrites, for everybody; 0: a user's own experience alone counts."""

    default_deadline_ms: int = Field(20, ge=1, le=60_000)
    """Time for a `Rewrite` whose client gave no deadline, in milliseconds; a client's own deadline goes before."""

    explain_deadline_ms: int = Field(1000, ge=1, le=60_000)
    """The same for an `Explain`."""

    max_in_flight: int = Field(64, ge=1, le=100_000)
    """`Rewrite` and `Explain` requests under way at the same time; more are refused with RESOURCE_EXHAUSTED. A bound
    on memory; waiting is bounded in time."""

    max_wait_ms: int = Field(500, ge=1, le=60_000)
    """Longest expected wait behind others of a `Rewrite` or `Explain`, in milliseconds, however patient its client
    is; beyond it, it is refused with RESOURCE_EXHAUSTED."""

    max_records_in_flight: int = Field(64, ge=1, le=100_000)
    """The same for `Record`, counted apart so that a slow disk never holds up rewrites."""

    max_message_bytes: int = Field(MIB, ge=64 * 1024, le=64 * MIB)
    """Largest message taken, in bytes; larger ones are refused with RESOURCE_EXHAUSTED."""

    max_metadata_bytes: int = Field(8192, ge=1024, le=64 * 1024)
    """Largest metadata of a call, in bytes; larger ones are refused with RESOURCE_EXHAUSTED."""

    max_connections: int = Field(1000, ge=1, le=1_000_000)
    """Connections open at the same time, those of health checks among them; more are closed at once."""

    max_streams_per_connection: int = Field(1000, ge=1, le=100_000)
    """Calls under way on one connection; its client holds back more until one has ended."""

    max_query_chars: int = Field(MAX_CHARS, ge=1, le=MAX_CHARS)
    """Longest query, alternative or rewrite taken, in characters; longer ones are refused with INVALID_ARGUMENT."""

    max_turns_per_user: int = Field(2000, ge=1, le=100_000)
    """Turns kept of each user, the most useful; others are dropped."""

    max_bytes_per_user: int = Field(4 * MIB, ge=64 * 1024, le=1024 * MIB)
    """Bytes of turns kept of each user, likewise."""

    text_vector_cache_bytes: int = Field(64 * MIB, ge=0)
    """Memory for the vectors of texts met lately, in bytes; 0 keeps none."""

    user_cache_bytes: int = Field(256 * MIB, ge=0)
    """Memory for what is known of users met lately, in bytes, about 7 KB for each of their turns; 0 keeps none."""

    decision_cache_bytes: int = Field(32 * MIB, ge=0)
    """Memory for decisions of the last moments, given again to a request that comes again; 0 keeps none."""

    decision_cache_span_ms: int = Field(10_000, ge=1, le=600_000)
    """For how long a decision may be given again, in milliseconds of the requests' own time."""

    encoder_threads: int = Field(1, ge=1, le=64)
    """Threads of the text encoder for one request; more only where cores would be idle."""

    http_port: int | None = Field(None, ge=0, le=65535)
    """Port for JSON over HTTP, on `host`, with the same TLS, tokens and limits; not given: it is off; 0 takes a free
    one and logs which."""

    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port for Prometheus to read metrics from, over HTTP; 0 takes a free one and logs which; not given: no metrics."""

    metrics_host: str = Field("127.0.0.1", min_length=1)
    """Address of the same. Whoever reaches it reads all metrics; they hold no text and no id."""

    otlp_endpoint: str | None = Field(None, pattern=r"^https?://[^\s/]+$")
    """Where to send traces, OTLP over gRPC, such as `http://127.0.0.1:4317`; needs the extra `tracing`; not given:
    nowhere."""

    trace_share: float = Field(0.01, ge=0, le=1)
    """Share of the calls to trace, of those whose caller sends no trace context; else the caller's word counts."""

    console_port: int | None = Field(None, ge=0, le=65535)
    """Port for the console, a web page for operators; none: it is off; 0 takes a free one and logs which."""

    console_host: str = Field("127.0.0.1", min_length=1)
    """Address of the same. It needs `tokens_file`; beyond loopback TLS too, whatever `allow_insecure` says."""

    drain_seconds: float = Field(10.0, ge=0, le=3600)
    """Time for requests under way to finish after SIGTERM or SIGINT, in seconds; then they are cut."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged; each request is one line at info."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or coloured lines for people."""

    log_texts: bool = False
    """Whether texts and ids of users may be logged. Off, no log line holds any of them, errors included."""

    @property
    def counts_calls(self) -> bool:
        """Whether somebody wants to know what became of calls."""
        return self.metrics_port is not None or self.console_port is not None

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None and info.data.get("store") == "redis":
            raise ValueError("the store redis needs its address, such as redis://127.0.0.1:6379")
        if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("an address begins with redis://, rediss:// (TLS) or unix://")
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings


def load_settings(config: Path | None = None, **given: Any) -> Settings:
    """The settings from command line (`given`; None: not given), environment, file and defaults, in this order.

    `config`: a TOML file; where None, the one that `QUERY_REWRITE_CONFIG` names, if any. Raises `SettingsError`.
    """
    if config is None and os.environ.get(CONFIG_VARIABLE):
        config = Path(os.environ[CONFIG_VARIABLE])
    from_file = {} if config is None else _read(config)
    in_environment = {name for name in Settings.model_fields if _is_set(ENV_PREFIX + name.upper())}
    given = {name: value for name, value in given.items() if value is not None}
    merged = {name: value for name, value in from_file.items() if name not in in_environment} | given
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_explained(error, from_file, given, config)) from None
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("tls_cert and tls_key go together: set both, or neither")
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise SettingsError("tls_client_ca needs tls_cert and tls_key")
    if not is_loopback(settings.admin_host) and (settings.tls_cert is None or settings.tokens_file is None):
        raise SettingsError(
            f"admin_host: {settings.admin_host} can be reached by others: set tls_cert, tls_key and tokens_file"
        )
    if settings.console_port is not None and settings.tokens_file is None:
        raise SettingsError("console_port: the console knows people by their tokens: set tokens_file")
    if settings.console_port is not None and not is_loopback(settings.console_host) and settings.tls_cert is None:
        raise SettingsError(f"console_host: {settings.console_host} can be reached by others: set tls_cert and tls_key")
    if (problem := open_to_others(settings.host, settings)) is not None:
        raise SettingsError(f"host: {problem}")


_SECRET = frozenset({"redis_url"})
"""Settings that may hold a password: no message quotes them."""


def _is_set(variable: str) -> bool:
    return any(name.upper() == variable for name in os.environ)


def _read(config: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config}: cannot be read: {error}") from error
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        raise SettingsError(f"{config}: unknown settings: {', '.join(unknown)}")
    return values


def _explained(error: ValidationError, from_file: dict[str, Any], given: dict[str, Any], config: Path | None) -> str:
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0])
        if name in given:
            origin = "as given"
        elif _is_set(ENV_PREFIX + name.upper()):
            origin = ENV_PREFIX + name.upper()
        else:
            origin = str(config) if name in from_file else "default"
        got = "" if name in _SECRET else f", got {problem['input']!r}"
        lines.append(f"{name} ({origin}): {problem['msg']}{got}")
    return "\n".join(lines)
