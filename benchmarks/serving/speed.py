"""Every figure of speed in one run, one definition a key, to benchmarks/results/speed.json.

The server has one core and the load another, on a bundle of 100,000 texts that everybody shares and 10,000 users: the
sample log's own, and made-up ones (`benchmarks.serving.crowd`). Loads are open loops, latencies from the appointed
start. The settings are a server's own, but for the deadline, so that late answers come and count. The keys:

uncached_p50_ms, uncached_p99_ms: at 300 requests a second of which nothing is remembered. Each text is misspelt in a
    way that was never heard (the fresh mix), so neither its decision nor its vector is at hand, and since it looks
    suspicious it goes the whole way. The users' rows are at hand where a user has asked lately. Where 300 is beyond
    what the core bears, uncached_kept_up is false, uncached_answered_per_s says how many came, and the latencies are
    those of a queue that grows for 8 s.
capacity_per_core: the most of these uncached requests a second, of the rates tried, with 99 of 100 within 20 ms.
natural_p50_ms, natural_p99_ms, natural_capacity_per_core: the same for what users ask (the usual mix), with no decision
    remembered: most queries look fine, which is decided without a search.
cost_over_native_floor: CPU of an uncached request inside the server over that of its native parts alone (tokenise and
    encode, search, predict); the median over 1,000 requests.
cached_over_bare_echo: answers a second from the decision cache over those of a bare `grpc.aio` echo, both asked by
    h2load; the median of five pairs.
capacity_over_obvious_service: uncached answers a second over those of `benchmarks.serving.obvious_service`, each as
    fast as it can (closed loop), on one core; natural_capacity_over_obvious_service: the same for what users ask.
two_workers_over_one: answers a second of two workers on both cores over those of one, the client on the same cores, to
    one request that is ranked every time (no decision remembered, its vector is); the median of five pairs.
p99_1m_over_10k: p99 with 1,000,000 texts and users over that with 10,000, uncached, 50 a second, asked in turn; the
    median of three pairs. Where the greatest size measured is another, `growth` says which, and this key is null.
ready_s_100k: seconds from the start of the process to SERVING, the bundle's files in the page cache; the median of
    three.
over_budget_p99_ms_slow_encoder, over_budget_p99_ms_slow_store: p99 less the budget of 20 ms, with each encoding 50 ms
    slow and each read of the store 200 ms slow, 100 requests a second; below 0 is within the budget.
failed_answers: requests of the open loops at a fixed rate (uncached and natural at 300, slow parts, growth) that had an
    error in place of an answer, or the answer that something broke inside; failed_answers_of: of how many.

usage: python -m benchmarks.serving.speed BUNDLE LOG [--without growth,engines] [--texts ... --users ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import RESULTS, Figures, keep, markdown
from benchmarks.serving import against, capacity, echo, engines, growth, native_parts, slow_parts, workers
from benchmarks.serving.crowd import asked_by, with_crowd
from benchmarks.serving.servers import pin_client, serving

TEXTS, USERS = 100_000, 10_000
STARTS = 3
NATIVE_REQUESTS = 1000
UNCACHED, NATURAL = "fresh", "usual, no decision remembered"
CACHED = "repeated"
PARTS = ("ready", "capacity", "native_parts", "echo", "workers", "slow_parts", "against", "engines", "growth")


def measure_starts(bundle: Path) -> dict[str, Any]:
    took = []
    for _ in range(STARTS):
        began = time.monotonic()
        with serving(bundle, log_level="warning"):
            took.append(round(time.monotonic() - began, 2))
    return {"seconds": took, "median_s": statistics.median(took)}


def starts_figures(measured: Mapping[str, Any]) -> Figures:
    times = ", ".join(f"{s:g}" for s in measured["seconds"])
    return f"from process start to SERVING, {TEXTS:,} texts", ("seconds", "median"), [(times, measured["median_s"])]


def keys(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by name, as the first lines of this module define them; None where their part was left out."""

    def of(part: str, take: Callable[[Any], Any]) -> Any:
        return take(found[part]) if part in found else None

    def at_rate(mix: str, p: str) -> Any:
        return of("capacity", lambda m: m["mixes"][mix]["at_rate"]["latency"][f"{p}_ms"])

    def over_budget(phase: str) -> Any:
        return of("slow_parts", lambda m: round(m["phases"][phase]["latency"]["p99_ms"] - m["budget_ms"], 2))

    reports = fixed_rate_reports(found)
    growth_ends = of("growth", lambda m: (m["results"][0]["texts"], m["results"][-1]["texts"]))
    return {
        "uncached_p50_ms": at_rate(UNCACHED, "p50"),
        "uncached_p99_ms": at_rate(UNCACHED, "p99"),
        "uncached_kept_up": of("capacity", lambda m: m["mixes"][UNCACHED]["kept_up_at_rate"]),
        "uncached_answered_per_s": of("capacity", lambda m: m["mixes"][UNCACHED]["at_rate"]["achieved_rate"]),
        "capacity_per_core": of("capacity", lambda m: m["mixes"][UNCACHED]["capacity"]),
        "natural_p50_ms": at_rate(NATURAL, "p50"),
        "natural_p99_ms": at_rate(NATURAL, "p99"),
        "natural_capacity_per_core": of("capacity", lambda m: m["mixes"][NATURAL]["capacity"]),
        "cost_over_native_floor": of("native_parts", lambda m: m["median_ratio"]),
        "cached_over_bare_echo": of("echo", lambda m: m["median_share"]["remembered decision"]),
        "capacity_over_obvious_service": of("against", lambda m: m["mixes"]["fresh"]["saturated_ratio"]),
        "natural_capacity_over_obvious_service": of("against", lambda m: m["mixes"]["usual"]["saturated_ratio"]),
        "two_workers_over_one": of("workers", lambda m: m["median_ratio"]),
        "p99_1m_over_10k": of("growth", lambda m: m["p99_largest_over_smallest"]["fresh"])
        if growth_ends == (10_000, 1_000_000)
        else None,
        "ready_s_100k": of("ready", lambda m: m["median_s"]),
        "over_budget_p99_ms_slow_encoder": over_budget("encoder slow"),
        "over_budget_p99_ms_slow_store": over_budget("store slow"),
        "failed_answers": sum(failed for failed, _ in reports),
        "failed_answers_of": sum(sent for _, sent in reports),
    }


