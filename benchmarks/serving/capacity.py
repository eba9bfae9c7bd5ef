"""What one core bears: latency at a rate, the rate at which the budget breaks, and what of it is gRPC itself.

The server has one core, the load another; open loop, latency from the appointed start. The mixes are those of
`query-rewrite loadtest`. What is remembered is compared with a bare echo server in the same run, asked in turn by
h2load.

usage: python -m benchmarks.serving.capacity BUNDLE LOG
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.quality.tables import RESULTS, keep, show
from benchmarks.serving.servers import echoing, h2load, pin_client, serving
from rewrite_service.converters import from_request
from rewrite_service.load_sweep import as_table, capacity, plot, sweep
from rewrite_service.loadtest import Mix, read_requests, run_loadtest

BUDGET_MS = 20.0
RATE, SECONDS = 300.0, 10.0
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("log", type=Path, help="whose requests are asked")
    asked = parser.parse_args()
    requests = read_requests(asked.log)[-20_000:]
    pin_client()
    at_rate, kept, most = [], {}, {}
    with serving(asked.bundle, default_deadline_ms=1000, max_in_flight=10_000) as (address, _):
        run = partial(run_loadtest, address, seconds=SECONDS, requests=requests, timeout_s=5.0)
        run(100.0, mix=Mix.USUAL)  # users are loaded, as on any day but the first
        for mix in Mix:
            report = run(RATE, mix=mix)
            assert report.latency
            figures = (report.latency.p50_ms, report.latency.p90_ms, report.latency.p99_ms)
            at_rate.append((mix, *figures, f"{100 * report.remembered / max(1, report.answered):.0f} %"))
            kept[mix] = {"at_rate": report.as_dict()}
            reports = sweep(lambda rate, mix=mix: run(rate, mix=mix), RATE, BUDGET_MS)
            most[mix] = capacity(reports, BUDGET_MS)
            kept[mix] |= {"capacity": most[mix], "sweep": [r.as_dict() for r in reports]}
            print(f"{mix}: {most[mix]:.0f} a second", flush=True)
            from rich.console import Console

            Console(width=120).print(as_table(reports, BUDGET_MS))
            plot(reports, BUDGET_MS, RESULTS / f"capacity-{mix}.svg")
    show(f"at {RATE:.0f} a second", ("mix", "p50 ms", "p90", "p99", "remembered"), at_rate)

    message = from_request(replace(requests[-1], timestamp_ms=int(time.time() * 1000))).SerializeToString()
    ours, echoes = [], []
    with serving(asked.bundle, log_level="warning") as (address, _), echoing() as echo:
        for _ in range(ROUNDS):
            ours.append(h2load(address, message))
            echoes.append(h2load(echo, message))
    share = statistics.median(a / b for a, b in zip(ours, echoes, strict=True))
    rows = [("remembered decisions", round(statistics.median(ours))), ("bare echo", round(statistics.median(echoes)))]
    show("one message over and over, by h2load", ("", "a second"), rows)
    print(f"remembered decisions reach {100 * share:.0f} % of the echo's rate (median of {ROUNDS} pairs)")
    echo_figures = {"remembered_rates": ours, "echo_rates": echoes, "median_share": round(share, 3)}
    keep("capacity", {"budget_ms": BUDGET_MS, "mixes": kept, "echo": echo_figures})


if __name__ == "__main__":
    main()
