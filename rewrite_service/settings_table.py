"""The settings as a table: of a document, made from the code, and of what holds for a server that is started now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from rewrite_service.errors import RewriteError
from rewrite_service.settings import Settings

BEGIN = "<!-- made by: query-rewrite settings --into docs/operations.md -->"
END = "<!-- end of the settings -->"
_SECTIONS = {
    "host": "who-may-call",
    "bundle_watch_s": "a-new-bundle",
    "admin_port": "the-admin-port",
    "store": "the-two-stores",
    "holdout_share": "measuring-what-rewrites-bring",
    "max_in_flight": "overload",
    "max_turns_per_user": "what-is-kept-of-a-user",
    "http_port": "json-over-http",
    "metrics_port": "metrics",
    "otlp_endpoint": "traces",
    "console_port": "the-console",
}
"""Sections of the document that say more."""


class TableError(RewriteError):
    """The document has no place for the table."""


def bounds_of(field: FieldInfo) -> str:
    """What a setting may be, as far as it can be said in a few words."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    low = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    if low is None:
        return ""
    return f"from {low:,}" if high is None else f"{low:,} to {high:,}"


def default_of(field: FieldInfo) -> str:
    """Its default as one would write it."""
    value = field.default
    return str(value).lower() if isinstance(value, bool) else str(value)


def markdown() -> str:
    """The table, a row a setting, in the order of the code."""
    lines = ["| setting | default | bounds | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        if (section := _SECTIONS.get(name)) is not None:
            meaning += f" [More](#{section})"
        bounds = bounds_of(field)
        lines.append(f"| `{name}` | `{default_of(field)}` |{f' {bounds} ' if bounds else ' '}| {meaning} |")
    return "\n".join(lines)


def put_into(document: Path) -> bool:
    """Puts the table into the document, between its two marks; whether that changed anything. Raises `TableError`."""
    text = document.read_text(encoding="utf-8")
    place = re.compile(re.escape(BEGIN) + r"\n.*?" + re.escape(END), re.DOTALL)
    if not place.search(text):
        raise TableError(f"{document}: has no lines '{BEGIN}' and '{END}'")
    made = place.sub(lambda _: f"{BEGIN}\n{markdown()}\n{END}", text)
    if made != text:
        document.write_text(made, encoding="utf-8")
    return made != text


def effective(settings: Settings) -> list[tuple[str, Any, bool]]:
    """Name, value and whether it is other than the default, of all settings. What may hold a password is not shown."""
    return [
        (name, getattr(settings, name), getattr(settings, name) != field.default)
        for name, field in Settings.model_fields.items()
    ]
