"""What one core bears: latency at a rate, and the rate at which the budget breaks.

The server has one core, the load another; open loop, latency from the appointed start. The mixes are those of
`query-rewrite loadtest`; the usual one also without remembered decisions.

usage: python -m benchmarks.serving.capacity BUNDLE LOG
"""

from __future__ import annotations

from functools import partial

from rich.console import Console

from benchmarks.quality.tables import RESULTS, keep, show
from benchmarks.serving.servers import bundle_and_log, pin_client, serving
from rewrite_service.load_sweep import as_table, capacity, plot, sweep
from rewrite_service.loadtest import Mix, read_requests, run_loadtest

BUDGET_MS = 20.0
RATE, FIRST_RATE, SECONDS = 300.0, 100.0, 8.0
RUNS = (
    ("usual", Mix.USUAL, {}),
    ("usual, no decision remembered", Mix.USUAL, {"decision_cache_bytes": 0}),
    ("repeated", Mix.REPEATED, {}),
    ("fresh", Mix.FRESH, {}),
)


def main() -> None:
    asked = bundle_and_log(__doc__)
    requests = read_requests(asked.log)[-20_000:]
    pin_client()
    at_rate, kept = [], {}
    for name, mix, settings in RUNS:
        let_all_in = {"default_deadline_ms": 1000, "max_in_flight": 10_000, "max_wait_ms": 60_000}
        with serving(asked.bundle, **let_all_in, **settings) as (address, _):
            run = partial(run_loadtest, address, seconds=SECONDS, requests=requests, mix=mix, timeout_s=5.0)
            run(100.0)  # users are loaded, as on any day but the first
            report = run(RATE)
            figures = [getattr(report.latency, f"p{p}_ms") if report.latency else "-" for p in (50, 90, 99)]
            at_rate.append((name, *figures, f"{100 * report.remembered / max(1, report.answered):.0f} %"))
            reports = sweep(run, FIRST_RATE, BUDGET_MS)
        most = capacity(reports, BUDGET_MS)
        kept[name] = {"at_rate": report.as_dict(), "capacity": most, "sweep": [r.as_dict() for r in reports]}
        print(f"{name}: {most:.0f} a second", flush=True)
        Console(width=120).print(as_table(reports, BUDGET_MS))
        plot(reports, BUDGET_MS, RESULTS / f"capacity-{name.replace(' ', '-').replace(',', '')}.svg")
    show(f"at {RATE:.0f} a second", ("mix", "p50 ms", "p90", "p99", "remembered"), at_rate)
    keep("capacity", {"budget_ms": BUDGET_MS, "rate": RATE, "mixes": kept})


if __name__ == "__main__":
    main()