def fixed_rate_reports(found: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Of each open loop at a fixed rate, how many requests failed and how many were sent."""
    reports = [run["at_rate"] for run in found.get("capacity", {}).get("mixes", {}).values()]
    reports += found.get("slow_parts", {}).get("phases", {}).values()
    out = [(growth.failed(report), report["sent"]) for report in reports]
    for result in found.get("growth", {}).get("results", ()):
        out += [(result[f"{mix}_failed"], result[f"{mix}_sent"]) for mix in growth.MIXES]
    return out


def check_tools(without: Sequence[str]) -> None:
    """Ends here, and not after ten minutes, where something is not installed."""
    if not {"echo", "workers"} <= set(without) and shutil.which("h2load") is None:
        raise SystemExit("h2load is not installed (Debian: apt-get install nghttp2-client); or --without echo,workers")
    needed = {"engines": ("usearch", "qdrant_edge"), "against": ("sentence_transformers",)}
    for part, modules in needed.items():
        if part not in without and (missing := [m for m in modules if importlib.util.find_spec(m) is None]):
            raise SystemExit(f"{missing[0]} is not installed (pip install -e '.[train,bench]'); or --without {part}")


def measure(
    bundle: Path, log: Path, sizes: Sequence[tuple[int, int]], without: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """What each part measured, by part, and the parts that failed; prints tables, in Markdown, as it goes."""
    everywhere = os.sched_getaffinity(0)
    found: dict[str, Any] = {}
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="speed-", dir="var") as place:
        crowd = Path(place) / "bundle"
        with_crowd(bundle, log, TEXTS, USERS, crowd)
        asked = asked_by(log, TEXTS, USERS)
        mixes = (UNCACHED, NATURAL, CACHED)
        parts: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Any], Figures]]] = {
            "ready": (lambda: measure_starts(crowd), starts_figures),
            "capacity": (lambda: capacity.measure(crowd, asked, mixes, plots="speed"), capacity.figures),
            "native_parts": (lambda: native_parts.measure(crowd, asked, NATIVE_REQUESTS), native_parts.figures),
            "echo": (lambda: echo.measure(crowd, asked[0]), echo.figures),
            "workers": (lambda: workers.measure(crowd, asked), workers.figures),
            "slow_parts": (lambda: slow_parts.measure(crowd, asked), slow_parts.figures),
            "against": (lambda: against.measure(crowd, log, asked), against.figures),
            "engines": (lambda: engines.measure(bundle), engines.figures),
            "growth": (lambda: growth.measure(bundle, log, sizes), growth.figures),
        }
        for name, (run, figures) in parts.items():
            if name in without:
                continue
            os.sched_setaffinity(0, everywhere)
            if name not in ("engines", "workers"):
                pin_client()
            began = time.monotonic()
            try:
                found[name] = run()
            except (Exception, SystemExit):  # the other parts' figures are not lost for it
                traceback.print_exc()
                broken.append(name)
                continue
            found[name]["took_s"] = round(time.monotonic() - began)
            print(f"\n{markdown(*figures(found[name]))}\n{name}: {found[name]['took_s']} s\n", flush=True)
    return found, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="built from LOG; all but texts and people is used as it is")
    parser.add_argument("log", type=Path)
    parser.add_argument("--without", default="", help=f"parts to leave out, of {','.join(PARTS)}; their keys are null")
    parser.add_argument("--texts", default=",".join(str(t) for t, _ in growth.SIZES), help="sizes of the growth table")
    parser.add_argument("--users", default=",".join(str(u) for _, u in growth.SIZES))
    asked = parser.parse_args()
    without = [part for part in asked.without.split(",") if part]
    if unknown := set(without) - set(PARTS):
        parser.error(f"--without: {', '.join(sorted(unknown))}: not a part; parts are {', '.join(PARTS)}")
    sizes = growth.sizes_of(asked.texts, asked.users)
    check_tools(without)
    began, load = time.monotonic(), os.getloadavg()[0]
    found, broken = measure(asked.bundle, asked.log, sizes, without)
    figures = keys(found)
    print(markdown("in one run", ("figure", "measured"), figures.items()))
    keep("speed", figures | {
        "left_out": without,
        "broken": broken,
        "texts": TEXTS,
        "users": USERS,
        "load_before": round(load, 2),
        "took_s": round(time.monotonic() - began),
        "parts": found,
    })  # fmt: skip
    if "growth" in found:
        growth.plot(found["growth"], RESULTS / "growth.svg")
    if broken:
        raise SystemExit(f"failed, and null above: {', '.join(broken)}")


if __name__ == "__main__":
    main()
