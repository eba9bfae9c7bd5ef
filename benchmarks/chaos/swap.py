"""Another bundle under load, over and over: failed calls, answers that mix two bundles, latencies, memory.

Two bundles of different logs take turns in a real server with two processes while requests arrive at a fixed rate. What
each bundle answers to each request is computed beforehand, one bundle at a time: an answer that bears one bundle's
version and is not that bundle's answer is a mixture.

usage: python -m benchmarks.chaos.swap BUNDLE LOG
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from benchmarks.serving.servers import serving
from retriever.interaction import Request
from rewrite_service.bundle import read_manifest
from rewrite_service.client.messages import from_request
from rewrite_service.loadtest import percentile, read_requests
from rewrite_service.opening import open_pipeline
from rewrite_service.pb import admin_pb2, admin_pb2_grpc
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.settings import Settings

SWAPS, RATE, PAUSE_S = 8, 40.0, 3.0
REQUESTS, WORKERS, CONNECTIONS, ADMIN_PORT = 300, 2, 4, 50131
TIMEOUT_S = 5.0
_METHOD = "/rewrite.v1.RewriteService/Rewrite"

Answer = tuple[int, str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call. `at`, `took_s`: seconds from the start, and until the answer. `request`: which. `reply`: None where the
    call failed, with `code`."""

    at: float
    took_s: float
    request: int
    reply: pb.RewriteResponse | None
    code: str


def another_bundle(place: Path) -> Path:
    """A bundle of a small log of other people."""
    run = lambda *words: subprocess.run([sys.executable, "-m", "rewrite_service.cli", *words], check=True)  # noqa: E731
    run("sample-log", "--out", str(place / "log.jsonl.gz"), "--people", "60", "--days", "20", "--seed", "11")
    run("build", "--quiet", "--log", str(place / "log.jsonl.gz"), "--out", str(place / "other"))
    return place / "other"


def answers(bundle: Path, requests: Sequence[Request]) -> list[Answer]:
    """What the bundle answers to each request, with an empty store and no deadline."""
    with tempfile.TemporaryDirectory() as state:
        pipeline = open_pipeline(bundle, Settings(state_dir=Path(state)))
        decided = [pipeline.rewrite(request) for request in requests]
        pipeline.close()
    number = {True: pb.DECISION_REWRITE, False: pb.DECISION_PASS}
    return [(number[d.is_rewrite], d.text or "", round(d.probability, 6)) for d in decided]


