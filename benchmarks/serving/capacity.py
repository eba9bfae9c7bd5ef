"""What one core bears: latency at a rate, and the rate at which the budget breaks.

The server has one core, the load another; open loop, latency from the appointed start. The mixes are those of
`query-rewrite loadtest`; the usual one also without remembered decisions.

usage: python -m benchmarks.serving.capacity BUNDLE LOG
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.quality.tables import RESULTS, Figures, keep, percent, show
from benchmarks.serving.servers import LET_ALL_IN, bundle_and_log, pin_client, serving
from retriever.interaction import Request
from rewrite_service.load_sweep import as_table, capacity, plot, sweep
from rewrite_service.loadtest import Mix, read_requests, run_loadtest

BUDGET_MS = 20.0
RATE, FIRST_RATE, WARMING_RATE, SECONDS = 300.0, 25.0, 100.0, 8.0
PATIENCE_S = 60.0
"""At the rate of the table every request is waited for, also where the rate is beyond what the server bears."""
RUNS: Mapping[str, tuple[Mix, Mapping[str, int]]] = {
    "usual": (Mix.USUAL, {}),
    "usual, no decision remembered": (Mix.USUAL, {"decision_cache_bytes": 0}),
    "repeated": (Mix.REPEATED, {}),
    "fresh": (Mix.FRESH, {}),
}


def measure(
    bundle: Path, requests: Sequence[Request], names: Sequence[str] = tuple(RUNS), plots: str = "capacity"
) -> dict[str, Any]:
    """Of each run named, the report at `RATE`, the most within the budget, and the sweep. This process asks. `plots`:
    how the plots' files begin."""
    kept = {}
    for name in names:
        mix, settings = RUNS[name]
        with serving(bundle, **LET_ALL_IN, **settings) as (address, _):
            run = partial(run_loadtest, address, seconds=SECONDS, requests=requests, mix=mix)
            run(WARMING_RATE, timeout_s=PATIENCE_S)  # users are loaded, as on any day but the first
            report = run(RATE, timeout_s=PATIENCE_S)
            reports = sweep(partial(run, timeout_s=5.0), FIRST_RATE, BUDGET_MS)
        most = capacity(reports, BUDGET_MS)
        print(f"{name}: {most:.0f} a second", flush=True)
        Console(width=120).print(as_table(reports, BUDGET_MS))
        plot(reports, BUDGET_MS, RESULTS / f"{plots}-{name.replace(' ', '-').replace(',', '')}.svg")
        kept[name] = {
            "at_rate": report.as_dict(),
            "kept_up_at_rate": report.achieved_rate >= 0.93 * report.sent / SECONDS,
            "capacity": most,
            "sweep": [r.as_dict() for r in reports],
        }
    return {"budget_ms": BUDGET_MS, "rate": RATE, "mixes": kept}


def figures(measured: Mapping[str, Any]) -> Figures:
    rows = []
    for name, found in measured["mixes"].items():
        report = found["at_rate"]
        latency = [report["latency"][f"p{p}_ms"] if report["latency"] else "-" for p in (50, 90, 99)]
        remembered = percent(report["remembered"] / max(1, report["answered"]))
        rows.append((name, *latency, remembered, "yes" if found["kept_up_at_rate"] else "no", found["capacity"]))
    columns = ("mix", "p50 ms", "p90", "p99", "remembered", "kept up", f"most within {measured['budget_ms']:g} ms")
    return f"one core, at {measured['rate']:g} a second", columns, rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    measured = measure(asked.bundle, read_requests(asked.log)[-20_000:])
    show(*figures(measured))
    keep("capacity", measured)


if __name__ == "__main__":
    main()
