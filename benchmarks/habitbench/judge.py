"""Holds HabitBench's figures against the least that they may be, and keeps them with command and date.

Used by run.sh. Exit code 0: good enough; 1: not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COMMAND = "make bench-habitbench"


def shortfalls(figures: dict[str, Any], min_reduction: float, min_win_loss: float) -> list[str]:
    """What falls short, in words. Reduction is a share (0.25: a quarter fewer defects), win_loss a ratio."""
    least = {"reduction": min_reduction, "win_loss": min_win_loss}
    return [f"{name} is {figures[name]:.3f}, below {bound:g}" for name, bound in least.items() if figures[name] < bound]


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="what evaluate.py --json printed")
    parser.add_argument("--min-reduction", type=float, required=True)
    parser.add_argument("--min-win-loss", type=float, required=True)
    parser.add_argument("--build-seconds", type=int, required=True)
    parser.add_argument("--replay-seconds", type=int, required=True)
    parser.add_argument("--results", type=Path, help="file that gets figures, command and date")
    parser.add_argument("--layer-alone", action="append", default=[], metavar="NAME=FILE", help="figures of one layer")
    given = parser.parse_args()

    figures = json.loads(given.figures.read_text())
    alone = {name: json.loads(Path(file).read_text()) for name, file in (a.split("=", 1) for a in given.layer_alone)}
    for name, of in alone.items():
        print(f"habitbench: {name} alone: reduction {of['reduction']:.3f}, win_loss {of['win_loss']:.2f}")
    if given.results:
        record = {
            "command": COMMAND,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "cpus": os.cpu_count(),
            "build_seconds": given.build_seconds,
            "replay_seconds": given.replay_seconds,
            "figures": figures,
            "one_layer_alone": alone,
        }
        given.results.parent.mkdir(parents=True, exist_ok=True)
        given.results.write_text(json.dumps(record, indent=2) + "\n")
        print(f"habitbench: figures in {given.results}")
    short = shortfalls(figures, given.min_reduction, given.min_win_loss)
    for problem in short:
        print(f"habitbench: {problem}", file=sys.stderr)
    if not short:
        print(f"habitbench: reduction {figures['reduction']:.3f}, win_loss {figures['win_loss']:.2f}: good enough")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
