"""Is anything that `Record` acknowledged lost when the server is killed at any moment? And does its store open again?

A server with the embedded store takes turns of many users from several callers at a time. At a random moment all its
processes are killed with SIGKILL, the store is opened, every turn and all feedback acknowledged so far is looked for,
and the server is started again on the same folder. Kills fall into the start as well.

usage: python -m benchmarks.chaos.kills BUNDLE [KILLS]
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from benchmarks.ports import free_port
from benchmarks.quality.tables import show
from rewrite_service.errors import StoreError
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.store.embedded import EmbeddedStore

KILLS, CALLERS, USERS = 50, 4, 40
WORKERS = 2
START_S = 120.0
MOST_UNDER_LOAD_S = 1.5
EVERY_IN_THE_START = 5
"""Each kill of this number falls into the start, at whatever it is just doing."""
START_MS = 1_767_268_800_000


@dataclass
class Acknowledged:
    """What callers were told is kept: turns by (user, id), and those of them with feedback."""

    turns: set[tuple[str, str]] = field(default_factory=set)
    barged: set[tuple[str, str]] = field(default_factory=set)


def measure(bundle: Path, kills: int = KILLS, seed: int = 7) -> dict[str, Any]:
    """Figures of `kills` kills: acknowledged turns and pieces of feedback, how many of them were lost, and how often
    the store did not open."""
    chance = random.Random(seed)
    told, lost, unopenable, under_load = Acknowledged(), set[object](), 0, 0
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="query-rewrite-kills-") as place:
        state = Path(place) / "state"
        for kill in range(kills):
            with (Path(place) / "log").open("wb") as log:
                port = free_port()
                process = _start(bundle, state, port, log)
            if kill % EVERY_IN_THE_START == EVERY_IN_THE_START - 1:
                time.sleep(chance.uniform(0.0, 3.0))
            else:
                before = len(told.turns)
                _record_until_killed(process, port, told, numbers, chance, Path(place) / "log")
                under_load += len(told.turns) > before
            _kill(process)
            try:
                lost |= _missing(state, told)
            except StoreError:
                unopenable += 1
    figures = {
        "kills": kills,
        "kills_under_load": under_load,
        "acknowledged": len(told.turns) + len(told.barged),
        "acknowledged_lost": len(lost),
        "stores_unopenable": unopenable,
    }
    show("kill -9 under load, embedded store", tuple(figures), [tuple(figures.values())])
    return figures


def _start(bundle: Path, state: Path, port: int, log: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rewrite_service.cli", "serve", "--bundle", str(bundle), "--port", str(port)]
    command += ["--workers", str(WORKERS), "--state-dir", str(state)]
    settings = {"QUERY_REWRITE_MAX_TURNS_PER_USER": "100000", "QUERY_REWRITE_MAX_BYTES_PER_USER": str(1 << 30)}
    return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | settings, start_new_session=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The server with all its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _record_until_killed(
    process: subprocess.Popen[bytes],
    port: int,
    told: Acknowledged,
    numbers: Any,
    chance: random.Random,
    log: Path,
) -> None:
    ended = threading.Event()
    first = threading.Event()
    callers = [
        threading.Thread(target=_record, args=(port, told, numbers, random.Random(chance.random()), first, ended))
        for _ in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    try:
        end = time.monotonic() + START_S
        while not first.wait(0.1):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not take turns:\n{log.read_text()[-2000:]}")
        time.sleep(chance.uniform(0.0, MOST_UNDER_LOAD_S))
        _kill(process)
    finally:
        ended.set()
        for caller in callers:
            caller.join()


def _record(
    port: int,
    told: Acknowledged,
    numbers: Any,
    chance: random.Random,
    first: threading.Event,
    ended: threading.Event,
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
        own: list[tuple[str, str]] = []
        while not ended.is_set():
            turns = [_turn(chance, next(numbers)) for _ in range(chance.randint(1, 4))]
            late = []
            if own and chance.random() < 0.3:
                user, name = chance.choice(own)
                late = [pb.FeedbackEvent(user_id=user, interaction_id=name, feedback=pb.Feedback(barge_in=True))]
            try:
                stub.Record(pb.RecordRequest(interactions=turns, feedback=late), timeout=30)
            except grpc.RpcError:
                time.sleep(0.02)
                continue
            taken = [(turn.user_id, turn.interaction_id) for turn in turns]
            own += taken
            told.turns.update(taken)
            told.barged.update((one.user_id, one.interaction_id) for one in late)
            first.set()


def _turn(chance: random.Random, number: int) -> pb.Interaction:
    return pb.Interaction(
        interaction_id=f"t-{number}",
        user_id=f"user-{chance.randrange(USERS)}",
        timestamp_ms=START_MS + number,
        query="play " + "x" * chance.randrange(200),
        outcome=pb.OUTCOME_OK,
        interpretation=pb.Interpretation(intent="play_music"),
    )


def _missing(state: Path, told: Acknowledged) -> set[object]:
    """What is acknowledged and not held. Raises StoreError."""
    store = EmbeddedStore(state, max_turns_per_user=100_000, max_bytes_per_user=1 << 30)
    try:
        held, barged = set(), set()
        for number in range(USERS):
            for turn in store.user(f"user-{number}").turns:
                key = turn.request.user_id, turn.request.interaction_id
                held.add(key)
                if turn.feedback.barge_in:
                    barged.add(key)
    finally:
        store.close()
    return {("turn", *key) for key in told.turns - held} | {("feedback", *key) for key in told.barged - barged}


def main() -> None:
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    figures = measure(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    raise SystemExit(bool(figures["acknowledged_lost"] or figures["stores_unopenable"]))


if __name__ == "__main__":
    main()
