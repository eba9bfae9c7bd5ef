"""Several processes on one port: all serve, share what is stored, are replaced when they die, and end together."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import PATIENCE_S, Asking, Launch, RunningServer, a_request, a_turn, lines_of, spawn, until

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.server import Exit
from rewrite_service.supervisor import hold_port

WORKERS = 2


def rewrites(server: RunningServer) -> float:
    """Rewrites that all workers together counted."""
    return server.scrape().value("query_rewrite_requests_total", method="rewrite", code="OK")


def told(server: RunningServer, event: str) -> list[dict[str, Any]]:
    """Log lines whose event begins so."""
    return [line for line in server.log() if line["event"].startswith(event)]


def pids(server: RunningServer, event: str) -> list[int]:
    return [line["pid"] for line in told(server, event) if "pid" in line]


@pytest.fixture(scope="module")
def several(launch: Launch) -> RunningServer:
    """That refuses nobody, however busy the machine is with others' work."""
    server = launch(workers=WORKERS, metrics_port=0, max_wait_ms=60_000)
    until(lambda: len(pids(server, "listening")) >= WORKERS)
    return server


def ask(server: RunningServer, request: pb.RewriteRequest) -> pb.RewriteResponse:
    """Over a connection of its own, so that any worker may get it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.address, options=options) as channel:
        return rewrite_pb2_grpc.RewriteServiceStub(channel).Rewrite(request, timeout=PATIENCE_S)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_all_workers_serve_and_see_what_any_of_them_was_told(several: RunningServer) -> None:
    turn = a_turn(user_id="wanda")
    sent = pb.RecordRequest(interactions=[turn])
    assert [several.stub.Record(sent, timeout=PATIENCE_S).new_interactions for _ in range(2)] == [1, 0]
    for _ in range(24):
        assert ask(several, a_request(user_id="wanda")).decision != pb.DECISION_UNSPECIFIED
    served = until(lambda: set(pids(several, "rewrite")) if len(set(pids(several, "rewrite"))) == WORKERS else None)
    assert len(served) == WORKERS


def test_all_workers_forget_a_user_at_once(several: RunningServer) -> None:
    def by_worker(reason: int) -> set[int]:
        """The workers that gave this reason to wim, asked until both have answered."""
        before = len(several.log())
        for n in range(200):
            reply = ask(several, a_request(user_id="wim", query="movie time", interaction_id=f"wim-{n % 2}"))
            assert reply.reason == reason
            answered = {line["pid"] for line in several.log()[before:] if line["event"] == "rewrite"}
            if n > 4 and len(answered) == WORKERS:
                return answered
        raise AssertionError("one worker got all connections")

    lesson = pb.TeachRequest(user_id="wim", text="when i say movie time turn on the den light")
    several.stub.Teach(lesson, timeout=PATIENCE_S)
    by_worker(pb.REASON_TAUGHT)
    gone = several.stub.ForgetUser(pb.ForgetUserRequest(user_id="wim"), timeout=PATIENCE_S)
    assert gone.preferences == 1
    stranger = ask(several, a_request(user_id="a stranger", query="movie time"))
    by_worker(stranger.reason)
    assert "wim" not in several.log_file.read_text()


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(several: RunningServer) -> None:
    before = set(pids(several, "listening"))
    counted = rewrites(several)
    assert several.scrape().value("query_rewrite_serving_workers") == WORKERS
    os.kill(min(before), signal.SIGKILL)
    until(lambda: several.scrape().value("query_rewrite_serving_workers") == WORKERS - 1)
    until(lambda: len(set(pids(several, "listening"))) == WORKERS + 1)
    assert told(several, "a worker ended")
    for _ in range(8):
        assert ask(several, a_request()).decision != pb.DECISION_UNSPECIFIED
    scraped = several.scrape()
    assert rewrites(several) == counted + 8, "what a worker counted outlives it, to the last call"
    assert scraped.value("query_rewrite_worker_restarts_total") == 1
    assert scraped.value("query_rewrite_serving_workers") == WORKERS


class Newcomers(Asking):
    """Clients that ask over a new connection each time, whoever it is dealt to. `failed`: when a call began that
    failed, and what was said of it."""

    def __init__(self, server: RunningServer, callers: int = 3) -> None:
        super().__init__(self._once_over_a_new_connection, callers)
        self.answered, self.failed = 0, list[tuple[float, str]]()
        self._server = server

    def _once_over_a_new_connection(self, _: int) -> None:
        began = time.monotonic()
        try:
            ask(self._server, a_request())
            self.answered += 1
        except grpc.RpcError as error:
            self.failed.append((began, f"{error.code().name}: {error.details()}"))


def test_no_call_fails_while_a_worker_is_replaced_but_those_under_way_on_it(several: RunningServer) -> None:
    killed = next(pid for pid in pids(several, "listening") if alive(pid))
    with Newcomers(several) as newcomers:
        until(lambda: newcomers.answered > 20)
        listening, loading = len(pids(several, "listening")), len(pids(several, "loading"))
        ended = len(told(several, "a worker ended"))
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(told(several, "a worker ended")) > ended)  # its sockets are closed by then, too
        gone = time.monotonic()
        until(lambda: len(pids(several, "loading")) > loading)
        before = newcomers.answered
        until(lambda: len(pids(several, "listening")) > listening)
        assert newcomers.answered > before, "the other goes on meanwhile"
        until(lambda: pids(several, "listening")[-1] in pids(several, "rewrite"))
    assert [said for began, said in newcomers.failed if began > gone] == []
    assert not [said for _, said in newcomers.failed if "loading" in said]


def test_one_endpoint_tells_of_all_workers(several: RunningServer) -> None:
    before, logged = rewrites(several), len(pids(several, "rewrite"))
    for _ in range(24):
        ask(several, a_request())
    served = set(pids(several, "rewrite")[logged:])
    assert len(served) == WORKERS, "both had some"
    assert rewrites(several) - before == 24
    after = several.scrape()
    assert after.value("query_rewrite_configured_workers") == WORKERS
    assert after.total("query_rewrite_bundle_info") == WORKERS


def test_a_metrics_port_that_is_taken_is_said(several: RunningServer, tmp_path: Path) -> None:
    taken = next(line["metrics_address"] for line in several.log() if "metrics_address" in line).rsplit(":", 1)[1]
    for workers in (1, WORKERS):
        log = tmp_path / f"log-{workers}"
        process = spawn(tmp_path / "none", tmp_path / "state", log, workers=workers, metrics_port=taken)
        assert process.wait(PATIENCE_S) == Exit.ADDRESS
        assert "cannot serve metrics" in log.read_text() and "metrics_port" in log.read_text()


def test_what_the_big_parts_take_is_taken_once(several: RunningServer) -> None:
    """The bundle's arrays and indexes are mapped from the same files by all workers."""
    for pid in [p for p in pids(several, "listening") if alive(p)]:
        mapped = {line.split()[-1].rsplit("/", 1)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()}
        assert {"meaning.faiss", "sound.faiss", "vectors.npy", "said.values.npy"} <= mapped


