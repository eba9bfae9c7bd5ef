"""Coverage-guided fuzzing with Atheris (libFuzzer): one process a target, beginning with the kept corpus.

usage: python -m benchmarks.fuzz.run [--seconds N] [TARGET ...]

What breaks a promise is written to var/fuzz/crashes; put it into benchmarks/fuzz/corpus/TARGET once it is mended, and
`make test` will run it from then on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMES = ("log_reader", "proto_edge", "normal_form", "bundle_loader")
CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("var/fuzz")
"""New inputs that reach new code, and crashes; kept between runs, outside of git."""


def one(name: str, arguments: list[str]) -> None:
    """The fuzzing process of one target."""
    import atheris

    with atheris.instrument_imports(include=["mining", "retriever", "rewrite_service", "ranker"]):
        from benchmarks.fuzz.targets import TARGETS
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """Fuzzes one target; how many inputs were tried, and what broke it: the last lines of what was said."""
    found, crashes = FOUND / name, FOUND / "crashes"
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzz.run", "--one", name, str(found), str(CORPUS / name)]
    command += [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20", "-rss_limit_mb=3000"]
    command += ["-print_final_stats=1", f"-artifact_prefix={crashes}/{name}-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 300, check=False)
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode == 0:
        return {"inputs": int(tried[1]), "crashes": 0}
    numbers = re.findall(r"^#(\d+)", done.stderr, re.MULTILINE)
    return {"inputs": int(numbers[-1]) if numbers else 0, "crashes": 1, "said": done.stderr[-2000:]}


def measure(seconds: int, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """`seconds`: for all targets together, one after the other."""
    by_target = {name: fuzz(name, max(1, seconds // len(names))) for name in names}
    return {
        "fuzz_inputs": sum(found["inputs"] for found in by_target.values()),
        "fuzz_crashes": sum(found["crashes"] for found in by_target.values()),
        "fuzz_seconds": seconds,
        "fuzz_by_target": by_target,
    }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("target", nargs="*", help=f"default: all of {', '.join(NAMES)}")
    given = parser.parse_args()
    if unknown := set(given.target) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    found = measure(given.seconds, tuple(given.target) or NAMES)
    for name, result in found["fuzz_by_target"].items():
        print(f"{name}: {result['inputs']} inputs, {result['crashes']} crashes")
        if result["crashes"]:
            print(result["said"])
    raise SystemExit(bool(found["fuzz_crashes"]))


if __name__ == "__main__":
    main()
