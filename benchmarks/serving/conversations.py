"""What somebody waits for whose every turn is recorded: ask, record what came of it, ask again, as assistants do.

A real server with one core, and one user a row who has already said so many things: turns of the log's own people, one
person's after the other's, dated anew, recorded before. Then each round asks a misspelt request of theirs, and records
a turn; the next round comes a little later. A user's write makes what is known of them stale, so that each round has to
take in the turn before it.

usage: python -m benchmarks.serving.conversations BUNDLE LOG
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.servers import bundle_and_log, cpu_seconds, pin_client, serving
from mining.reader import read_log
from mining.sessions import by_user, sessions
from retriever.interaction import Interaction
from rewrite_service.client.messages import from_interaction, from_request
from rewrite_service.loadtest import misspelt
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

HISTORIES = (20, 66, 200, 500, 1000, 2000)
"""Turns recorded of a user before; 66 is what the sample log has of each, 2,000 what a store keeps at the most."""
ROUNDS = 60
PAUSE_S = 0.25
"""From a turn's record to the next request: sooner than anybody speaks."""
BUDGET_MS = 20
_HOUR_MS = 3_600_000
_NOON_MS = 1_767_614_400_000
_AT_ONCE = 50


def history(turns: Sequence[Interaction], user_id: str, count: int, rng: random.Random) -> list[Interaction]:
    """`count` turns of one made-up user: sessions of the log's people, each an hour after the one before."""
    people = list(by_user(turns).values())
    rng.shuffle(people)
    out: list[Interaction] = []
    now = _NOON_MS
    for own in people:
        for span in sessions(own):
            now += _HOUR_MS
            first = own[span.start].request.timestamp_ms
            for turn in (own[i] for i in span):
                at = now + turn.request.timestamp_ms - first
                out.append(_dated(turn, user_id, f"{user_id}-{len(out)}", at))
                if len(out) == count:
                    return out
    raise SystemExit(f"the log has no {count} turns")


def _dated(turn: Interaction, user_id: str, name: str, at_ms: int) -> Interaction:
    request = replace(turn.request, user_id=user_id, interaction_id=name, timestamp_ms=at_ms)
    return replace(turn, request=request)


def measure(bundle: Path, log: Path) -> dict[str, Any]:
    turns, rng = read_log([log]).turns, random.Random(5)
    rows = []
    with (
        serving(bundle, default_deadline_ms=BUDGET_MS, log_level="warning") as (address, process),
        grpc.insecure_channel(address) as channel,
    ):
        stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
        for count in HISTORIES:
            own = history(turns, f"talker-{count}", count + ROUNDS, rng)
            rows.append({"turns": count} | _talk(stub, process.pid, own[:count], own[count:], rng))
    return {"budget_ms": BUDGET_MS, "rounds": ROUNDS, "pause_s": PAUSE_S, "users": rows}


def _talk(
    stub: rewrite_pb2_grpc.RewriteServiceStub,
    pid: int,
    before: Sequence[Interaction],
    to_come: Sequence[Interaction],
    rng: random.Random,
) -> dict[str, Any]:
    """One user's rounds, and what they cost the server."""
    for start in range(0, len(before), _AT_ONCE):
        _record(stub, before[start : start + _AT_ONCE])
    stub.Rewrite(from_request(to_come[0].request), timeout=30)  # the first of all: whatever it takes
    time.sleep(2)
    took, without_personal, late = [], 0, 0
    began = cpu_seconds(pid)
    for turn in to_come:
        # One of the user's own, so that it is the personal layer that has something to say.
        said = rng.choice(before).request.query
        asked = replace(turn.request, query=misspelt(said, rng), interaction_id=f"{turn.request.interaction_id}-asked")
        message = from_request(asked)
        started = time.perf_counter()
        reply = stub.Rewrite(message)  # without a deadline of its own, so that the server's budget holds
        took.append(1e3 * (time.perf_counter() - started))
        without_personal += "personal" in reply.skipped_stages
        late += reply.reason == pb.REASON_OUT_OF_TIME
        _record(stub, [turn])
        time.sleep(PAUSE_S)
    cpu_ms = 1e3 * (cpu_seconds(pid) - began) / len(to_come)
    p50, p99 = np.percentile(took, (50, 99))
    return {
        "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "without_personal": without_personal,
        "out_of_time": late, "cpu_ms_a_round": round(cpu_ms, 2),
    }  # fmt: skip


def _record(stub: rewrite_pb2_grpc.RewriteServiceStub, turns: Sequence[Interaction]) -> None:
    stub.Record(pb.RecordRequest(interactions=[from_interaction(turn) for turn in turns]), timeout=30)


def figures(measured: Mapping[str, Any]) -> Figures:
    columns = ("turns before", "p50 ms", "p99", "without the personal layer", "out of time", "CPU ms a round")
    title = f"ask, record, ask again: {measured['rounds']} rounds, budget {measured['budget_ms']} ms"
    return title, columns, [tuple(row.values()) for row in measured["users"]]


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    measured = measure(asked.bundle, asked.log)
    show(*figures(measured))
    keep("conversations", measured)


if __name__ == "__main__":
    main()
