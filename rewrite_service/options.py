"""Values of command-line options that are one of several words."""

from __future__ import annotations

from enum import StrEnum

import typer


def one_of(kind: type[StrEnum], text: str, option: str) -> StrEnum | None:
    """The member that `text` names, None for an empty text. Raises a usage error."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: name one of {', '.join(kind)}", param_hint=option) from None
