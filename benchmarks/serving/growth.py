"""How build time, memory, start and latency grow with the texts that everybody shares and with the users.

Bundles of `benchmarks.serving.crowd`, made where they are not there yet. All sizes are served at once, on one core, and
asked in turn by one that knows how long each took before: what the machine does meanwhile meets them all. What builds
cost was measured when they were made.

usage: python -m benchmarks.serving.growth BUNDLE LOG [--texts 10000,100000,1000000] [--users 10000,...]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import RESULTS, Figures, keep, show
from benchmarks.serving.crowd import asked_by, with_crowd
from benchmarks.serving.servers import LET_ALL_IN, own_memory_mb, pin_client, serving
from rewrite_service.loadtest import Mix, run_loadtest

SIZES = ((10_000, 10_000), (100_000, 100_000), (1_000_000, 1_000_000))
RATE, SECONDS, ROUNDS = 50.0, 8.0, 3
PATIENCE_S = 60.0
MIXES = (Mix.USUAL, Mix.FRESH)


def measure(bundle: Path, log: Path, sizes: Sequence[tuple[int, int]] = SIZES) -> dict[str, Any]:
    """For each size what it costs to make, to start and to ask; and the median over the rounds of the largest's p99 to
    that of the smallest. This process asks."""
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = []
        for texts, users in sizes:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="growth-", dir="var"))) / "bundle"
            cost = with_crowd(bundle, log, texts, users, place)
            began = time.monotonic()
            address, process = stack.enter_context(serving(place, log_level="warning", **LET_ALL_IN))
            started = {"start_s": round(time.monotonic() - began, 2), "start_mb": round(own_memory_mb(process.pid))}
            results.append({"texts": texts, "users": users, **cost, **started})
            servers.append((address, process.pid, asked_by(log, texts, users)))
        found = {mix: [[] for _ in sizes] for mix in MIXES}
        for turn in range(ROUNDS + 1):  # the first is for warming up
            for mix in MIXES:
                for (address, _, asked), reports in zip(servers, found[mix], strict=True):
                    report = run_loadtest(address, RATE, SECONDS, asked, mix=mix, seed=turn, timeout_s=PATIENCE_S)
                    assert report.latency, report
                    reports.append(report)
        for number, result in enumerate(results):
            result["after_mb"] = round(own_memory_mb(servers[number][1]))
            for mix in MIXES:
                measured = found[mix][number][1:]
                result |= {
                    f"{mix}_{p}_ms": statistics.median(getattr(r.latency, f"{p}_ms") for r in measured)
                    for p in ("p50", "p99")
                }
                result[f"{mix}_failed"] = sum(failed(r.as_dict()) for r in found[mix][number])
                result[f"{mix}_sent"] = sum(r.sent for r in found[mix][number])
    ratios = {
        mix: round(statistics.median(
            last.latency.p99_ms / first.latency.p99_ms for first, last in zip(reports[0], reports[-1], strict=True)
        ), 2)
        for mix, reports in ((mix, [r[1:] for r in found[mix]]) for mix in MIXES)
    }  # fmt: skip
    return {"rate": RATE, "results": results, "p99_largest_over_smallest": ratios}


def failed(report: Mapping[str, Any]) -> int:
    """Requests of a load test's report that were not answered, or where something broke inside."""
    return sum(report["errors"].values()) + report["decisions"].get("pass internal_error", 0)


def figures(measured: Mapping[str, Any]) -> Figures:
    columns = ("texts", "users", "texts made, global layer, people, s", "CPU s", "peak MB", "disk MB", "start s",
               "own MB at start, after", "usual p50, p99 ms", "fresh p50, p99 ms")  # fmt: skip
    rows = [
        (f"{r['texts']:,}", f"{r['users']:,}", ", ".join(f"{s:g}" for s in r["build_s"].values()), r["build_cpu_s"],
         r["build_peak_mb"], r["disk_mb"], r["start_s"], f"{r['start_mb']}, {r['after_mb']}",
         *(f"{r[f'{mix}_p50_ms']:.1f}, {r[f'{mix}_p99_ms']:.1f}" for mix in MIXES))
        for r in measured["results"]
    ]  # fmt: skip
    ratios = ", ".join(f"{mix} {ratio:g}" for mix, ratio in measured["p99_largest_over_smallest"].items())
    return f"growth, {measured['rate']:g} a second (p99, largest over smallest: {ratios})", columns, rows


def plot(measured: Mapping[str, Any], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = measured["results"]
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4), layout="constrained")
    sizes = [f"{r['texts']:,.0f}\n{r['users']:,.0f}" for r in results]
    for name in ("usual_p50_ms", "usual_p99_ms", "fresh_p50_ms", "fresh_p99_ms"):
        axes[0].plot(sizes, [r[name] for r in results], "o-", label=name.removesuffix("_ms").replace("_", " "))
    axes[0].set(ylabel="milliseconds", xlabel="texts, users", title=f"latency at {RATE:.0f} requests a second")
    for name, label in (("start_mb", "server, at start"), ("after_mb", "server, after"), ("disk_mb", "disk"),
                        ("build_peak_mb", "build, at most")):  # fmt: skip
        axes[1].plot(sizes, [r[name] for r in results], "o-", label=label)
    axes[1].set(ylabel="MB", yscale="log", xlabel="texts, users", title="memory and disk")
    for name, values in (("build", [sum(r["build_s"].values()) for r in results]),
                         ("start", [r["start_s"] for r in results])):  # fmt: skip
        axes[2].plot(sizes, values, "o-", label=name)
    axes[2].set(ylabel="seconds", yscale="log", xlabel="texts, users", title="time to build and to start")
    for one in axes:
        one.legend()
        one.grid(alpha=0.3)
    figure.savefig(file)
    pyplot.close(figure)


def sizes_of(texts: str, users: str) -> list[tuple[int, int]]:
    """Pairs from two lists with commas. Raises ValueError where they are not of one length."""
    return [(int(t), int(u)) for t, u in zip(texts.split(","), users.split(","), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a real bundle, of which all but texts and people is used")
    parser.add_argument("log", type=Path, help="that it was built from")
    parser.add_argument("--texts", default=",".join(str(t) for t, _ in SIZES))
    parser.add_argument("--users", default=",".join(str(u) for _, u in SIZES))
    asked = parser.parse_args()
    pin_client()
    measured = measure(asked.bundle, asked.log, sizes_of(asked.texts, asked.users))
    show(*figures(measured))
    keep("growth", measured)
    plot(measured, RESULTS / "growth.svg")


if __name__ == "__main__":
    main()
