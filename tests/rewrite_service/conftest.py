"""A real server process for the tests that speak gRPC, and short ways to say a request or a turn."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

NOON = 1_767_268_800_000  # 2026-01-01 12:00 UTC, in milliseconds
PATIENCE_S = 120.0
"""For what takes a moment on a machine that has the time. Nothing is proved by how long it takes: whoever waits so long
waits for nothing."""

_numbers = itertools.count()


def a_request(**fields: Any) -> pb.RewriteRequest:
    """A request that is fine, but for what `fields` say."""
    defaults = {"interaction_id": f"i-{next(_numbers)}", "user_id": "ada", "timestamp_ms": NOON, "query": "play jazz"}
    return pb.RewriteRequest(**(defaults | fields))


def a_turn(**fields: Any) -> pb.Interaction:
    """A turn that went well, but for what `fields` say."""
    defaults = {
        "interaction_id": f"i-{next(_numbers)}",
        "user_id": "ada",
        "timestamp_ms": NOON,
        "query": "play jazz",
        "outcome": pb.OUTCOME_OK,
        "interpretation": pb.Interpretation(intent="play_music", slots={"genre": "jazz"}),
        "feedback": pb.Feedback(dwell_s=120),
    }
    return pb.Interaction(**(defaults | fields))


@dataclass(frozen=True)
class Scrape:
    """An exposition. Missing series are errors: all there can be are told from the start."""

    text: str

    @cached_property
    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def value(self, metric: str, **labels: str) -> float:
        return self.series[metric, frozenset(labels.items())]

    def total(self, metric: str, **labels: str) -> float:
        """Sum of the series of `metric` that have these labels, at least one."""
        found = [v for (name, had), v in self.series.items() if name == metric and had >= labels.items()]
        assert found, f"no {metric} with {labels}"
        return sum(found)


class Asking:
    """Threads that ask over and over, from entering to leaving. `once`: asks; is told the thread's number."""

    def __init__(self, once: Callable[[int], object], threads: int) -> None:
        self._once, self._stop = once, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            self._once(number)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@dataclass
class RunningServer:
    """A server process. `address`: host:port. `stub`: a client of it."""

    process: subprocess.Popen[bytes]
    log_file: Path
    address: str
    channel: grpc.Channel
    stub: rewrite_pb2_grpc.RewriteServiceStub

    def log(self) -> list[dict[str, Any]]:
        """Its log lines so far."""
        return lines_of(self.log_file)

    def scrape(self) -> Scrape:
        """What it tells Prometheus."""
        told = wait_for(lambda: [line for line in self.log() if "metrics_address" in line], self.process, self.log_file)
        with urlopen(f"http://{told[0]['metrics_address']}/metrics", timeout=PATIENCE_S) as reply:
            return Scrape(reply.read().decode())

    def health(self, service: str = "") -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=PATIENCE_S).status

    def wait_until_serving(self) -> None:
        # One of several workers does not listen before it can answer.
        wait_for(lambda: [x for x in self.log() if x["event"].startswith("listening")], self.process, self.log_file)
        wait_for(lambda: self.health() == health_pb2.HealthCheckResponse.SERVING, self.process, self.log_file)

    def stop(self) -> int:
        """Ends it as an operator would; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.channel.close()
        return code


def lines_of(log_file: Path) -> list[dict[str, Any]]:
    """Log lines that are written to their end; the last one may be on its way."""
    whole, _, _ = log_file.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def until(reached: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Waits for it; what it was."""
    end = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < end, f"not after {seconds} s"
        time.sleep(0.02)
    return value


def wait_for(reached: Callable[[], Any], process: subprocess.Popen[bytes], log_file: Path) -> Any:
    """As `until`, of a server's process: where that has ended, it is waited for no longer."""
    end = time.monotonic() + PATIENCE_S
    while not (value := reached()):
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{log_file.read_text()}"
        assert time.monotonic() < end, f"not after {PATIENCE_S} s:\n{log_file.read_text()}"
        time.sleep(0.01)
    return value


def spawn(
    bundle: Path,
    state_dir: Path,
    log_file: Path,
    *,
    port: int = 0,
    start_new_session: bool = False,
    **settings: object,
) -> subprocess.Popen[bytes]:
    """Starts a server process; `settings` go to its environment."""
    command = [sys.executable, "-m", "rewrite_service.cli", "serve", "--bundle", str(bundle), "--port", str(port)]
    command += ["--state-dir", str(state_dir)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUERY_REWRITE_")}
    given = {f"QUERY_REWRITE_{name.upper()}": str(value) for name, value in settings.items()}
    with log_file.open("wb") as log:
        return subprocess.Popen(
            command, stderr=log, stdout=log, env=inherited | given, start_new_session=start_new_session
        )


def _bound_address(log_file: Path) -> str | None:
    return next((line["address"] for line in lines_of(log_file) if line["event"] == "loading"), None)


Launch = Callable[..., RunningServer]


@pytest.fixture(scope="module")
def launch(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts servers: `launch(state_dir=..., bundle=..., wait=..., **settings)`; stops them at the module's end."""
    started: list[RunningServer] = []

    def start(
        state_dir: Path | None = None, *, bundle: Path | None = None, wait: bool = True, **settings: object
    ) -> RunningServer:
        folder = tmp_path_factory.mktemp("server")
        log_file = folder / "log"
        process = spawn(bundle or bundle_dir, state_dir or folder / "state", log_file, **settings)
        address = wait_for(lambda: _bound_address(log_file), process, log_file)
        channel = grpc.insecure_channel(address)
        server = RunningServer(process, log_file, address, channel, rewrite_pb2_grpc.RewriteServiceStub(channel))
        started.append(server)
        if wait:
            server.wait_until_serving()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def server(launch: Launch) -> RunningServer:
    """A server that is SERVING, with default settings and an empty store; shared by the tests of a module."""
    return launch()
