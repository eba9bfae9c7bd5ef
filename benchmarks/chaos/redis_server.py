"""Real Redis servers for tests and benches: one, or a cluster of three, on free ports of loopback."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from benchmarks.ports import free_port

START_S = 20.0
SLOTS = 16384


class RedisServer:
    """A Redis that a test may kill, freeze, slow and start anew; what it acknowledged is on disk, as it should be where
    `Record` must not lose anything."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        if shutil.which("redis-server") is None:
            raise RuntimeError("redis-server is not installed. Debian: apt-get install redis-server (or: make test)")
        self.port, self._password = free_port(), password
        self._command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local",
            "--requirepass", password, *options,
        ]  # fmt: skip
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}" if self._password else f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self._password or None)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        with self.client() as client:
            while True:
                with suppress(redis.RedisError):
                    if client.ping():
                        return
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"redis-server does not start:\n{self._log.read_text()}")
                time.sleep(0.01)

    def kill(self) -> None:
        """As by kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(*options: str, password: str = "") -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="query-rewrite-redis-") as folder:
        server = RedisServer(Path(folder), *options, password=password)
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def redis_cluster(*options: str, masters: int = 3) -> Iterator[list[RedisServer]]:
    """Masters that share the slots evenly, and know each other."""
    with tempfile.TemporaryDirectory(prefix="query-rewrite-redis-") as place:
        servers: list[RedisServer] = []
        try:
            for n in range(masters):
                (folder := Path(place) / str(n)).mkdir()
                clustered = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
                servers.append(RedisServer(folder, *clustered, *options))
            clients = [server.client() for server in servers]
            for n, client in enumerate(clients):
                first, last = n * SLOTS // masters, (n + 1) * SLOTS // masters - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
            end = time.monotonic() + START_S
            while not all(_knows(client, masters) for client in clients):
                assert time.monotonic() < end, "the cluster does not come together"
                time.sleep(0.05)
            yield servers
        finally:
            for server in servers:
                server.kill()


def _knows(client: redis.Redis, masters: int) -> bool:
    about = client.cluster("INFO")
    return about["cluster_state"] == "ok" and int(about["cluster_size"]) == masters
