"""Whether both engines come to the same rows: counts those of all mined tables that differ on the sample log.

Writes `engines_differ_rows`, which must be 0, to `benchmarks/results/mining.json`.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mining.results import write_figures
from mining.engines.folder import WorkFolder
from mining.engines.opening import open_engine
from mining.engines.run import Miner, Settings
from rewrite_service.progress import Progress

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def differing_rows(one: Rows, other: Rows) -> int:
    """Rows that only one of two has, over all tables by name."""
    total = 0
    for name in {*one, *other}:
        a, b = (Counter(tuple(row.items()) for row in rows.get(name, ())) for rows in (one, other))
        total += ((a - b) + (b - a)).total()
    return total


def mined_rows(engine_name: str, log: Path, master: str, work: Path) -> Rows:
    """Everybody's sums of every table."""
    folder = WorkFolder(work, 8)
    with open_engine(engine_name, folder, master) as engine:
        miner = Miner(engine, folder, Settings(min_people=2), Progress())
        miner.take_up([log])
        miner.mine()
        rows = {name: table.to_pylist() for name, table in miner.summed().items()}
    folder.close()
    return rows


def main() -> None:
    log, master = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "local[2]"
    with tempfile.TemporaryDirectory() as place:
        here = mined_rows("duckdb", log, master, Path(place) / "here")
        there = mined_rows("spark", log, master, Path(place) / "there")
    figures = {
        "engines_differ_rows": differing_rows(here, there),
        "engines_compared_rows": sum(map(len, here.values())),
    }
    print(figures)
    write_figures("engines differ", f"python -m benchmarks.mining.engines_differ {log}", figures)


if __name__ == "__main__":
    main()
