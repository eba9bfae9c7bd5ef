"""Runs the image as a container, with the rights and limits of production, and checks what deploy/README.md says of it.

Used by deploy/image_test.sh, which has set up podman and built the image. Prints each check; ends with 1 at the first
that fails. With `--results` the figures go to a file.

usage: check_image.py IMAGE --bundles FOLDER [--results FILE --build-seconds N --base KIND]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import grpc

sys.path.insert(0, str(Path(__file__).parents[2]))

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

NAME, VOLUME = "query-rewrite-test", "query-rewrite-test-state"
LIMITS = ("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,noexec,nosuid,size=64m", "--cap-drop=all",
          "--security-opt=no-new-privileges", "--memory=1g", "--pids-limit=256")  # fmt: skip
START_S, STOP_S = 120, 30
BURST = 16
"""Calls under way when SIGTERM comes: some tenths of a second of work, less than a patient caller may wait."""


class Failed(Exception):
    """A check did not hold."""


def check(what: str, holds: bool, found: object = "") -> None:
    print(f"{'ok' if holds else 'FAILED'}: {what}" + (f" ({found})" if found != "" else ""), flush=True)
    if not holds:
        raise Failed(what)


def podman(*arguments: str, fine: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs podman; with `fine` a failure ends the test with podman's words."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=300, check=False)
    if fine and done.returncode != 0:
        raise Failed(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
    return done


def inside(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command in the running container says."""
    return podman("exec", NAME, *command, fine=False)


@dataclass(frozen=True)
class Running:
    """The container while it runs. `seconds`: from `podman run` to SERVING. `metrics`: address of its metrics."""

    stub: rewrite_pb2_grpc.RewriteServiceStub
    metrics: str
    seconds: float


@contextmanager
def running(image: str, bundles: Path) -> Iterator[Running]:
    begun = time.monotonic()
    podman(
        "run", "--detach", "--name", NAME, *LIMITS, "--publish", "127.0.0.1::50051", "--publish", "127.0.0.1::9464",
        "--volume", f"{bundles}:/bundles:ro", "--volume", f"{VOLUME}:/var/lib/query-rewrite",
        "--env", "QUERY_REWRITE_ALLOW_INSECURE=true", "--env", "QUERY_REWRITE_METRICS_PORT=9464", image,
    )  # fmt: skip
    target, metrics = (podman("port", NAME, port).stdout.strip() for port in ("50051", "9464"))
    try:
        with grpc.insecure_channel(target) as channel:
            seconds = _until_serving(channel, begun)
            yield Running(rewrite_pb2_grpc.RewriteServiceStub(channel), metrics, seconds)
    finally:
        podman("rm", "--force", "--time", "2", NAME, fine=False)


def _until_serving(channel: grpc.Channel, begun: float) -> float:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    while time.monotonic() < begun + START_S:
        try:
            if stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status == health_pb2.HealthCheckResponse.SERVING:
                return time.monotonic() - begun
        except grpc.RpcError:
            pass
        if podman("inspect", "--format", "{{.State.Running}}", NAME).stdout.strip() != "true":
            break
        time.sleep(0.05)
    raise Failed(f"it does not serve:\n{podman('logs', NAME, fine=False).stderr}")


def a_request(query: str, user: str = "ben") -> pb.RewriteRequest:
    return pb.RewriteRequest(
        interaction_id=str(uuid.uuid4()), user_id=user, timestamp_ms=int(time.time() * 1000), query=query,
        channel=pb.CHANNEL_VOICE, asr_confidence=0.8,
    )  # fmt: skip


def check_answers(run: Running) -> None:
    reply = run.stub.Rewrite(a_request("play we don't talk about brew no"), timeout=5)
    check("Rewrite is answered with a rewrite", reply.decision == pb.DECISION_REWRITE, reply.text)
    run.stub.Teach(pb.TeachRequest(user_id="dora", text="my sister is called anna"), timeout=5)
    turn = pb.Interaction(
        interaction_id=str(uuid.uuid4()), user_id="ben", timestamp_ms=int(time.time() * 1000), query="play jazz",
        outcome=pb.OUTCOME_OK, interpretation=pb.Interpretation(intent="play_music", slots={"genre": "jazz"}),
    )  # fmt: skip
    run.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=5)
    check("Record is acknowledged", True)
    with urlopen(f"http://{run.metrics}/metrics", timeout=5) as page:
        check("metrics are told", b"query_rewrite_requests_total" in page.read())


def check_confinement() -> None:
    check("it does not run as root", inside("id", "-u").stdout.strip() == "10001")
    for place in ("/", "/opt/query-rewrite", "/bundles", "/etc"):
        check(f"nothing can be written in {place}", inside("touch", f"{place}/x").returncode != 0)
    status = inside("cat", "/proc/1/status").stdout
    rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    check("process 1 has no capability", int(rights["CapEff"], 16) == 0 and int(rights["CapBnd"], 16) == 0)
    check("it can gain no rights", rights["NoNewPrivs"] == "1")
    check("system calls are filtered", rights["Seccomp"] == "2", f"seccomp {rights['Seccomp']}")
    for program in ("gcc", "cc", "g++", "clang", "make", "ld"):
        check(f"there is no {program}", inside("sh", "-c", f"command -v {program}").returncode != 0)
    python = "/opt/query-rewrite/bin/python"
    for module in ("torch", "transformers", "pytest", "pip"):
        check(f"{module} cannot be imported", inside(python, "-c", f"import {module}").returncode != 0)
    check("the health probe says SERVING", inside("query-rewrite", "health").stdout.strip() == "SERVING")
    # As an engine does it: one that comes late on a busy machine is asked again.
    tries = (podman("healthcheck", "run", NAME, fine=False).returncode for _ in range(3))
    check("the image's own health check is the same", any(code == 0 for code in tries))


