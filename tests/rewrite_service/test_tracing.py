"""Traces as a real OTLP receiver gets them: the caller's trace goes on, stages lie inside, and no text is in any."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import grpc
import pytest
from conftest import PATIENCE_S, Launch, RunningServer, a_request, a_turn
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from rewrite_service.pb import rewrite_pb2 as pb

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STRANGER = ("tracestate", "vendor=xylocarp")


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.spans: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.raw.append(request.SerializeToString())
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.spans.put(span)
        return otlp.ExportTraceServiceResponse()

    def take(self, trace: str, seconds: float = PATIENCE_S) -> list[Any]:
        """The spans of a trace, once its call's own has come, which is sent last."""
        found, end = [], time.monotonic() + seconds
        while not any(span.kind == span.SPAN_KIND_SERVER for span in found):
            span = self.spans.get(timeout=max(0.01, end - time.monotonic()))
            if span.trace_id.hex() == trace:
                found.append(span)
        return found


@pytest.fixture(scope="module")
def receiving() -> Iterator[grpc.Server]:
    server = grpc.server(ThreadPoolExecutor(2))
    yield server
    server.stop(None)


@pytest.fixture(scope="module")
def receiver(receiving: grpc.Server) -> tuple[Receiver, str]:
    """A collector, and where it is."""
    receiver = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, receiving)
    port = receiving.add_insecure_port("127.0.0.1:0")
    receiving.start()
    return receiver, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def server(launch: Launch, receiver: tuple[Receiver, str]) -> RunningServer:
    return launch(otlp_endpoint=receiver[1], trace_share=0)


def context(trace: str, sampled: bool = True) -> tuple[tuple[str, str], ...]:
    return ("traceparent", f"00-{trace}-{PARENT}-0{int(sampled)}"), STRANGER


def test_the_callers_trace_goes_on_with_a_span_for_each_stage(
    server: RunningServer, receiver: tuple[Receiver, str]
) -> None:
    reply = server.stub.Rewrite(a_request(user_id="cleo", query="play ago"), timeout=60, metadata=context(TRACE))
    spans = receiver[0].take(TRACE)
    (call,) = [span for span in spans if span.kind == span.SPAN_KIND_SERVER]
    assert call.parent_span_id.hex() == PARENT and call.name == "rewrite.v1.RewriteService/Rewrite"
    attributes = {a.key: a.value for a in call.attributes}
    assert attributes["rpc.grpc.status_code"].int_value == 0
    assert attributes["query_rewrite.reason"].string_value == "confident"
    assert attributes["query_rewrite.layer"].string_value == "personal"
    assert attributes["query_rewrite.bundle_version"].string_value == reply.bundle_version
    stages = [span for span in spans if span is not call]
    assert {span.name for span in stages} == set(reply.stage_us) - {"total"}
    for stage in stages:
        assert stage.parent_span_id == call.span_id and not stage.attributes
        assert (stage.end_time_unix_nano - stage.start_time_unix_nano) // 1000 == reply.stage_us[stage.name]
        assert call.start_time_unix_nano <= stage.start_time_unix_nano
        assert stage.end_time_unix_nano <= call.end_time_unix_nano
    by_time = sorted(stages, key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in by_time][:3] == ["convert", "queue", "personal"]
    assert all(a.end_time_unix_nano == b.start_time_unix_nano for a, b in pairwise(by_time))


def test_a_refused_call_has_its_status_and_no_grounds(server: RunningServer, receiver: tuple[Receiver, str]) -> None:
    trace = "a" * 32
    with pytest.raises(grpc.RpcError):
        server.stub.Rewrite(a_request(query="xylocarp" * 200), timeout=60, metadata=context(trace))
    (call,) = receiver[0].take(trace)
    attributes = {a.key: a.value for a in call.attributes}
    assert attributes["rpc.grpc.status_code"].int_value == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not call.status.code, "the caller's fault is none of the server's"


def test_nothing_is_sent_that_nobody_asked_for_and_no_text_ever(
    server: RunningServer, receiver: tuple[Receiver, str]
) -> None:
    for query in ("xylocarp", "play ago"):
        request = a_request(user_id="maximilian", query=query, interaction_id=f"secret-{query}")
        server.stub.Rewrite(request, timeout=60, metadata=context("b" * 32, sampled=False))
        server.stub.Rewrite(request, timeout=60)
        for broken in ("xylocarp", "00-xylocarp-1-01", ""):
            server.stub.Rewrite(request, timeout=60, metadata=(("traceparent", broken),))
    turn = a_turn(user_id="maximilian", query="xylocarp")
    server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60, metadata=context("c" * 32))
    asked = pb.ExplainRequest(request=a_request(user_id="maximilian", query="xylocarp"))
    server.stub.Explain(asked, timeout=60, metadata=context("d" * 32))
    kept = receiver[0].take("c" * 32) + receiver[0].take("d" * 32)
    assert {span.trace_id.hex() for span in kept} == {"c" * 32, "d" * 32}
    assert receiver[0].spans.empty()
    sent = b"".join(receiver[0].raw)
    assert b"RewriteService/Record" in sent and b"b" * 32 not in sent
    assert not [word for word in (b"xylocarp", b"maximilian", b"secret", b"vendor", b"ago") if word in sent]


def test_without_the_libraries_the_setting_is_refused_with_the_remedy() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = ['serve', '--bundle', 'x'];"
        "from rewrite_service.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"QUERY_REWRITE_OTLP_ENDPOINT": "http://127.0.0.1:4317", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "otlp_endpoint" in done.stderr and "query-rewrite[tracing]" in done.stderr


def test_a_receiver_that_goes_away_costs_nobody_an_answer(server: RunningServer, receiving: grpc.Server) -> None:
    receiving.stop(None).wait()
    for _ in range(20):
        assert server.stub.Rewrite(a_request(), timeout=60, metadata=context(TRACE)).decision
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 30
    assert server.log()[-1]["event"] == "stopped"
