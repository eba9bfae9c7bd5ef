"""The state of a training under way, in a file replaced in one step: whatever stops it, the next call goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

CHECKPOINT_EVERY_S = 60.0


def save(place: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes `state` durably. `identity`: what must be the same for a later call to go on with it. The dice that torch
    throws are kept too."""
    draft = place.with_name(f".{place.name}.draft")
    with draft.open("wb") as file:
        torch.save({**state, "identity": dict(identity), "dice": torch.get_rng_state()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, place)


def restore(place: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state that was saved, torch's dice set to where they were; None where there is none, or one of another
    identity."""
    if not place.is_file():
        return None
    state = torch.load(place, weights_only=True)
    if state["identity"] != dict(identity):
        return None
    torch.set_rng_state(state["dice"])
    return state
