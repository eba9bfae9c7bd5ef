"""A server with a console, and requests that come meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from mining.reader import read_log
from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token
from rewrite_service.converters import from_request
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

SCOPES = ["console", "explain", "admin", "rewrite", "record"]
STRICTER = "20260101T000000-0123456789ab"
_START_S = 60.0


@dataclass(frozen=True)
class Server:
    """`console`: its address, empty without one. `metadata`: of calls, with the token."""

    pid: int
    console: str
    token: str
    stub: rewrite_pb2_grpc.RewriteServiceStub

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)


@contextmanager
def running(bundle: Path, *, console: bool = True, workers: int = 1) -> Iterator[Server]:
    """Beside the bundle stands one that was kept, of the same tables and with a stricter threshold."""
    with tempfile.TemporaryDirectory(prefix="console-") as folder:
        place = Path(folder, "bundle")
        shutil.copytree(bundle, place)
        kept = Path(folder, "bundle.kept", STRICTER)
        shutil.copytree(bundle, kept)
        manifest = json.loads((kept / "manifest.json").read_text())
        manifest["policy"]["threshold"], manifest["version"] = 1.0, STRICTER
        (kept / "manifest.json").write_text(json.dumps(manifest))
        token, tokens, log = new_token(), Path(folder, "tokens.toml"), Path(folder, "log")
        add_token(tokens, entry_of({"name": "carol", "sha256": digest_of(token).hex(), "scopes": SCOPES}))
        settings = {"TOKENS_FILE": tokens, "STATE_DIR": Path(folder, "state"), "WORKERS": workers}
        settings |= {"CONSOLE_PORT": 0} if console else {"METRICS_PORT": 0}
        environment = os.environ | {f"QUERY_REWRITE_{name}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "rewrite_service.cli", "serve", "--bundle", str(place), "--port", "0"]
        with log.open("wb") as out, subprocess.Popen(command, stderr=out, env=environment) as process:
            try:
                lines = _lines(log, {"address", "seconds"} | ({"console_address"} if console else set()))
                with grpc.insecure_channel(lines["address"]) as channel:
                    stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
                    yield Server(process.pid, lines.get("console_address", ""), token, stub)
            finally:
                process.send_signal(signal.SIGTERM)


def _lines(log: Path, wanted: set[str]) -> dict[str, str]:
    """The fields that the server's log lines have, once all that are wanted are there."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        found: dict[str, str] = {}
        for line in log.read_text().splitlines():
            found = json.loads(line) | found
        if wanted <= found.keys():
            return found
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def requests_of(log: Path, most: int = 3000) -> list[pb.RewriteRequest]:
    """The log's last requests."""
    return [from_request(turn.request) for turn in read_log([log]).turns[-most:]]


@contextmanager
def traffic(server: Server, requests: list[pb.RewriteRequest], rate: float) -> Iterator[list[float]]:
    """Asks so many a second meanwhile, from a thread; gives the list that takes the seconds of each."""
    stop, took = threading.Event(), []

    def ask() -> None:
        due = time.monotonic()
        for request in requests * 1000:
            due += 1 / rate
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            begun = time.perf_counter()
            server.stub.Rewrite(request, timeout=1, metadata=server.metadata)
            took.append(time.perf_counter() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()
