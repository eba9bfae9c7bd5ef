"""How fast a log is mined as it grows, and in how much memory: on the embedded engine, and on Spark where it fits.

From raw files to everybody's sums, in a folder that was empty. Each size and engine is a process of its own; memory is
what it and its children hold together (Pss, pages that several share counted once), at most. Figures go to
`benchmarks/results/mining.json` (`make bench-mining`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mining.crowd import write_crowd
from benchmarks.mining.results import write_figures

SIZES = (100_000, 1_000_000, 10_000_000)
_SAMPLE_S = 0.25


def mine_once(engine_name: str, logs: list[Path], work: Path, processes: int, master: str, buckets: int) -> None:
    """Mines the logs and prints turns and seconds by stage as JSON."""
    from mining.engines.folder import WorkFolder
    from mining.engines.opening import open_engine
    from mining.engines.run import Miner, Settings
    from rewrite_service.progress import Progress

    folder = WorkFolder(work, buckets)
    with open_engine(engine_name, folder, master, processes) as engine:
        start = time.monotonic()
        miner = Miner(engine, folder, Settings(min_people=2), Progress())
        miner.take_up(logs)
        read = time.monotonic() - start
        mining = miner.mine()
        print(json.dumps({"turns": mining.volume.turns, "read_s": read, "all_s": time.monotonic() - start}))
    folder.remove()


def pss_mib(root: int) -> float:
    """Of a process and all its descendants, now."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += parents.get(pid, [])
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(rollup.split("Pss:")[1].split()[0])
    return total / 1024


def measure(engine: str, logs: Path, processes: int, master: str, buckets: int) -> dict[str, float]:
    """Turns a second and peak memory of one run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=logs.parent) as work:
        command = [sys.executable, "-m", "benchmarks.mining.growth", "--only", engine, "--logs", str(logs)]
        command += ["--work", f"{work}/w", "--processes", str(processes), "--master", master]
        command += ["--buckets", str(buckets)]
        peak = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            while run.poll() is None:
                peak = max(peak, pss_mib(run.pid))
                time.sleep(_SAMPLE_S)
            assert run.stdout is not None
            said = run.stdout.read()
        if run.returncode:
            raise SystemExit(f"{engine}: the run failed with {run.returncode}")
    done = json.loads(said.splitlines()[-1])
    return {"turns": done["turns"], "all_s": done["all_s"], "rows_per_s": done["turns"] / done["all_s"],
            "read_per_s": done["turns"] / done["read_s"], "peak_mib": peak}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100000,1000000,10000000", help="turns, with commas between")
    parser.add_argument("--spark-sizes", default="100000", help="the same for Spark; empty: none")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--folder", type=Path, default=Path("var/growth"), help="where logs are made and mined")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--logs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        logs = sorted(given.logs.glob("*.jsonl.gz"))
        mine_once(given.only, logs, given.work, given.processes, given.master, given.buckets)
        return
    sizes = [int(float(size)) for size in given.sizes.split(",") if size]
    on_spark = [int(float(size)) for size in given.spark_sizes.split(",") if size]
    for size in sorted({*sizes, *on_spark}):
        logs = given.folder / f"log-{size}"
        if not logs.exists():
            write_crowd(logs, size)
        name = f"1e{len(str(size)) - 1}"
        for engine, wanted, prefix in (("duckdb", sizes, ""), ("spark", on_spark, "spark_")):
            if size not in wanted:
                continue
            found = measure(engine, logs, given.processes, given.master, given.buckets)
            figures = {f"{prefix}{key}_{name}": round(found[key], 1) for key in ("rows_per_s", "peak_mib")}
            figures[f"{prefix}read_per_s_{name}"] = round(found["read_per_s"], 1)
            print(engine, size, json.dumps(found), flush=True)
            command = f"python -m benchmarks.mining.growth --sizes {size} --processes {given.processes}"
            write_figures(f"{engine} {name}", command, figures)


if __name__ == "__main__":
    main()
