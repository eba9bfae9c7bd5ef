"""Our service against the obvious one (`benchmarks.serving.obvious_service`), out of the same texts and people.

Each server alone on one core, asked from the other: how many answers a second it gives when it never has to wait (a
closed loop), its CPU time an answer, and what it bears within the budget (open loop). Fresh: each text is misspelt as
it never was heard, so nothing is remembered of it and ours goes the whole way too. Usual: what users ask; ours passes
at once where the query looks fine.

usage: python -m benchmarks.serving.against BUNDLE LOG
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.capacity import BUDGET_MS
from benchmarks.serving.saturation import saturated
from benchmarks.serving.servers import LET_ALL_IN, answering, bundle_and_log, pin_client, serving
from retriever.interaction import Request
from rewrite_service.load_sweep import capacity, sweep
from rewrite_service.loadtest import Mix, read_requests, run_loadtest

SECONDS, ROUNDS = 6.0, 3
FIRST_RATE = 5.0
MIXES = (Mix.FRESH, Mix.USUAL)
OTHER = "benchmarks.serving.obvious_service"


def measure(bundle: Path, log: Path, requests: Sequence[Request]) -> dict[str, Any]:
    """For each mix, both servers' figures and the median over the rounds of their ratios. This process asks."""
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        ranker = f"{place}/ranker.txt"
        subprocess.run([sys.executable, "-m", OTHER, "train", bundle, log, ranker], check=True)
        with (
            # Each decision is made anew, as it is by the other.
            serving(bundle, **LET_ALL_IN, decision_cache_bytes=0) as ours,
            answering(OTHER, str(bundle), ranker) as other,
        ):
            for mix in MIXES:
                rounds = [[saturated(*_of(s), requests, mix, SECONDS, n) for s in (ours, other)] for n in range(ROUNDS)]
                within = [_capacity(address, requests, mix) for address, _ in (ours, other)]
                kept[mix] = {
                    name: {
                        "saturated": statistics.median(pair[i].rate for pair in rounds),
                        "cpu_ms": statistics.median(pair[i].cpu_ms for pair in rounds),
                        "within_budget": within[i],
                    }
                    for i, name in enumerate(("ours", "obvious"))
                } | {
                    "saturated_ratio": round(statistics.median(a.rate / b.rate for a, b in rounds), 2),
                    "cpu_ratio": round(statistics.median(b.cpu_ms / a.cpu_ms for a, b in rounds), 2),
                }
                print(mix, kept[mix], flush=True)
    return {"budget_ms": BUDGET_MS, "mixes": kept}


def _of(server: tuple[str, subprocess.Popen[bytes]]) -> tuple[str, int]:
    return server[0], server[1].pid


def _capacity(address: str, requests: Sequence[Request], mix: Mix) -> float:
    """The most within the budget; 0 where not even `FIRST_RATE` is."""
    run = partial(run_loadtest, address, seconds=SECONDS, requests=requests, mix=mix, timeout_s=5.0)
    return capacity(sweep(run, FIRST_RATE, BUDGET_MS), BUDGET_MS)


def figures(measured: Mapping[str, Any]) -> Figures:
    rows = []
    for mix, found in measured["mixes"].items():
        for what, name in (("saturated", "answers a second, saturated"), ("cpu_ms", "CPU ms an answer"),
                           ("within_budget", f"most within {measured['budget_ms']:g} ms")):  # fmt: skip
            ratio = {"saturated": found["saturated_ratio"], "cpu_ms": found["cpu_ratio"]}.get(what, "")
            rows.append((mix, name, found["ours"][what], found["obvious"][what], ratio))
    return "against the obvious service, one core", ("mix", "", "ours", "obvious", "times better"), rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    measured = measure(asked.bundle, asked.log, read_requests(asked.log)[-20_000:])
    show(*figures(measured))
    keep("against", measured)


if __name__ == "__main__":
    main()