def check_drain(run: Running) -> float:
    """SIGTERM while calls are under way: all that were there are answered, and it ends with 0. Seconds to the end."""
    pid = int(podman("inspect", "--format", "{{.State.Pid}}", NAME).stdout)
    with ThreadPoolExecutor(BURST) as callers:
        asked = [pb.ExplainRequest(request=a_request(f"play we don't talk about brew no {n}")) for n in range(BURST)]
        calls = [run.stub.Explain.future(one, timeout=20) for one in asked]
        next(iter(_first(calls)))
        os.kill(pid, signal.SIGTERM)
        begun = time.monotonic()
        codes = list(callers.map(_code, calls))
    code = int(podman("wait", NAME).stdout)
    seconds = time.monotonic() - begun
    lines = [json.loads(line) for line in podman("logs", NAME).stderr.splitlines() if line.startswith("{")]
    under_way = next(line["under_way"] for line in lines if line["event"] == "draining")
    check("calls were under way when SIGTERM came", under_way > 0, under_way)
    check("each of them was answered", codes.count("OK") == BURST, f"{codes.count('OK')} of {BURST}")
    check("it ended with exit code 0", code == 0, code)
    check("it ended in time", seconds < STOP_S and lines[-1]["event"] == "stopped", f"{seconds:.1f} s")
    return seconds


def _first(calls: list[grpc.Future]) -> Iterator[grpc.Future]:
    while True:
        yield from (call for call in calls if call.done())
        time.sleep(0.001)


def _code(call: grpc.Future) -> str:
    try:
        call.result()
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def check_again(image: str, bundles: Path) -> tuple[float, float]:
    """A second container on the same volume knows what the first was told; seconds to serve and to stop."""
    with running(image, bundles) as run:
        reply = run.stub.Rewrite(a_request("call my sister", "dora"), timeout=5)
        check("what was taught outlives the container", reply.text == "call anna", reply.text)
        begun = time.monotonic()
        podman("stop", "--time", str(STOP_S), NAME)
        seconds = time.monotonic() - begun
        code = int(podman("inspect", "--format", "{{.State.ExitCode}}", NAME).stdout)
        check("`podman stop` ends it with 0", code == 0 and seconds < STOP_S, f"{seconds:.1f} s")
        return run.seconds, seconds


def check_shut(image: str, bundles: Path) -> None:
    """Without TLS and tokens, and without being told that something else sees to them, it does not stand open."""
    done = podman("run", "--rm", *LIMITS, "--volume", f"{bundles}:/bundles:ro", image, fine=False)
    check("it does not stand open unless told to", done.returncode == 2 and "allow_insecure" in done.stderr)


def resident(run: Running) -> int:
    with urlopen(f"http://{run.metrics}/metrics", timeout=5) as page:
        told = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if not line.startswith("#"))
    return int(float(told["query_rewrite_resident_memory_bytes"]))


def size_of(image: str) -> int:
    return int(podman("image", "inspect", "--format", "{{.Size}}", image).stdout)


def main(given: argparse.Namespace) -> None:
    figures: dict[str, object] = {}
    podman("volume", "rm", "--force", VOLUME, fine=False)
    try:
        check_shut(given.image, given.bundles)
        with running(given.image, given.bundles) as run:
            figures["start_s"] = round(run.seconds, 2)
            check_answers(run)
            check_confinement()
            time.sleep(1.5)  # metrics look at memory once a second
            figures["resident_bytes"] = resident(run)
            figures["drain_s"] = round(check_drain(run), 2)
        again = check_again(given.image, given.bundles)
        figures["start_again_s"], figures["stop_s"] = (round(seconds, 2) for seconds in again)
    finally:
        podman("volume", "rm", "--force", VOLUME, fine=False)
    whole, base = size_of(given.image), size_of(given.base_image)
    figures |= {"image_bytes": whole, "base_bytes": base, "added_bytes": whole - base}
    print(json.dumps(figures, indent=2))
    if given.results is not None:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        head = {
            "command": "make image-test",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "cpus": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
            "base": given.base,
            "build_s": given.build_seconds,
        }
        given.results.write_text(json.dumps(head | figures, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--bundles", type=Path, required=True, help="folder that holds a bundle called current")
    parser.add_argument("--results", type=Path, help="file for the figures")
    parser.add_argument("--build-seconds", type=int, default=0)
    parser.add_argument("--base", default="", help="pulled, or stand-in")
    parser.add_argument("--base-image", default="docker.io/library/python:3.11-slim")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(_arguments())
    except Failed as error:
        sys.exit(f"error: {error}")
