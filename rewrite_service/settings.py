"""What can be set, from where, within which bounds.

Each setting comes from the first of: the command line, the environment (`QUERY_REWRITE_` and its name in capitals), a
TOML file (`--config` or `QUERY_REWRITE_CONFIG`), its default. docs/operations.md lists them all; a test sees to that.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from retriever.normalise import MAX_CHARS
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
    """Address to serve on. There is no TLS here: put a proxy in front of anything but loopback."""

    port: int = Field(50051, ge=0, le=65535)
    """Port to serve on; 0 takes a free one and logs which."""

    workers: int = Field(1, ge=1, le=256)
    """Server processes on the port, one for each core to use; requests are dealt out among them by connection."""

    state_dir: Path = Path("var/state")
    """Folder of the embedded store, made where there is none, readable by its owner only."""

    bundle_watch_s: float = Field(5.0, ge=0, le=86_400)
    """How often to look for another bundle in the place of the one that is served, in seconds; 0: never."""

    admin_port: int | None = Field(None, ge=0, le=65535)
    """Port for AdminService; none: it is off; 0 takes a free one and logs which."""

    admin_host: str = Field("127.0.0.1", min_length=1)
    """Address for AdminService, of this machine's loopback alone: its calls carry no credentials."""

    @field_validator("admin_host")
    @classmethod
    def _admin_stays_here(cls, host: str) -> str:
        if not is_loopback(host):
            raise ValueError("AdminService knows no callers yet, so it serves loopback alone, such as 127.0.0.1")
        return host

    threshold: float | None = Field(None, ge=0, le=1)
    """Least probability that a rewrite helps rather than harms; none: the bundle's. `evaluate --report` advises."""

    least_win: float | None = Field(None, ge=0, le=1)
    """Least probability that a rewrite helps at all; none: the bundle's own. Lower means more needless rewrites."""

    default_deadline_ms: int = Field(20, ge=1, le=60_000)
    """Time for a Rewrite whose client gave no deadline, in milliseconds; a client's own deadline goes before."""

    explain_deadline_ms: int = Field(1000, ge=1, le=60_000)
    """The same for an Explain."""

    max_in_flight: int = Field(64, ge=1, le=100_000)
    """Rewrite and Explain requests under way at the same time; more are refused with RESOURCE_EXHAUSTED."""

    max_records_in_flight: int = Field(64, ge=1, le=100_000)
    """The same for Record, counted apart so that a slow disk never holds up rewrites."""

    max_message_bytes: int = Field(MIB, ge=64 * 1024, le=64 * MIB)
    """Largest message taken, in bytes; larger ones are refused with RESOURCE_EXHAUSTED."""

    max_query_chars: int = Field(MAX_CHARS, ge=1, le=MAX_CHARS)
    """Longest query, alternative or rewrite taken, in characters; longer ones are refused with INVALID_ARGUMENT."""

    max_turns_per_user: int = Field(2000, ge=1, le=100_000)
    """Turns kept of each user, the newest; older ones are dropped."""

    text_vector_cache_bytes: int = Field(64 * MIB, ge=0)
    """Memory for the vectors of texts met lately, in bytes; 0 keeps none."""

    user_cache_bytes: int = Field(256 * MIB, ge=0)
    """Memory for the rows of users met lately, in bytes; 0 keeps none."""

    decision_cache_bytes: int = Field(32 * MIB, ge=0)
    """Memory for decisions of the last moments, given again to a request that comes again; 0 keeps none."""

    decision_cache_span_ms: int = Field(10_000, ge=1, le=600_000)
    """For how long a decision may be given again, in milliseconds of the requests' own time."""

    encoder_threads: int = Field(1, ge=1, le=64)
    """Threads of the text encoder for one request; more only where cores would be idle."""

    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port for Prometheus to read metrics from, over HTTP; 0 takes a free one and logs which; none: no metrics."""

    metrics_host: str = Field("127.0.0.1", min_length=1)
    """Address of the same. Whoever reaches it reads all metrics; they hold no text and no id."""

    otlp_endpoint: str | None = Field(None, pattern=r"^https?://[^\s/]+$")
    """Where to send traces, OTLP over gRPC, such as `http://127.0.0.1:4317`; needs the extra `tracing`; none: none."""

    trace_share: float = Field(0.01, ge=0, le=1)
    """Share of the calls to trace, of those whose caller sends no trace context; else the caller's word counts."""

    drain_seconds: float = Field(10.0, ge=0, le=3600)
    """Time for requests under way to finish after SIGTERM or SIGINT, in seconds; then they are cut."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged; each request is one line at info."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or coloured lines for people."""

    log_texts: bool = False
    """Whether texts and ids of users may be logged. Off, no log line holds any of them, errors included."""

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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket on `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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
        return Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_explained(error, from_file, given, config)) from None


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
        lines.append(f"{name} ({origin}): {problem['msg']}, got {problem['input']!r}")
    return "\n".join(lines)
