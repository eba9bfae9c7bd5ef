"""Metrics of a real server: what it counts is what was asked, and nothing of what anybody said is ever in them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from conftest import Launch, RunningServer, Scrape, a_request, a_turn, wait_for

from rewrite_service.decision import Reason
from rewrite_service.metrics.catalogue import METHODS, OTHER, REGISTRY
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
REQUESTS = "query_rewrite_requests_total"
WEIRD = ("xylocarp", 'quote" } 1', "back\\slash\nand\x00nul", "مرحبا", "💡" * 30, 'code="MINE"', "le=0.1", " " * 9)


@pytest.fixture(scope="module")
def server(launch: Launch) -> RunningServer:
    return launch(metrics_port=0)


def soon(server: RunningServer, reached: Callable[[Scrape], bool]) -> Scrape:
    """A scrape in which what is looked at once a second has come so far."""

    def look() -> Scrape | None:
        scraped = server.scrape()
        return scraped if reached(scraped) else None

    return wait_for(look, server.process, server.log_file)


def test_calls_are_counted_by_what_became_of_them(server: RunningServer) -> None:
    before = server.scrape()
    for query in ("play ago", "play ago", ""):
        server.stub.Rewrite(a_request(user_id="cleo", query=query), timeout=60)
    server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id="cleo")]), timeout=60)
    server.stub.Explain(pb.ExplainRequest(request=a_request(user_id="cleo", query="play ago")), timeout=60)
    with pytest.raises(grpc.RpcError):
        server.stub.Rewrite(a_request(user_id=""), timeout=60)
    after = server.scrape()

    def more(metric: str, **labels: str) -> float:
        return after.total(metric, **labels) - before.total(metric, **labels)

    assert more(REQUESTS, method="rewrite", code="OK") == 3
    assert more(REQUESTS, method="rewrite", code="INVALID_ARGUMENT") == 1
    assert more(REQUESTS, method="record", code="OK") == more(REQUESTS, method="explain", code="OK") == 1
    assert more(REQUESTS) == 6
    assert more("query_rewrite_request_seconds_count", method="rewrite") == 4
    assert more("query_rewrite_decisions_total") == 3, "an Explain decides nothing"
    assert more("query_rewrite_decisions_total", layer="none", reason=Reason.EMPTY_QUERY) == 1
    assert more("query_rewrite_best_probability_count") == 2
    assert more("query_rewrite_stage_seconds_count", stage="queue") == 3
    assert more("query_rewrite_request_seconds_sum", method="rewrite") > more("query_rewrite_stage_seconds_sum") > 0


def test_all_stages_have_a_name(server: RunningServer) -> None:
    too_late = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}  # the latter: seen at the door
    for timeout in (0.0005, 0.002, 0.004, 60):
        for user in ("ada", "nobody"):
            try:
                server.stub.Rewrite(a_request(user_id=user, query="play agoo"), timeout=timeout)
            except grpc.RpcError as error:
                assert error.code() in too_late
    scraped = server.scrape()
    assert scraped.value("query_rewrite_stage_seconds_count", stage="predict") > 0
    assert scraped.value("query_rewrite_stage_seconds_count", stage=OTHER) == 0
    assert scraped.value("query_rewrite_skipped_stages_total", stage=OTHER) == 0


def test_caches_bundle_and_process_are_told(server: RunningServer) -> None:
    at_least = server.scrape().value("query_rewrite_cache_hits_total", cache="decisions") + 1
    request = a_request(user_id="nobody yet", query="play ago")
    version = {server.stub.Rewrite(request, timeout=60).bundle_version for _ in range(3)}.pop()
    # A look may fall into the last call, which was answered from the cache and has not ended yet: the next will not.
    scraped = soon(
        server,
        lambda seen: (
            seen.value("query_rewrite_cache_hits_total", cache="decisions") >= at_least
            and seen.value("query_rewrite_in_flight", gate="rewrites") == 0
        ),
    )
    for cache in ("text_vectors", "text_sounds", "users", "decisions"):
        assert scraped.value("query_rewrite_cache_misses_total", cache=cache) > 0
        assert scraped.value("query_rewrite_cache_bytes", cache=cache) > 0
        assert scraped.value("query_rewrite_cache_entries", cache=cache) > 0
    assert scraped.value("query_rewrite_bundle_info", version=version) == 1
    assert 0 < time.time() - scraped.value("query_rewrite_bundle_made_timestamp_seconds") < 10 * 365 * 86400
    assert scraped.value("query_rewrite_serving_workers") == scraped.value("query_rewrite_configured_workers") == 1
    assert scraped.value("query_rewrite_cpu_seconds_total") > 0.1
    assert 50e6 < scraped.value("query_rewrite_resident_memory_bytes") < 5e9


def test_whatever_is_sent_nothing_of_it_is_told_and_no_series_is_new(server: RunningServer) -> None:
    before = server.scrape()
    for text in WEIRD:
        for message in (a_request(query=text, user_id=f"u{text}", interaction_id=f"i{text}"), a_request(user_id=text)):
            message.context.room = message.context.device_type = text
            try:
                server.stub.Rewrite(message, timeout=60)
                turn = a_turn(query=text, user_id=message.user_id, interpretation=pb.Interpretation(intent=text))
                server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    for method in ("Rewrite", "xylocarp", "../metrics"):
        call = server.channel.unary_unary(f"/rewrite.v1.RewriteService/{method}")
        with pytest.raises(grpc.RpcError):
            call(b"\xff xylocarp", timeout=60, metadata=(("xylocarp", "xylocarp"),))
    after = server.scrape()
    assert after.series.keys() == before.series.keys()
    assert sum(after.series.values()) > sum(before.series.values())
    told = after.text.lower()
    assert not [text for text in WEIRD if text.strip() and text.lower() in told]


def test_refused_load_and_a_store_that_fails_are_counted(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path / "state", metrics_port=0, max_in_flight=1)
    calls = [server.stub.Explain.future(pb.ExplainRequest(request=a_request(query="play ago"))) for _ in range(40)]
    codes = [call.code() for call in calls]
    shed = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
    scraped = server.scrape()
    assert shed > 0 and scraped.value("query_rewrite_shed_total", method="explain") == shed
    assert scraped.value(REQUESTS, method="explain", code="RESOURCE_EXHAUSTED") == shed
    assert scraped.value(REQUESTS, method="explain", code="OK") == len(calls) - shed
    for file in (tmp_path / "state").rglob("*.mdb"):
        file.write_bytes(b"\0" * file.stat().st_size)  # under the server's feet
    with pytest.raises(grpc.RpcError) as refused:
        server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id="cleo")]), timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    reply = server.stub.Rewrite(a_request(user_id="cleo", query="play ago"), timeout=60)
    assert "personal" in reply.skipped_stages
    scraped = server.scrape()
    assert scraped.value("query_rewrite_store_errors_total", operation="write") >= 1
    assert scraped.value("query_rewrite_store_errors_total", operation="read") >= 1
    assert scraped.value("query_rewrite_skipped_stages_total", stage="personal") >= 1


def test_a_reader_that_never_finishes_holds_nobody_up(server: RunningServer) -> None:
    address = next(line["metrics_address"] for line in server.log() if "metrics_address" in line)
    host, port = address.rsplit(":", 1)
    idle = [socket.create_connection((host, int(port))) for _ in range(5)]
    idle[0].sendall(b"GET /metrics HTTP/1.1\r\n")
    try:
        assert server.scrape().series
        assert server.stub.Rewrite(a_request(), timeout=60).decision
    finally:
        for connection in idle:
            connection.close()


def test_every_metric_is_in_the_operations_manual() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert [metric.name for metric in REGISTRY.metrics if f"| `{metric.name}" not in document] == []


def test_the_methods_are_those_of_the_service(server: RunningServer) -> None:
    offered = {name for name in vars(server.stub) if name[0].isupper()}
    assert {name.lower() for name in offered} == {method.replace("_", "") for method in METHODS}
    assert isinstance(server.stub, rewrite_pb2_grpc.RewriteServiceStub)
