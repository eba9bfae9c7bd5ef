"""The server process over a real socket: start, serving, deadlines, overload, end."""

from __future__ import annotations

import fcntl
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from conftest import NOON, PATIENCE_S, Launch, RunningServer, a_request, a_turn, spawn, until
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.store.embedded_files import LOCK

SERVICE = "rewrite.v1.RewriteService"
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def candidates_of(server: RunningServer, **fields: object) -> dict[str, int]:
    """What `Explain` weighs for a request: text to layer."""
    explained = server.stub.Explain(pb.ExplainRequest(request=a_request(**fields)), timeout=60)
    return {candidate.text: candidate.layer for candidate in explained.candidates}


def code_of(call: object, *args: object, **kwargs: object) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, **kwargs)
    return raised.value.code()


@contextmanager
def held(state: Path) -> Iterator[None]:
    """While another process opens the store's files, a server waits, and does not get to the end of its start."""
    EmbeddedStore(state).close()
    with (state / LOCK).open("r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def test_health_goes_from_not_serving_to_serving_to_not_serving(launch: Launch, tmp_path: Path) -> None:
    state, starting = tmp_path / "state", ExitStack()
    starting.enter_context(held(state))
    server = launch(state, wait=False)
    seen: list[int] = []
    for answer in health_pb2_grpc.HealthStub(server.channel).Watch(
        health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE_S
    ):
        seen.append(answer.status)
        if answer.status == SERVING:
            assert server.health() == SERVING
            server.process.send_signal(signal.SIGTERM)
        elif SERVING in seen:
            break
        else:
            assert code_of(server.stub.Rewrite, a_request(), timeout=60) is grpc.StatusCode.UNAVAILABLE
            starting.close()
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING]
    assert server.stop() == 0


def test_it_can_be_stopped_while_it_loads(launch: Launch) -> None:
    server = launch(wait=False)
    assert server.stop() == 0
    assert server.log()[-1]["event"] == "stopped"


def test_a_signal_that_comes_again_and_again_changes_nothing(launch: Launch) -> None:
    server = launch(wait=False)
    while server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.0005)
    assert server.process.returncode == 0
    assert server.log()[-1]["event"] == "stopped"


def test_unknown_service_has_no_health(server: RunningServer) -> None:
    assert code_of(server.health, "no.such.Service") is grpc.StatusCode.NOT_FOUND


def test_metrics_are_served_only_when_asked_for(server: RunningServer) -> None:
    assert not any("metrics_address" in line for line in server.log())
    inodes = {
        fd.readlink().name.removeprefix("socket:[").rstrip("]")
        for fd in Path(f"/proc/{server.process.pid}/fd").iterdir()
        if fd.is_symlink() and "socket:[" in str(fd.readlink())
    }
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    listening = [line.split() for table in tables for line in table if line.split()[3] == "0A"]
    ports = {int(line[1].rsplit(":", 1)[1], 16) for line in listening if line[9] in inodes}
    assert ports == {int(server.address.rsplit(":", 1)[1])}


def test_reflection_shows_the_contract(server: RunningServer) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = stub.ServerReflectionInfo(iter(asked), timeout=60)
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    promised = pb.DESCRIPTOR.services_by_name["RewriteService"].methods_by_name
    assert [method.name for method in file.service[0].method] == list(promised)


def test_a_reply_says_what_was_decided_and_where_the_time_went(server: RunningServer) -> None:
    reply = server.stub.Rewrite(a_request(), timeout=60)
    assert reply.decision in (pb.DECISION_PASS, pb.DECISION_REWRITE)
    assert (reply.decision == pb.DECISION_REWRITE) == (reply.reason == pb.REASON_CONFIDENT) == bool(reply.text)
    assert reply.bundle_version
    assert {"convert", "queue", "total"} <= set(reply.stage_us)
    assert reply.stage_us["total"] >= reply.stage_us["queue"]


@pytest.mark.parametrize("milliseconds", [1, 2, 5])
def test_a_short_deadline_is_kept(server: RunningServer, milliseconds: int) -> None:
    took = []
    for _ in range(40):
        begun = time.monotonic()
        try:
            server.stub.Rewrite(a_request(), timeout=milliseconds / 1000)
        except grpc.RpcError as error:
            # The latter where it is seen at the door that the deadline cannot be kept.
            assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
        took.append(time.monotonic() - begun)
        # One that waits, so that the next short one finds nobody before it and is not refused at the door.
        assert server.stub.Rewrite(a_request(), timeout=60).decision
    assert statistics.median(took) < 1.0


