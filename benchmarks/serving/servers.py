"""Servers to measure, each pinned to a core of its own: ours, a bare echo with the same library, others as modules."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.ports import free_port

SERVER_CORES, CLIENT_CORES = "0", "1"
LET_ALL_IN = {"default_deadline_ms": 60_000, "max_in_flight": 10_000, "max_wait_ms": 60_000}
"""Settings of a server that turns nobody away: what it cannot bear is to be seen in its latencies."""
Running = Iterator[tuple[str, subprocess.Popen[bytes]]]
METHOD = "/rewrite.v1.RewriteService/Rewrite"


def bundle_and_log(doc: str | None) -> argparse.Namespace:
    """The command line of a bench: `bundle`, and `log`, whose requests are asked. `doc`: the bench's own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("log", type=Path, help="whose requests are asked")
    return parser.parse_args()


def pin_client() -> None:
    """Keeps this process off the server's core."""
    os.sched_setaffinity(0, {int(core) for core in CLIENT_CORES.split(",")})


@contextmanager
def serving(
    bundle: Path,
    cores: str = SERVER_CORES,
    program: Sequence[str] = (sys.executable, "-m", "rewrite_service.cli"),
    **settings: object,
) -> Running:
    """Our server with an empty store, warm; its address and process. `program`: what takes the command line's words.
    `settings`: as of `rewrite_service.settings`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="query-rewrite-bench-") as place:
        environment = dict(os.environ) | {f"QUERY_REWRITE_{k.upper()}": str(v) for k, v in settings.items()}
        command = ["taskset", "-c", cores, *program, "serve", "--bundle", str(bundle), "--port", str(port)]
        command += ["--state-dir", f"{place}/state"]
        with open(f"{place}/log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait(f"127.0.0.1:{port}", process, Path(place) / "log")
            yield f"127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def answering(module: str, *words: str, cores: str = SERVER_CORES, ready_s: float = 300) -> Running:
    """A server in a process of its own, `python -m module PORT words...`, once it takes connections; its address and
    process."""
    port = free_port()
    command = ["taskset", "-c", cores, sys.executable, "-m", module, str(port), *words]
    process = subprocess.Popen(command)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ready, end = grpc.channel_ready_future(channel), time.monotonic() + ready_s
            while not ready.done():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{module} does not serve on port {port}")
                time.sleep(0.05)
        yield f"127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def echoing() -> AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    """A server that answers each call with the bytes it was sent, with the same event loop and library as ours."""
    return answering("benchmarks.serving.servers")


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process, in seconds, to the nanosecond where the kernel keeps it."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def own_memory_mb(pid: int) -> float:
    """MB that are a process's own; what is mapped from the bundle's files can be dropped at any time."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1000


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server does not serve:\n{log.read_text()}")
            try:
                if stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status == 1:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.02)


def h2load(
    address: str,
    message: bytes,
    seconds: int = 5,
    in_flight: int = 16,
    connections: int = 1,
    cores: str = CLIENT_CORES,
) -> float:
    """Answers a second that a server gives to one gRPC message over and over, `in_flight` at a time over the
    connections together, asked by h2load (Debian: nghttp2-client), which knows nothing of gRPC: an independent client,
    and one that costs little."""
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is not installed. Debian: apt-get install nghttp2-client")
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        command = ["taskset", "-c", cores, "h2load", "--duration", str(seconds), "--warm-up-time", "1"]
        command += ["-c", str(connections), "-m", str(max(1, in_flight // connections)), "-d", body.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{METHOD}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    answered = re.search(r"([\d.]+) req/s", done.stdout)
    failed = re.search(r"(\d+) failed", done.stdout)
    assert answered and failed and failed[1] == "0", done.stdout
    return float(answered[1])


async def _echo(port: int) -> None:
    server = grpc.aio.server()

    async def answer(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return raw

    service, method = METHOD[1:].split("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(answer)})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_echo(int(sys.argv[1])))
