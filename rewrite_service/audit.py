"""Lines about people who looked at what is known of a user: always written, whatever the level of the log, and without
a text or an id."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog

from rewrite_service.logs import pseudonym

_LOOKS: dict[str, Callable[[Any], str]] = {
    "explain": lambda message: message.request.user_id,
    "describe_user": lambda message: message.user_id,
}
"""The methods that show it, to whose user's id is."""


def audit_look(event: str, message: Any, client: str | None) -> None:
    """Writes the line of a call, if its method (`event`) shows what is known of a user. `client`: the token's name."""
    if event in _LOOKS:
        audit(event, client, _LOOKS[event](message))


def audit(action: str, client: str | None, user_id: str) -> None:
    """Writes a line: who did what, about somebody of that hash."""
    whatever_level = structlog.make_filtering_bound_logger(logging.NOTSET)
    line = structlog.wrap_logger(None, wrapper_class=whatever_level)
    line.info("audit", action=action, client=client, user=pseudonym(user_id))
