"""Writes figures into a file of results that several commands measure parts of.

Each adds its own figures and leaves those of the others; beside them stands, for each part, which command measured it,
when, of which commit, and on what machine. Two commands that end at the same time do not lose each other's figures.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PARTS = "measured"


def write_figures(results: Path, part: str, command: str, figures: Mapping[str, Any]) -> None:
    """Merges `figures` into `results`, by name at its top level. `part`: a name for what measured them, whose figures
    of an earlier run are taken out first; `command`: the line that repeats it. Raises ValueError where a name belongs
    to another part."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with _alone(results.parent):
        record = json.loads(results.read_text()) if results.exists() else {}
        parts = record.pop(PARTS, {})
        for name in parts.pop(part, {}).get("figures", ()):
            record.pop(name, None)
        if taken := sorted(set(record) & set(figures)) or ([PARTS] if PARTS in figures else []):
            raise ValueError(f"{', '.join(taken)}: figures of another part of {results}")
        parts[part] = {
            "command": command,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "machine": machine(),
            "figures": sorted(figures),
        }
        draft = results.with_name(f".{results.name}.draft")
        merged = dict(sorted({**record, **figures}.items())) | {PARTS: dict(sorted(parts.items()))}
        draft.write_text(json.dumps(merged, indent=2) + "\n")
        os.replace(draft, results)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While it lasts, whoever else wants the folder waits."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def machine() -> str:
    """Cores, kind and memory of this machine, and how busy it was, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GiB, load {os.getloadavg()[1]:.1f}"


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