def test_they_end_together_on_sigterm(launch: Launch) -> None:
    server = launch(workers=WORKERS)
    until(lambda: len(pids(server, "listening")) >= WORKERS)
    workers = set(pids(server, "listening"))
    assert server.stop() == Exit.OK
    assert not any(map(alive, workers)) and len(pids(server, "stopped")) == WORKERS


@pytest.mark.parametrize(("end", "wait_s"), [(signal.SIGTERM, 0.0), (signal.SIGINT, 0.3), (signal.SIGTERM, 1.0)])
def test_they_can_be_stopped_while_they_start(
    bundle_dir: Path, tmp_path: Path, end: signal.Signals, wait_s: float
) -> None:
    process = spawn(bundle_dir, tmp_path / "state", tmp_path / "log", workers=WORKERS, start_new_session=True)
    until(lambda: "starting workers" in (tmp_path / "log").read_text())
    time.sleep(wait_s)
    os.killpg(process.pid, end)  # as a terminal does
    assert process.wait(PATIENCE_S) == Exit.OK
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_none_stays_behind_when_the_supervisor_is_killed(launch: Launch) -> None:
    server = launch(workers=WORKERS)
    until(lambda: len(pids(server, "listening")) >= WORKERS)
    workers = set(pids(server, "listening"))
    server.process.kill()
    until(lambda: not any(map(alive, workers)))


def test_a_bundle_that_cannot_be_served_ends_all_with_its_code(tmp_path: Path) -> None:
    process = spawn(tmp_path / "none", tmp_path / "state", tmp_path / "log", workers=WORKERS)
    assert process.wait(PATIENCE_S) == Exit.BUNDLE


def test_a_worker_that_cannot_be_replaced_leaves_the_others_serving(bundle_dir: Path, tmp_path: Path) -> None:
    bundle, log = tmp_path / "bundle", tmp_path / "log"
    shutil.copytree(bundle_dir, bundle)
    process = spawn(bundle, tmp_path / "state", log, workers=WORKERS)

    def lines(event: str) -> list[dict]:
        return [line for line in lines_of(log) if event in line["event"]]

    until(lambda: len(lines("listening on")) == WORKERS)
    (bundle / "manifest.json").unlink()
    first, other = (line["pid"] for line in lines("listening on"))
    os.kill(first, signal.SIGKILL)
    until(lambda: lines("a worker cannot serve"))
    assert process.poll() is None and alive(other)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)
    assert not alive(other)


def test_a_taken_port_is_said(several: RunningServer, bundle_dir: Path, tmp_path: Path) -> None:
    port = int(several.address.rsplit(":", 1)[1])
    process = spawn(bundle_dir, tmp_path / "state", tmp_path / "log", port=port, workers=WORKERS)
    assert process.wait(PATIENCE_S) == Exit.ADDRESS
    assert "cannot listen on" in (tmp_path / "log").read_text()


def test_a_held_port_is_shared_with_those_who_share_and_nobody_else() -> None:
    with hold_port("127.0.0.1", 0) as held:
        address = held.getsockname()
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(address)
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(address)
            worker.listen()
            with pytest.raises(OSError):
                hold_port(*address)
