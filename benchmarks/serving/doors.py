"""What a call costs over HTTP beside one over gRPC: the same remembered decision, over one connection each, in turn.

So that nothing but the doors differs, the decision itself comes out of the cache. Times are the caller's; CPU is the
server process's own. Besides, reading and writing such a message as JSON, beside protobuf's own library.

usage: python -m benchmarks.serving.doors BUNDLE LOG
"""

from __future__ import annotations

import os
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from benchmarks.ports import free_port
from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.servers import METHOD, bundle_and_log, pin_client, serving
from retriever.interaction import Request
from rewrite_service.client.messages import from_request
from rewrite_service.http_door.json_messages import read_message, write_message
from rewrite_service.loadtest import read_requests
from rewrite_service.pb import rewrite_pb2 as pb

ROUNDS, CALLS = 7, 300


def measure(bundle: Path, request: Request) -> dict[str, Any]:
    """Of each door and round: the median call in ms, and the server's CPU in ms a call."""
    message = from_request(replace(request, timestamp_ms=int(time.time() * 1000)))
    packed, said = message.SerializeToString(), write_message(message)
    port = free_port()
    headers = {"content-type": "application/json", "x-timeout-ms": "10000"}
    rows: dict[str, dict[str, list[float]]] = {name: {"ms": [], "cpu_ms": []} for name in ("gRPC", "HTTP")}
    with serving(bundle, http_port=port, log_level="warning", decision_cache_span_ms=600_000) as (address, process):
        ask = grpc.insecure_channel(address).unary_unary(METHOD)
        http = HTTPConnection("127.0.0.1", port)

        def over_http() -> None:
            http.request("POST", "/v1/rewrite", said, headers)
            reply = http.getresponse()
            assert reply.status == 200, reply.read()
            reply.read()

        calls: dict[str, Callable[[], object]] = {"gRPC": lambda: ask(packed, timeout=10), "HTTP": over_http}
        for round_ in range(ROUNDS + 1):
            for name, call in calls.items():
                took, before = [], _cpu_s(process.pid)
                for _ in range(CALLS):
                    begun = time.perf_counter()
                    call()
                    took.append(1000 * (time.perf_counter() - begun))
                if round_:  # the first warms up
                    rows[name]["ms"].append(statistics.median(took))
                    rows[name]["cpu_ms"].append(1000 * (_cpu_s(process.pid) - before) / CALLS)
    return rows


def mapping(request: Request) -> dict[str, float]:
    """Microseconds to read a request and to write a reply, by us and by protobuf's json_format; the best of five."""
    said = write_message(from_request(request))
    reply = pb.RewriteResponse(
        decision=pb.DECISION_REWRITE, text=request.query, probability=0.9, margin=0.5, layer=pb.LAYER_GLOBAL,
        reason=pb.REASON_CONFIDENT, bundle_version="v", stage_us=dict.fromkeys(("total", "query", "encode"), 7),
    )  # fmt: skip
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: read_message(pb.RewriteRequest, said),
        "read, json_format": lambda: json_format.Parse(said, pb.RewriteRequest()),
        "write": lambda: write_message(reply),
        "write, json_format": lambda: json_format.MessageToJson(reply, always_print_fields_with_no_presence=True),
    }
    return {name: round(1e3 * min(timeit.repeat(step, number=1000, repeat=5)), 1) for name, step in steps.items()}


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(measured: Mapping[str, Any]) -> Figures:
    rows = [
        (name, round(statistics.median(row["ms"]), 2), round(statistics.median(row["cpu_ms"]), 2))
        for name, row in measured.items()
    ]
    return "a remembered decision", ("door", "p50 of a call, ms", "CPU of the server a call, ms"), rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    measured = measure(asked.bundle, read_requests(asked.log)[-1])
    mapped = mapping(read_requests(asked.log)[-1])
    show(*figures(measured))
    show("a message as JSON", ("step", "µs"), mapped.items())
    keep("doors", {"doors": measured, "mapping_us": mapped})


if __name__ == "__main__":
    main()
