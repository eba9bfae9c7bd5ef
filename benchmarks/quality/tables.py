"""What the quality benches share: bundles from parts of a log, and results as table and file."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rewrite_service.build import BuildResult, BuildSettings, build
from rewrite_service.progress import Progress

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


def keep(name: str, values: dict[str, Any]) -> Path:
    """Writes benchmarks/results/`name`.json with command, date, commit and machine."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    path = RESULTS / f"{name}.json"
    record = {
        "command": f"make bench-{name}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": done.stdout.strip() or None,
        "cpus": os.cpu_count(),
        **values,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"figures in {path}")
    return path


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def span(interval: Sequence[float], as_percent: bool = False) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %" if as_percent else f"{low:.1f} to {high:.1f}"
