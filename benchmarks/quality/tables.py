"""What the benches share: bundles from parts of a log, and results as table and file."""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rewrite_service.build import BuildResult, BuildSettings, build
from rewrite_service.progress import Progress

Figures = tuple[str, Sequence[str], Iterable[Sequence[object]]]
"""A table: title, columns, rows."""
RESULTS = Path(__file__).parents[1] / "results"


def build_on(log: Path, keep: Callable[[dict[str, Any]], bool], place: Path) -> BuildResult:
    """A bundle in `place`/bundle from the log's lines that `keep` says."""
    part = place / "part.jsonl.gz"
    with gzip.open(log, "rt") as lines, gzip.open(part, "wt", compresslevel=1) as out:
        out.writelines(line for line in lines if keep(json.loads(line)))
    return build([part], place / "bundle", BuildSettings(), Progress())


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(*columns, title=title, box=None, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=140).print(table)


def markdown(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The same table as the documents have it."""
    lines = [columns, ["---"] * len(columns), *([f"{v:g}" if isinstance(v, float) else v for v in row] for row in rows)]
    return "\n".join([f"**{title}**\n", *(f"| {' | '.join(map(str, line))} |" for line in lines)]) + "\n"


def keep(name: str, values: dict[str, Any]) -> Path:
    """Writes benchmarks/results/`name`.json with command, date, commit and machine."""
    path = RESULTS / f"{name}.json"
    record = {
        "command": f"make bench-{name}",
        "date": now(),
        "commit": commit(),
        "cpus": os.cpu_count(),
        "machine": _machine(),
        **values,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"figures in {path}")
    return path


def commit() -> str | None:
    """Of the checkout; None outside of one."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    """Kind of processor and memory, as Linux tells it."""
    models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{models[0] if models else platform.machine()}, {memory:.0f} GiB"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def span(interval: Sequence[float], as_percent: bool = False) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %" if as_percent else f"{low:.1f} to {high:.1f}"
