"""Does every `Rewrite` answer in budget while Redis is ill, and does the server come back by itself?

A real server on a real Redis, asked at a steady rate while Redis is stopped, killed and started anew, frozen, paused,
slowed and emptied; turns are recorded meanwhile. A `Rewrite` fails if it is answered with an error or with
`REASON_INTERNAL_ERROR`, and is late if its answer is not there when the budget is over; without what is personal, or a
pass because of time, is an answer. Every turn acknowledged must be in Redis in the end, but for those that were there
when it was emptied on purpose.

usage: python -m benchmarks.chaos.redis_faults BUNDLE LOG
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from benchmarks.chaos.redis_server import RedisServer, redis_server
from benchmarks.quality.tables import show
from benchmarks.serving.servers import bundle_and_log, serving
from mining.reader import read_log
from retriever.interaction import Request
from rewrite_service.client.messages import from_request
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.store.redis_store import RedisStore

RATE, SECONDS, BUDGET_S = 60.0, 3.0, 0.1
RECORDS_A_S = 20.0
RECOVERY_S = 30.0

KINDS = ("answered", "failed", "late", "without personal", "out of time")

Fault = tuple[str, Callable[[RedisServer], None], Callable[[RedisServer], None]]


def _pause(server: RedisServer) -> None:
    with server.client() as client:
        client.client_pause(int(SECONDS * 1000))


def _slow(server: RedisServer) -> None:
    """Half of the time Redis does nothing at all, for 50 ms at once."""

    def sleep_again_and_again() -> None:
        end = time.monotonic() + SECONDS
        with server.client() as client:
            while time.monotonic() < end:
                client.execute_command("DEBUG", "SLEEP", "0.05")
                time.sleep(0.05)

    threading.Thread(target=sleep_again_and_again, daemon=True).start()


def _empty(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()
        client.script_flush()


def _nothing(_: RedisServer) -> None:
    pass


FAULTS: tuple[Fault, ...] = (
    ("none", _nothing, _nothing),
    ("emptied", _empty, _nothing),
    ("killed, started anew", RedisServer.kill, RedisServer.start),
    ("frozen", RedisServer.freeze, RedisServer.thaw),
    ("paused", _pause, _nothing),
    ("slow", _slow, _nothing),
    ("killed and at once started anew", lambda server: (server.kill(), server.start()), _nothing),
)


@dataclass
class Seen:
    """What came of the requests of one fault. `answers`: by what they were; `longest_ms`: of those that came."""

    answers: Counter[str] = field(default_factory=Counter)
    longest_ms: float = 0.0

    def note(self, call: Future[Any], began: float) -> None:
        taken_ms = (time.monotonic() - began) * 1000
        error = call.exception()
        if isinstance(error, grpc.RpcError):
            self.answers["late" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else "failed"] += 1
            return
        reply = call.result()
        self.longest_ms = max(self.longest_ms, taken_ms)
        self.answers["answered"] += 1
        self.answers["failed"] += reply.reason == pb.REASON_INTERNAL_ERROR
        self.answers["without personal"] += "personal" in reply.skipped_stages
        self.answers["out of time"] += reply.reason == pb.REASON_OUT_OF_TIME


def measure(
    bundle: Path,
    requests: Sequence[Request],
    faults: Sequence[Fault] = FAULTS,
    seconds: float = SECONDS,
    **settings: object,
) -> dict[str, Any]:
    """Figures of one run through `faults`, each of which lasts `seconds`; also by fault. `settings`: of the server."""
    kept, by_fault = set[tuple[str, str]](), {}
    with redis_server() as server, serving(
        bundle, cores=",".join(map(str, os.sched_getaffinity(0))), store="redis", redis_url=server.url, **settings
    ) as (address, _):
        with grpc.insecure_channel(address) as channel:
            stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
            _ask(stub, requests, 2.0)  # what is new to the process is none of Redis's faults
            for name, begin, end in faults:
                stop = threading.Event()
                with ThreadPoolExecutor(1) as pool:
                    recording = pool.submit(_record, stub, stop)
                    begin(server)
                    seen = _ask(stub, requests, seconds)
                    end(server)
                    back_s = _back(stub, requests)
                    stop.set()
                    acknowledged, refused = recording.result()
                if name == "emptied":
                    kept.clear()  # some of this fault's were there, some not yet
                else:
                    kept |= acknowledged
                by_fault[name] = {what: seen.answers[what] for what in KINDS} | {
                    "longest_ms": round(seen.longest_ms, 1),
                    "recorded": len(acknowledged),
                    "records_refused": refused,
                    "back_after_s": round(back_s, 2),
                }
        lost = len(kept - _held(server.url, {user for user, _ in kept}))
    ill = [figures for name, figures in by_fault.items() if name != "none"]
    figures = {
        "redis_faults": len(ill),
        "answers_under_faults": sum(f["answered"] for f in ill),
        "answers_failed": sum(f["failed"] for f in ill),
        "answers_late": sum(f["late"] for f in ill),
        "redis_acknowledged": len(kept),
        "redis_acknowledged_lost": lost,
        "redis_back_after_s": max((f["back_after_s"] for f in ill), default=0.0),
    }
    columns = list(next(iter(by_fault.values())))
    title = f"{RATE:.0f} Rewrites a second, budget {BUDGET_S * 1000:.0f} ms, Redis ill for {seconds:g} s"
    show(title, ("Redis", *columns), [(name, *f.values()) for name, f in by_fault.items()])
    show("all faults", tuple(figures), [tuple(figures.values())])
    return figures | {"by_fault": by_fault}


def _ask(stub: rewrite_pb2_grpc.RewriteServiceStub, requests: Sequence[Request], seconds: float) -> Seen:
    """Requests at their appointed times, whether those before them are answered or not."""
    seen, under_way = Seen(), []
    began = time.monotonic()
    for number, request in zip(range(int(RATE * seconds)), itertools.cycle(requests)):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        sent = time.monotonic()
        call = stub.Rewrite.future(_now(request, number), timeout=BUDGET_S)
        call.add_done_callback(lambda done, sent=sent: seen.note(done, sent))
        under_way.append(call)
    for call in under_way:
        with suppress(grpc.RpcError):
            call.result()
    end = time.monotonic() + 10
    while seen.answers["answered"] + seen.answers["late"] + seen.answers["failed"] < len(under_way):
        if time.monotonic() > end:  # callbacks come from a thread of their own
            break
        time.sleep(0.01)
    return seen


def _now(request: Request, number: int) -> pb.RewriteRequest:
    message = from_request(request)
    message.interaction_id, message.timestamp_ms = f"asked-{number}", int(time.time() * 1000)
    return message


def _record(stub: rewrite_pb2_grpc.RewriteServiceStub, stop: threading.Event) -> tuple[set[tuple[str, str]], int]:
    """Until told to stop. The turns acknowledged, and how many were not."""
    acknowledged, refused = set(), 0
    for number in itertools.count():
        if stop.wait(1 / RECORDS_A_S):
            return acknowledged, refused
        stamp = time.time_ns()
        turn = pb.Interaction(
            interaction_id=f"told-{stamp}", user_id=f"user-{number % 20}", timestamp_ms=stamp // 1_000_000,
            query="play jazz", outcome=pb.OUTCOME_OK,
        )  # fmt: skip
        try:
            stub.Record(pb.RecordRequest(interactions=[turn]), timeout=2)
            acknowledged.add((turn.user_id, turn.interaction_id))
        except grpc.RpcError:
            refused += 1
    raise AssertionError("endless")


def _back(stub: rewrite_pb2_grpc.RewriteServiceStub, requests: Sequence[Request]) -> float:
    """Seconds until ten answers in a row had what is personal; not a number where that does not come."""
    began, whole = time.monotonic(), 0
    for number, request in enumerate(itertools.cycle(requests)):
        taken = time.monotonic() - began
        if whole == 10:
            return taken
        if taken > RECOVERY_S:
            break
        with suppress(grpc.RpcError):
            reply = stub.Rewrite(_now(request, number), timeout=1)
            whole = 0 if "personal" in reply.skipped_stages else whole + 1
        time.sleep(0.01)
    return float("nan")


def _held(url: str, users: set[str]) -> set[tuple[str, str]]:
    store = RedisStore(url, read_timeout_s=5, connect_timeout_s=5)
    try:
        return {(user, turn.request.interaction_id) for user in users for turn in store.user(user).turns}
    finally:
        store.close()


def main() -> None:
    asked = bundle_and_log(__doc__)
    figures = measure(asked.bundle, [turn.request for turn in read_log([asked.log]).turns[-2000:]])
    raise SystemExit(bool(figures["answers_failed"] or figures["redis_acknowledged_lost"]))


if __name__ == "__main__":
    sys.exit(main())