class Load:
    """Asks at a fixed rate, whatever the answers do."""

    def __init__(self, address: str, requests: Sequence[Request], rate: float) -> None:
        self._address, self._rate = address, rate
        self._raw = [from_request(r).SerializeToString() for r in requests]
        self._rng = random.Random(3)
        self.asked: list[Asked] = []
        self.start = time.perf_counter()

    async def run(self, stop: asyncio.Event) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self._address, options=options) for _ in range(CONNECTIONS)]
        reply = pb.RewriteResponse.FromString
        calls = [c.unary_unary(_METHOD, lambda raw: raw, reply) for c in channels]
        under_way: set[asyncio.Task[None]] = set()
        due = self.start = time.perf_counter()
        while not stop.is_set():
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._ask(self._rng.choice(calls), due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        await asyncio.gather(*(c.close() for c in channels))

    async def _ask(self, call: Any, due: float) -> None:
        number = self._rng.randrange(len(self._raw))
        answer, code = None, "OK"
        try:
            answer = await call(self._raw[number], timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        self.asked.append(Asked(due - self.start, time.perf_counter() - due, number, answer, code))


async def _drive(address: str, bundles: Sequence[Path], requests: Sequence[Request]) -> dict[str, Any]:
    load, stop = Load(address, requests, RATE), asyncio.Event()
    spans, memory = [], []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ADMIN_PORT}") as channel:
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        while len((found := await admin.BundleStatus(admin_pb2.BundleStatusRequest())).processes) < WORKERS:
            await asyncio.sleep(0.2)
        pids = [p.pid for p in found.processes]
        await asyncio.sleep(1)  # a process says what it serves a moment before it serves
        running = asyncio.create_task(load.run(stop))
        await asyncio.sleep(10)  # the users are met, the caches filled
        quiet = (3.0, time.perf_counter() - load.start)
        for number in range(SWAPS):
            memory.append(_memory(pids))
            began = time.perf_counter() - load.start
            await admin.SwapBundle(admin_pb2.SwapBundleRequest(path=str(bundles[(number + 1) % 2])), timeout=300)
            spans.append((began, time.perf_counter() - load.start))
            await asyncio.sleep(PAUSE_S)
        memory.append(_memory(pids))
    stop.set()
    await running
    return {"asked": load.asked, "quiet": quiet, "spans": spans, "memory": memory}


def _memory(pids: Sequence[int]) -> dict[str, int]:
    """Bytes of all processes together: resident, and of that not of files."""
    out = {"resident": 0, "private": 0}
    for pid in pids:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        out["resident"] += int(lines["VmRSS"].split()[0]) * 1024
        out["private"] += int(lines["RssAnon"].split()[0]) * 1024
    return out


def _latency(asked: Sequence[Asked]) -> dict[str, float]:
    took = sorted(1000 * a.took_s for a in asked)
    return {name: round(percentile(took, share), 2) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def measure(bundle: Path, log: Path, other: Path | None = None) -> dict[str, Any]:
    """`bundle`: of the log `log`. `other`: the bundle that it takes turns with; None: one is built."""
    now_ms = int(time.time() * 1000)
    rng = random.Random(5)
    picked = rng.sample(read_requests(log)[-5000:], REQUESTS)
    requests = [replace(r, interaction_id=f"swap-{i}", timestamp_ms=now_ms) for i, r in enumerate(picked)]
    with tempfile.TemporaryDirectory(prefix="query-rewrite-bench-") as place:
        bundles = [bundle.absolute(), (other or another_bundle(Path(place))).absolute()]
        expected = {read_manifest(b)["version"]: answers(b, requests) for b in bundles}
        settings = {"workers": WORKERS, "admin_port": ADMIN_PORT, "log_level": "warning"}
        with serving(bundle, cores="0,1", port=50130, **settings) as (address, _):
            found = asyncio.run(_drive(address, bundles, requests))
    asked: list[Asked] = found["asked"]
    codes = Counter(a.code for a in asked if a.reply is None)
    compared = mixed = 0
    for a in asked:
        if a.reply is None or a.reply.skipped_stages or a.reply.reason == pb.REASON_OUT_OF_TIME:
            continue  # decided with less than all there is, and says so
        compared += 1
        made = (a.reply.decision, a.reply.text, round(a.reply.probability, 6))
        mixed += made != expected.get(a.reply.bundle_version, [])[a.request]
    differ = sum(one != other for one, other in zip(*expected.values(), strict=True))
    swapping = [a for a in asked if any(begin <= a.at <= end for begin, end in found["spans"])]
    quiet = [a for a in asked if found["quiet"][0] <= a.at <= found["quiet"][1]]
    memory = found["memory"]
    return {
        "swaps": SWAPS,
        "swap_processes": WORKERS,
        "swap_calls": len(asked),
        "swap_failed_calls": sum(codes.values()),
        "swap_failed_codes": dict(codes),
        "swap_answers_compared": compared,
        "swap_mixed_answers": mixed,
        "swap_requests_answered_differently": f"{differ} of {REQUESTS}",
        "swap_latency_ms_quiet": _latency(quiet),
        "swap_latency_ms_swapping": _latency(swapping),
        "swap_longest_answer_ms": _latency(asked)["max"],
        "swap_seconds": [round(end - begin, 1) for begin, end in found["spans"]],
        "swap_private_mib": [round(m["private"] / 2**20, 1) for m in memory],
        "swap_resident_mib": [round(m["resident"] / 2**20, 1) for m in memory],
    }


if __name__ == "__main__":
    import orjson

    from benchmarks.serving.servers import bundle_and_log

    given = bundle_and_log(__doc__)
    print(orjson.dumps(measure(given.bundle, given.log), option=orjson.OPT_INDENT_2).decode())
