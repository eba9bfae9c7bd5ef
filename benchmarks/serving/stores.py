"""What the stores cost, side by side: a question to each, a write, and what they take for a turn.

The Redis is a real one on loopback, with `appendfsync` as named; the embedded store lies in a temporary folder. Turns
are those of a log.

usage: python -m benchmarks.serving.stores LOG
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.chaos.redis_server import redis_server
from benchmarks.quality.tables import keep, show
from mining.reader import read_log
from retriever.interaction import Interaction
from rewrite_service.store.base import Store
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.store.redis_store import RedisStore

SIZES = (50, 500, 2000)
ROUNDS, WRITES = 200, 100
PATIENT = {"read_timeout_s": 10.0, "write_timeout_s": 10.0}


def median_us(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - began) / 1000)
    return round(statistics.median(taken), 1)


def costs(store: Store, turns: list[Interaction]) -> dict[str, float]:
    """Median microseconds by what is asked."""
    found = {}
    for size in SIZES:
        user = f"user-of-{size}"
        store.append([named(turn, user, f"t-{n}", n) for n, turn in enumerate(turns[:size])])
        revision = store.revision(user)
        found[f"nothing new, {size} turns"] = median_us(lambda u=user, r=revision: store.fetch(u, r), ROUNDS)
        found[f"fetched, {size} turns"] = median_us(lambda u=user: store.fetch(u), ROUNDS // 4)
        fetched = store.fetch(user)
        found[f"decoded, {size} turns"] = median_us(fetched.record, ROUNDS // 20)
    more = iter(range(SIZES[-1], 10**9))

    def record(user: str) -> None:
        n = next(more)
        store.append([named(turns[n % len(turns)], user, f"t-{n}", n)])

    found["recorded, few turns"] = median_us(lambda: record("user-of-50"), WRITES)
    found["recorded, at the limit"] = median_us(lambda: record(f"user-of-{SIZES[-1]}"), WRITES)
    return found


def named(turn: Interaction, user: str, name: str, number: int) -> Interaction:
    request = replace(turn.request, user_id=user, interaction_id=name, timestamp_ms=1_767_268_800_000 + number * 60_000)
    return replace(turn, request=request)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    turns = read_log([Path(sys.argv[1])]).turns[: SIZES[-1]]
    turns = turns * (1 + SIZES[-1] // len(turns))
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        by_store: dict[str, dict[str, float]] = {}
        embedded = EmbeddedStore(Path(folder))
        stack.callback(embedded.close)
        by_store["embedded"] = costs(embedded, turns)
        for fsync in ("everysec", "always"):
            server = stack.enter_context(redis_server("--appendfsync", fsync))
            store = RedisStore(server.url, **PATIENT)
            stack.callback(store.close)
            by_store[f"redis, appendfsync {fsync}"] = costs(store, turns)
            with server.client() as client:
                keys = list(client.scan_iter("qr1:*"))
                memory = sum(client.memory_usage(key, samples=0) for key in keys)
                held = SIZES[0] + WRITES + sum(SIZES[1:])
                by_store[f"redis, appendfsync {fsync}"]["bytes a turn"] = round(memory / held)
    names = list(dict.fromkeys(name for found in by_store.values() for name in found))
    show("median microseconds", ("", *by_store), [(n, *(f.get(n, "") for f in by_store.values())) for n in names])
    keep("stores", {"median_us": by_store})


if __name__ == "__main__":
    main()
