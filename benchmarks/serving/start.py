"""What a server does until it serves, in CPU time and in seconds: imports, encoder, bundle, warm-up.

Each start is a process of its own. CPU time counts all threads; files are in memory after the first start.

usage: python -m benchmarks.serving.start BUNDLE
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

STARTS = 7
STEPS = ("imports", "encoder", "bundle", "store", "warm-up", "last collection")


def start(bundle: Path) -> list[tuple[float, float]]:
    """Of each step: CPU time and time, in seconds. Once a process."""
    marks = [(time.process_time(), time.monotonic())]

    def mark() -> None:
        marks.append((time.process_time(), time.monotonic()))

    from rewrite_service.bundle import encoder_of, open_bundle
    from rewrite_service.pipeline import Pipeline
    from rewrite_service.server import spare_full_collections
    from rewrite_service.store.embedded import EmbeddedStore

    mark()
    encoder = encoder_of(bundle)
    mark()
    opened = open_bundle(bundle, encoder, 1 << 26)
    mark()
    with tempfile.TemporaryDirectory() as place:
        pipeline = Pipeline(opened, EmbeddedStore(Path(place)))
        mark()
        pipeline.warm()
        mark()
        spare_full_collections()
        mark()
        pipeline.close()
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--once", action="store_true", help="one start, in this process, as JSON")
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(start(asked.bundle)))
        return
    from benchmarks.quality.tables import keep, show  # not in a process whose imports are measured

    command = [sys.executable, "-m", "benchmarks.serving.start", "--once", str(asked.bundle)]
    runs = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(STARTS)]
    table = {
        step: [round(statistics.median(run[i][kind] for run in runs), 3) for kind in (0, 1)]
        for i, step in enumerate(STEPS)
    }
    table["all"] = [round(statistics.median(sum(step[kind] for step in run) for run in runs), 3) for kind in (0, 1)]
    show(f"median of {STARTS} starts", ("", "CPU s", "s"), [(step, *figures) for step, figures in table.items()])
    keep("start", {"seconds_cpu_and_wall": table})


if __name__ == "__main__":
    main()
