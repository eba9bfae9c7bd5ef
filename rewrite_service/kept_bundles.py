"""Bundles that others have taken the place of, kept so that a server can go back to one.

`build --out DIR --keep N` moves what stood in DIR to `DIR.kept/VERSION`, and keeps the newest N there. Moving renames,
so a server that has the bundle open goes on with it. A version begins with the time it was made: versions sort by age.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")


def kept_folder(place: Path) -> Path:
    """Where the bundles are kept that stood in `place`."""
    return place.with_name(f"{place.name}.kept")


def kept_versions(place: Path) -> list[str]:
    """The versions kept beside `place`, the oldest first."""
    try:
        return sorted(entry.name for entry in os.scandir(kept_folder(place)) if _VERSION.fullmatch(entry.name))
    except OSError:
        return []


def kept_bundle(place: Path, version: str) -> Path | None:
    """The folder of a version kept beside `place`, if it is. A version is a name of such a folder and no path."""
    return kept_folder(place) / version if version in kept_versions(place) else None


def with_kept(place: Path) -> list[Path]:
    """The bundle in `place` and those kept beside it."""
    return [place, *(kept_folder(place) / version for version in kept_versions(place))]


def put_aside(old: Path, place: Path, version: str | None, keep: int) -> None:
    """Moves the bundle in the folder `old`, which stood in `place`, to those kept; drops all but the newest `keep`.
    What has no version, and what cannot be moved, is removed."""
    if keep and version is not None and _VERSION.fullmatch(version):
        target = kept_folder(place) / version
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            os.rename(old, target)
        except OSError:
            shutil.rmtree(old, ignore_errors=True)
    else:
        shutil.rmtree(old, ignore_errors=True)
    for surplus in kept_versions(place)[: -keep or None]:
        shutil.rmtree(kept_folder(place) / surplus, ignore_errors=True)
