"""How long requests take at the far end, with the interpreter's full garbage collections and without, as `serve` runs.

Each way in a process of its own: a bundle is opened, and the texts of a log are asked one after the other, by their
users, which fills the cache of users. No Record, no network.

usage: python benchmarks/serving/pauses.py var/bundle var/sample.jsonl.gz [REQUESTS]      (after `make bundle`)
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from mining.reader import read_log
from rewrite_service.opening import open_pipeline
from rewrite_service.server import spare_full_collections
from rewrite_service.settings import Settings

WAYS = ("usual", "spared")


def measure(way: str, bundle: Path, log: Path, requests: int) -> str:
    asked = [turn.request for turn in islice(read_log([log]).turns, requests)]
    with tempfile.TemporaryDirectory(prefix="query-rewrite-pauses-") as state:
        pipeline = open_pipeline(bundle, Settings(state_dir=Path(state)))
        if way == "spared":
            spare_full_collections()
        full = gc.get_stats()[2]["collections"]
        took = []
        for request in asked:
            begun = time.perf_counter()
            pipeline.rewrite(request)
            took.append(1e3 * (time.perf_counter() - begun))
        full = gc.get_stats()[2]["collections"] - full
        pipeline.close()
    p50, p99, p999 = np.percentile(took, (50, 99, 99.9))
    left = gc.collect()
    return (
        f"{way:7} ms: p50 {p50:6.2f}  p99 {p99:6.2f}  p99.9 {p999:7.2f}  max {max(took):7.2f};"
        f" {full} full collections; {left} objects left behind by {len(took)} requests"
    )


def main() -> None:
    if len(sys.argv) > 4 and sys.argv[4] in WAYS:
        print(measure(sys.argv[4], Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
        return
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    requests = sys.argv[3] if len(sys.argv) == 4 else "3000"
    for way in WAYS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:3], requests, way], check=True)


if __name__ == "__main__":
    main()
