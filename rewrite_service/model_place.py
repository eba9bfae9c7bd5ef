"""Where a training puts its model: nowhere over something else."""

from __future__ import annotations

from pathlib import Path

from rewrite_service.errors import RewriteError


class ModelPlaceError(RewriteError):
    """There is something else where the model is to be put, or none where one is to begin from."""


def check_place(place: Path, manifest: str, kind: str) -> None:
    """Raises ModelPlaceError where anything but a model with this manifest stands there. `kind`: what to call one."""
    if place.exists() and any(place.iterdir() if place.is_dir() else [place]) and not (place / manifest).is_file():
        raise ModelPlaceError(f"{place}: exists and is no {kind}; name another --out, or remove it yourself")
