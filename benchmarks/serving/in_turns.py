"""What an uncached request costs in this checkout beside what it costs in another, asked in turns.

Two processes, one of each checkout, ask the same 50 requests one after the other, over and over: whatever else the
machine does meanwhile slows both alike. Thread CPU time; each request goes the whole way (no triage, no remembered
vector), its user loaded before. The same checkout twice shows how exact it is.

usage: python -m benchmarks.serving.in_turns BUNDLE LOG --before CHECKOUT [--texts 100000 --users 10000]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

REQUESTS = 50
_ROUNDS = 24
_UNCOUNTED = 2


def work(place: Path, log: Path, crowd: tuple[int, int] | None) -> None:
    """One of the two: for each line of two numbers, answers those requests, and prints milliseconds of CPU as JSON, in
    all and of the encoder. Imports what its own checkout has."""
    import faiss

    from benchmarks.serving.crowd import asked_by
    from benchmarks.serving.native_parts import InPlace
    from rewrite_service.bundle import encoder_of, open_bundle
    from rewrite_service.loadtest import misspelt, pick, read_requests
    from rewrite_service.pipeline import BOTH_LAYERS, Pipeline
    from rewrite_service.stages import StageClock
    from rewrite_service.store.embedded import EmbeddedStore

    faiss.omp_set_num_threads(1)
    encoder = InPlace(encoder_of(place))
    rng = random.Random(5)
    asked = read_requests(log)[-20_000:] if crowd is None else asked_by(log, *crowd)
    chosen = [replace(r, query=misspelt(r.query, rng)) for r in pick(asked, REQUESTS * _ROUNDS, rng)]
    with tempfile.TemporaryDirectory() as state, contextlib.suppress(BrokenPipeError):
        pipeline = Pipeline(open_bundle(place, encoder, 1 << 24), EmbeddedStore(Path(state)))  # type: ignore[arg-type]
        pipeline.warm()
        with contextlib.suppress(ImportError):  # a checkout of before
            from rewrite_service.huge_pages import back_with_huge_pages

            back_with_huge_pages(lambda seconds: False)
        gc.collect()
        gc.freeze()
        print("ready", flush=True)
        for line in sys.stdin:
            took = []
            for request in chosen[slice(*map(int, line.split()))]:
                look = pipeline._users.look(request.user_id)
                if look.state is None:
                    pipeline._users.load(request.user_id, look.stored)
                    look = pipeline._users.look(request.user_id)
                encoder.ms, began = 0.0, time.thread_time_ns()
                pipeline._decide(request, StageClock(None, pipeline._costs), False, BOTH_LAYERS, False, look=look)
                took.append(((time.thread_time_ns() - began) / 1e6, encoder.ms))
            print(json.dumps(took), flush=True)


def measure(arguments: list[str], before: Path) -> dict[str, Any]:
    """Medians of both, and the median ratio of now to before, request by request; all, and without the encoding."""
    here = Path(__file__).parents[2]
    both: list[subprocess.Popen[str]] = []
    rows: tuple[list[list[float]], list[list[float]]] = ([], [])
    try:
        for checkout in (before, here):
            command = [sys.executable, str(Path(__file__)), *arguments, "--work"]
            environment = os.environ | {"PYTHONPATH": str(checkout)}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            both.append(subprocess.Popen(command, env=environment, cwd=here, text=True, **pipes))  # type: ignore[call-overload]
        for one in both:
            if one.stdout.readline().strip() != "ready":
                raise SystemExit("one of the two did not get ready; see above")
        for n in range(_ROUNDS):
            for which in (0, 1) if n % 2 else (1, 0):
                one = both[which]
                one.stdin.write(f"{n * REQUESTS} {(n + 1) * REQUESTS}\n")
                one.stdin.flush()
                if n >= _UNCOUNTED:
                    rows[which].extend(json.loads(one.stdout.readline()))
                else:
                    one.stdout.readline()
    finally:
        for one in both:
            one.stdin.close()
            one.wait()
            one.wait()
    was, now = (np.array(of) for of in rows)
    out: dict[str, Any] = {"requests": len(was)}
    for name, a, b in (
        ("whole", was[:, 0], now[:, 0]),
        ("without_encoding", was[:, 0] - was[:, 1], now[:, 0] - now[:, 1]),
    ):
        out[name] = {
            "before_p50_ms": round(float(np.median(a)), 3),
            "now_p50_ms": round(float(np.median(b)), 3),
            "median_ratio": round(float(np.median(b / a)), 3),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("log", type=Path, help="that it was built from")
    parser.add_argument(
        "--before", type=Path, help="the other checkout, with this program's settings and bundle format"
    )
    parser.add_argument("--texts", type=int, help="of a crowd put into the bundle")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    crowd = (asked.texts, asked.users) if asked.texts else None
    if asked.work:
        work(asked.bundle, asked.log, crowd)
        return
    if asked.before is None or not (asked.before / "rewrite_service").is_dir():
        parser.error("--before: name the folder of another checkout")
    from benchmarks.serving.crowd import with_crowd

    with tempfile.TemporaryDirectory(prefix="query-rewrite-turns-", dir=Path("var")) as place:
        bundle = asked.bundle.absolute()
        arguments = [str(bundle), str(asked.log.absolute())]
        if crowd is not None:
            with_crowd(bundle, asked.log, *crowd, Path(place))
            arguments = [place, arguments[1], "--texts", str(crowd[0]), "--users", str(crowd[1])]
        print(json.dumps(measure(arguments, asked.before.absolute()), indent=1))


if __name__ == "__main__":
    main()
