"""Checks the fleet of deploy/compose.yaml while it runs: one answer behind the proxy, users kept to their server, state
that is shared, servers that come and go, what Prometheus sees. Measures what the proxy costs and affinity brings.

Used by deploy/compose_test.sh. Prints each check; ends with 1 at the first that fails.

usage: check_fleet.py PROJECT --target HOST:PORT --prometheus HOST:PORT [--results FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import grpc

sys.path.insert(0, str(Path(__file__).parents[2]))

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

USERS, ROUNDS, CALLS = 200, 4, 400
_METRICS_S = 1.5
"""After so long the metrics tell what was asked: they look at the caches once a second."""
WAIT_S = 90.0
QUERY = "play we don't talk about brew no"


class Failed(Exception):
    """A check did not hold."""


def check(what: str, holds: bool, found: object = "") -> None:
    print(f"{'ok' if holds else 'FAILED'}: {what}" + (f" ({found})" if found != "" else ""), flush=True)
    if not holds:
        raise Failed(what)


def podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise Failed(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def user_key(user: str) -> str:
    """What goes into `x-user-key`: the same for a user wherever the call comes from, and not the id."""
    return hashlib.sha256(user.encode()).hexdigest()[:16]


def a_request(user: str, query: str = QUERY) -> pb.RewriteRequest:
    return pb.RewriteRequest(
        interaction_id=str(uuid.uuid4()), user_id=user, timestamp_ms=int(time.time() * 1000), query=query,
        channel=pb.CHANNEL_VOICE, asr_confidence=0.8,
    )  # fmt: skip


def until(what: str, reached: Callable[[], bool]) -> float:
    """Seconds until it was so."""
    begun = time.monotonic()
    while time.monotonic() < begun + WAIT_S:
        try:
            if reached():
                return time.monotonic() - begun
        except (OSError, grpc.RpcError):
            pass
        time.sleep(0.1)
    raise Failed(f"not within {WAIT_S:g} s: {what}")


@dataclass(frozen=True)
class Replica:
    """One of the servers, spoken to past the proxy."""

    name: str

    @property
    def address(self) -> str:
        """Its address on this machine's bridge; another one after each start."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        return podman("inspect", "--format", template, self.name).split()[0]

    def stub(self) -> rewrite_pb2_grpc.RewriteServiceStub:
        return rewrite_pb2_grpc.RewriteServiceStub(grpc.insecure_channel(f"{self.address}:50051"))

    def figures(self) -> dict[str, float]:
        with urlopen(f"http://{self.address}:9464/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def lookups(replicas: list[Replica]) -> tuple[float, float]:
    """Hits and misses of the users' cache, of all replicas."""
    told = [replica.figures() for replica in replicas]
    hits, misses = (f'query_rewrite_cache_{kind}_total{{cache="users"}}' for kind in ("hits", "misses"))
    return sum(one[hits] for one in told), sum(one[misses] for one in told)


def answered(replicas: list[Replica]) -> list[float]:
    name = 'query_rewrite_requests_total{code="OK",method="rewrite"}'
    return [replica.figures().get(name, 0.0) for replica in replicas]


def check_affinity(stub: rewrite_pb2_grpc.RewriteServiceStub, replicas: list[Replica], kept: bool) -> float:
    """Some calls of many users; the share of look-ups that found their user. `kept`: whether with `x-user-key`."""
    label = "kept" if kept else "spread"
    time.sleep(_METRICS_S)  # or what was asked just before would count here
    before, begun = lookups(replicas), answered(replicas)
    for turn in range(ROUNDS):
        for n in range(USERS):
            user = f"{label}-{n}"
            metadata = [("x-user-key", user_key(user))] if kept else []
            stub.Rewrite(a_request(user, f"play song number {turn}"), timeout=10, metadata=metadata)
    time.sleep(_METRICS_S)
    hits, misses = (now - then for now, then in zip(lookups(replicas), before, strict=True))
    parts = [now - then for now, then in zip(answered(replicas), begun, strict=True)]
    check(f"both servers have work, users {label}", min(parts) > 0.15 * sum(parts), [int(part) for part in parts])
    if kept:
        check("each user's rows are read by one server", misses < 1.1 * USERS, f"{misses:.0f} for {USERS} users")
    else:
        check("without the key more servers read them", misses > 1.5 * USERS, f"{misses:.0f} for {USERS} users")
    return hits / (hits + misses)


def check_shared_state(stub: rewrite_pb2_grpc.RewriteServiceStub, replicas: list[Replica]) -> None:
    stub.Teach(pb.TeachRequest(user_id="dora", text="my sister is called anna"), timeout=5)
    texts = [r.stub().Rewrite(a_request("dora", "call my sister"), timeout=5).text for r in replicas]
    check("what one server was taught all know at once", texts == ["call anna"] * len(replicas), texts)


@dataclass
class Caller:
    """Calls without a pause, on a thread of its own, and counts how they end."""

    stub: rewrite_pb2_grpc.RewriteServiceStub
    codes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Caller:
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            user, begun = f"caller-{number % 50}", time.monotonic()
            try:
                self.stub.Rewrite(a_request(user), timeout=5, metadata=[("x-user-key", user_key(user))])
                self.codes["OK"] += 1
            except grpc.RpcError as error:
                self.codes[f"{error.code().name}: {error.details()}"] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
            time.sleep(0.002)


def check_comings_and_goings(
    stub: rewrite_pb2_grpc.RewriteServiceStub, replicas: list[Replica], serving: Callable[[int], bool]
) -> dict[str, object]:
    """A server is stopped as by an upgrade, comes back, and is killed, while callers call."""
    found: dict[str, object] = {}
    for how, command in (("stop", ("stop", "--time", "30")), ("kill", ("kill", "--signal", "KILL"))):
        with Caller(stub) as caller:
            time.sleep(1)
            podman(*command, replicas[0].name)
            time.sleep(5)
        found[f"{how}: calls"] = dict(caller.codes)
        found[f"{how}: slowest_call_s"] = round(caller.slowest_s, 3)
        lost = sum(caller.codes.values()) - caller.codes["OK"]
        check(f"no Rewrite is lost when a server goes ({how})", lost == 0, dict(caller.codes))
        podman("start", replicas[0].name)
        found[f"{how}: back_after_s"] = round(until("it is back", lambda: serving(len(replicas))), 1)
    return found


def check_redis_restart(stub: rewrite_pb2_grpc.RewriteServiceStub, project: str) -> None:
    podman("restart", "--time", "10", f"{project}_redis_1")

    def known() -> bool:
        return stub.Rewrite(a_request("dora", "call my sister"), timeout=5).text == "call anna"

    check("what was taught is there after Redis was started anew", until("Redis is back", known) < WAIT_S)
    with_nothing = stub.Rewrite(a_request("nobody-yet"), timeout=5)
    check("and rewrites go on", with_nothing.decision == pb.DECISION_REWRITE)


def latencies(
    stub: rewrite_pb2_grpc.RewriteServiceStub, past: list[rewrite_pb2_grpc.RewriteServiceStub]
) -> dict[str, float]:
    """Medians in milliseconds of the same request, remembered, by the proxy and past it, turn about."""
    request, metadata = a_request("same"), [("x-user-key", user_key("same"))]
    for each in (stub, *past):
        each.Rewrite(request, timeout=5, metadata=metadata)
    taken: dict[str, list[float]] = {"by_proxy_ms": [], "direct_ms": []}
    for n in range(CALLS):
        for name, each in (("by_proxy_ms", stub), ("direct_ms", past[n % len(past)])):
            begun = time.perf_counter()
            each.Rewrite(request, timeout=5, metadata=metadata)
            taken[name].append(1000 * (time.perf_counter() - begun))
    return {name: round(statistics.median(values), 2) for name, values in taken.items()}


def asked(prometheus: str, expression: str) -> list[float]:
    with urlopen(f"http://{prometheus}/api/v1/query?query={quote(expression)}", timeout=5) as page:
        return [float(one["value"][1]) for one in json.load(page)["data"]["result"]]


def check_prometheus(prometheus: str, replicas: int) -> None:
    until("Prometheus reads all servers", lambda: asked(prometheus, 'up{job="query-rewrite"}') == [1.0] * replicas)
    check("Prometheus reads all servers", True, replicas)
    until("and the proxy", lambda: asked(prometheus, 'up{job="proxy"}') == [1.0])
    with urlopen(f"http://{prometheus}/api/v1/rules", timeout=5) as page:
        groups = json.load(page)["data"]["groups"]
    names = {rule["name"] for group in groups for rule in group["rules"]}
    check("the alert rules are loaded", "QueryRewriteDown" in names, f"{len(names)} rules")


def main(given: argparse.Namespace) -> None:
    listed = podman("ps", "--filter", f"label=com.docker.compose.project={given.project}", "--format", "{{.Names}}")
    replicas = [Replica(name) for name in sorted(listed.splitlines()) if "_server_" in name]
    check("there are two servers", len(replicas) == 2, listed.split())
    stub = rewrite_pb2_grpc.RewriteServiceStub(grpc.insecure_channel(given.target))

    def serving(count: int) -> bool:
        """Whether so many servers answer calls that come by the proxy."""
        before = answered(replicas)
        for n in range(40):
            stub.Rewrite(a_request(f"probe-{n}"), timeout=5, metadata=[("x-user-key", user_key(f"probe-{n}"))])
        now = answered(replicas)
        return sum(after > earlier for after, earlier in zip(now, before, strict=True)) == count

    until("the fleet serves", lambda: serving(len(replicas)))
    reply = stub.Rewrite(a_request("ben"), timeout=5)
    check("Rewrite is answered by the proxy's door", reply.text == "play we don't talk about bruno", reply.text)
    figures: dict[str, object] = {"servers": len(replicas)}
    check_shared_state(stub, replicas)
    figures["user_cache_hit_rate"] = {
        "with x-user-key": round(check_affinity(stub, replicas, kept=True), 3),
        "without": round(check_affinity(stub, replicas, kept=False), 3),
    }
    figures |= latencies(stub, [replica.stub() for replica in replicas])
    figures |= check_comings_and_goings(stub, replicas, serving)
    check_redis_restart(stub, given.project)
    check_prometheus(given.prometheus, len(replicas))
    print(json.dumps(figures, indent=2))
    if given.results is not None:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        head = {
            "command": "make compose-test",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "cpus": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
            "images": given.images,
        }
        given.results.write_text(json.dumps(head | figures, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project")
    parser.add_argument("--target", required=True, help="the proxy's door, host:port")
    parser.add_argument("--prometheus", required=True, help="host:port")
    parser.add_argument("--images", default="", help="pulled, or stand-in")
    parser.add_argument("--results", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(_arguments())
    except Failed as error:
        sys.exit(f"error: {error}")