def test_what_is_recorded_counts_from_the_very_next_request(server: RunningServer) -> None:
    text = "play zyxquon by the flurbles"
    asked = {"user_id": "cleo", "query": "play zyxquan by the flurbles", "timestamp_ms": NOON + 1000}
    assert text not in candidates_of(server, **asked)
    reply = server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id="cleo", query=text)]), timeout=60)
    assert reply.new_interactions == 1
    assert candidates_of(server, **asked).get(text) == pb.LAYER_PERSONAL
    assert text not in candidates_of(server, **(asked | {"user_id": "cleopatra"}))


def test_recording_twice_is_recording_once(server: RunningServer) -> None:
    sent = pb.RecordRequest(interactions=[a_turn(user_id="dora"), a_turn(user_id="dora")])
    counts = [server.stub.Record(sent, timeout=60).new_interactions for _ in range(3)]
    assert counts == [2, 0, 0]


def test_late_feedback_is_taken_also_on_turns_nobody_knows(server: RunningServer) -> None:
    turn = a_turn(user_id="emil")
    late = [
        pb.FeedbackEvent(user_id=user, interaction_id=turn.interaction_id, feedback=pb.Feedback(barge_in=True))
        for user in ("emil", "nobody")
    ]
    reply = server.stub.Record(pb.RecordRequest(interactions=[turn], feedback=late), timeout=60)
    assert reply.new_interactions == 1


def test_a_restart_keeps_what_was_acknowledged(launch: Launch, tmp_path: Path) -> None:
    text = "play quiblor by the wendigoes"
    for end in (signal.SIGTERM, signal.SIGKILL):
        server = launch(tmp_path / "state")
        turn = a_turn(user_id="fay", query=text, interaction_id=f"before-{end.name}")
        assert server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60).new_interactions == 1
        server.process.send_signal(end)
        server.process.wait(120)
    server = launch(tmp_path / "state")
    again = pb.RecordRequest(interactions=[turn])
    assert server.stub.Record(again, timeout=60).new_interactions == 0
    asked = {"user_id": "fay", "query": "play quibbler by the wendigoes", "timestamp_ms": NOON + 1000}
    assert candidates_of(server, **asked).get(text) == pb.LAYER_PERSONAL


def test_overload_is_shed_at_the_door(launch: Launch) -> None:
    server = launch(max_in_flight=1, default_deadline_ms=1000)
    codes: list[grpc.StatusCode] = []

    def ask(n: int) -> None:
        try:
            server.stub.Rewrite(a_request(query=f"play song number {n}"), timeout=60)
            codes.append(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            codes.append(error.code())

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, range(600)))
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert server.health() == SERVING
    assert server.stub.Rewrite(a_request(), timeout=60).decision


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_end_cuts_no_request_under_way(launch: Launch, end: signal.Signals) -> None:
    server = launch(drain_seconds=PATIENCE_S, max_wait_ms=60_000)
    answered: list[grpc.StatusCode] = []
    watching = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    next(watching)  # a watcher never leaves by itself, and must not hold up the end
    stop = threading.Event()

    def ask_on_and_on() -> None:
        while not stop.is_set():
            try:
                server.stub.Rewrite(a_request(), timeout=60)
                answered.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                answered.append(error.code())
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(ask_on_and_on)
        until(lambda: len(answered) > 50)
        server.process.send_signal(end)
        begun = time.monotonic()
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begun < PATIENCE_S / 2, "the watcher was not waited for"
        stop.set()
    assert set(answered) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    finished = [line for line in server.log() if line["event"] == "rewrite" and line.get("code") == "OK"]
    assert len(finished) == answered.count(grpc.StatusCode.OK)
    assert server.log()[-1]["event"] == "stopped"


def test_the_log_says_where_it_listens(server: RunningServer) -> None:
    assert f"listening on {server.address}" in {line["event"] for line in server.log()}


def test_a_taken_port_is_said_and_ends_the_process(server: RunningServer, bundle_dir: Path, tmp_path: Path) -> None:
    port = int(server.address.rpartition(":")[2])
    second = spawn(bundle_dir, tmp_path / "state", tmp_path / "log", port=port)
    assert second.wait(120) == 4
    assert f"cannot listen on {server.address}" in (tmp_path / "log").read_text()


def test_a_bundle_that_is_not_there_ends_the_process(tmp_path: Path) -> None:
    process = spawn(tmp_path / "nothing", tmp_path / "state", tmp_path / "log")
    assert process.wait(120) == 3
    assert "BundleError" in (tmp_path / "log").read_text()
