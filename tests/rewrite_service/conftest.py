"""A real server process for the tests that speak gRPC, and short ways to say a request or a turn."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

NOON = 1_767_268_800_000  # 2026-01-01 12:00 UTC, in milliseconds
START_SECONDS = 60.0

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
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def scrape(self) -> Scrape:
        """What it tells Prometheus."""
        told = wait_for(lambda: [line for line in self.log() if "metrics_address" in line], self.process, self.log_file)
        with urlopen(f"http://{told[0]['metrics_address']}/metrics", timeout=10) as reply:
            return Scrape(reply.read().decode())

    def health(self, service: str = "") -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=5).status

    def wait_until_serving(self) -> None:
        wait_for(lambda: self.health() == health_pb2.HealthCheckResponse.SERVING, self.process, self.log_file)

    def stop(self) -> int:
        """Ends it as an operator would; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.channel.close()
        return code


def wait_for(reached: Callable[[], Any], process: subprocess.Popen[bytes], log_file: Path) -> Any:
    end = time.monotonic() + START_SECONDS
    while not (value := reached()):
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{log_file.read_text()}"
        assert time.monotonic() < end, f"not after {START_SECONDS} s:\n{log_file.read_text()}"
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
    for line in log_file.read_text().splitlines():
        if '"loading"' in line:
            return json.loads(line)["address"]
    return None


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
