"""What several commands share: values of options that are one of several words, and defaults."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import typer

E = TypeVar("E", bound=StrEnum)

MAX_DRIFT = 0.005
"""Of a kept work folder: see `mining.engines.run.Settings`. One for all commands, so that one does not mine anew what
another has left as it was."""


def one_of(kind: type[E], text: str, option: str) -> E | None:
    """The member that `text` names, None for an empty text. Raises a usage error."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: name one of {', '.join(kind)}", param_hint=option) from None
