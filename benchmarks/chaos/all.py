"""All that is done to the service on purpose, in one run: kills, faults of the store, overload, poisoned evidence,
other bundles under load, bundles that are broken, input that is noise. Writes benchmarks/results/chaos.json.

usage: python -m benchmarks.chaos.all BUNDLE LOG [--only NAME ...] [--fuzz-seconds N]     (of the sample log; a quarter
of an hour)
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import keep, show
from mining.reader import read_log

FUZZ_SECONDS = 100
"""Of each target, unless told otherwise."""
KEYS = (
    "kills", "acknowledged", "acknowledged_lost", "stores_unopenable",
    "redis_faults", "answers_under_faults", "answers_failed", "answers_late",
    "bundles_corrupted", "bundles_corrupted_accepted", "fuzz_inputs", "fuzz_crashes",
    "swap_failed_calls", "swap_mixed_answers", "poison_exposures_until_retired",
)  # fmt: skip
"""Stand in the file by themselves; all figures of each bench are under `benches`."""
MUST_BE_NONE = (
    "acknowledged_lost", "stores_unopenable", "answers_failed", "bundles_corrupted_accepted",
    "bundles_forged_crashing_a_server", "fuzz_crashes", "swap_failed_calls", "swap_mixed_answers",
)  # fmt: skip

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chaos:
    """One bench. `module`: has a `measure`; `run`: calls it for a bundle and its log."""

    name: str
    module: str
    run: Callable[[Callable[..., Figures], Path, Path], Figures]


def _latest(log: Path) -> list:
    return [turn.request for turn in read_log([log]).turns[-2000:]]


BEFORE_FUZZ = (
    Chaos("kills", "benchmarks.chaos.kills", lambda measure, bundle, log: measure(bundle)),
    Chaos("redis", "benchmarks.chaos.redis_faults", lambda measure, bundle, log: measure(bundle, _latest(log))),
    Chaos("overload", "benchmarks.chaos.overload", lambda measure, bundle, log: measure(bundle, log)),
    Chaos("poison", "benchmarks.chaos.poison", lambda measure, bundle, log: measure(bundle, log, pairs=6, seeds=1)),
    Chaos("swap", "benchmarks.chaos.swap", lambda measure, bundle, log: measure(bundle, log)),
    Chaos("corrupted", "benchmarks.chaos.corrupted", lambda measure, bundle, log: measure(bundle)),
)


def benches(fuzz_seconds: int) -> tuple[Chaos, ...]:
    """All of them, in the order in which they run."""
    fuzz = Chaos("fuzz", "benchmarks.fuzz.run", lambda measure, bundle, log: measure(fuzz_seconds))
    return (*BEFORE_FUZZ, fuzz)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--only", nargs="+", choices=[b.name for b in benches(0)], help="nothing is then written")
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS, help="of each target")
    asked = parser.parse_args()
    found: dict[str, Figures] = {}
    failed: list[str] = []
    for bench in benches(asked.fuzz_seconds):
        if asked.only and bench.name not in asked.only:
            continue
        began = time.monotonic()
        try:
            measure = importlib.import_module(bench.module).measure
            found[bench.name] = bench.run(measure, asked.bundle, asked.log)
        except Exception:  # the others are run all the same
            traceback.print_exc()
            failed.append(bench.name)
            continue
        found[bench.name]["seconds"] = round(time.monotonic() - began, 1)
        figures = [(name, value) for name, value in found[bench.name].items() if not isinstance(value, dict | list)]
        show(bench.name, ("figure", "value"), figures)
        sys.stdout.flush()
    flat = {name: value for figures in found.values() for name, value in figures.items()}
    broken = {name: flat[name] for name in MUST_BE_NONE if flat.get(name)}
    if not asked.only:
        keep("chaos", {name: flat.get(name) for name in KEYS} | {"not_measured": failed, "benches": found})
    if failed or broken:
        raise SystemExit(f"failed: {', '.join(failed) or 'none'}; broken promises: {broken or 'none'}")


if __name__ == "__main__":
    main()
