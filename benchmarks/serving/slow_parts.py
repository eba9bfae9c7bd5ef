"""Is the deadline kept when a part of the server turns slow, and does the server come back by itself?

A real server whose store (every read 200 ms) or encoder (every text 50 ms) is slow while a file says so; requests come
without a deadline of their own, so that the server's budget holds.

usage: python -m benchmarks.serving.slow_parts BUNDLE LOG
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import keep, show
from benchmarks.serving.servers import bundle_and_log, pin_client, serving

STORE_S, ENCODER_S = 0.2, 0.05
BUDGET_MS = 20
RATE, SECONDS = 100.0, 8.0
PHASES = (("as it is", None), ("store slow", "store"), ("after it", None), ("encoder slow", "encoder"),
          ("after it, too", None))  # fmt: skip


def slowed(method: Callable[..., Any], flag: Path, seconds: float) -> Callable[..., Any]:
    def slow(*args: Any, **more: Any) -> Any:
        if flag.exists():
            time.sleep(seconds)
        return method(*args, **more)

    return slow


def serve(flags: Path, arguments: list[str]) -> None:
    """The server's own process."""
    from retriever.encoder import Encoder
    from rewrite_service.cli import main as command
    from rewrite_service.store.embedded import EmbeddedStore

    Encoder.encode = slowed(Encoder.encode, flags / "encoder", ENCODER_S)
    for name in ("fetch", "user", "revision"):
        setattr(EmbeddedStore, name, slowed(getattr(EmbeddedStore, name), flags / "store", STORE_S))
    sys.argv = ["query-rewrite", *arguments]
    command()


def main() -> None:
    asked = bundle_and_log(__doc__)
    from rewrite_service.loadtest import Mix, read_requests, run_loadtest

    requests = read_requests(asked.log)[-20_000:]
    pin_client()
    rows, kept = [], {}
    with tempfile.TemporaryDirectory() as place:
        flags = Path(place)
        program = [sys.executable, "-m", "benchmarks.serving.slow_parts", "--as-server", str(flags)]
        with serving(asked.bundle, program=program, default_deadline_ms=BUDGET_MS) as (address, _):
            run_loadtest(address, RATE, SECONDS, requests, timeout_s=None)
            for seed, (name, slow) in enumerate(PHASES):
                if slow:
                    (flags / slow).touch()
                # Nothing that was met before, or the encoder would have little to do.
                mix = Mix.FRESH if slow == "encoder" else Mix.USUAL
                report = run_loadtest(address, RATE, SECONDS, requests, timeout_s=None, mix=mix, seed=seed)
                for flag in flags.iterdir():
                    flag.unlink()
                assert report.latency
                late = report.decisions.get("pass out_of_time", 0)
                rewrites = sum(n for what, n in report.decisions.items() if what.startswith("rewrite"))
                rows.append((name, mix, report.latency.p50_ms, report.latency.p99_ms, report.latency.max_ms,
                             late, rewrites, report.skipped, report.errors))  # fmt: skip
                kept[name] = report.as_dict()
                print(rows[-1], flush=True)
    show(
        f"{RATE:.0f} a second, budget {BUDGET_MS} ms",
        ("", "mix", "p50 ms", "p99", "max", "out of time", "rewrites", "skipped", "errors"),
        rows,
    )
    keep("slow-parts", {"budget_ms": BUDGET_MS, "phases": kept})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-server"]:
        serve(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
