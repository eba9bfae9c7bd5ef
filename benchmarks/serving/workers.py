"""What a second process brings on two cores.

One request that goes the whole way (no triage, nothing remembered), over and over, asked by h2load over eight
connections, which takes a small part of both cores itself; one worker and two, in turn.

usage: python -m benchmarks.serving.workers BUNDLE LOG
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.servers import bundle_and_log, h2load, serving
from retriever.interaction import Request
from rewrite_service.client.messages import from_request
from rewrite_service.loadtest import read_requests
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

ROUNDS, CONNECTIONS = 5, 8
CORES = "0,1"


def whole_way(address: str, requests: Sequence[Request]) -> bytes:
    """The first of the requests for which candidates are ranked."""
    with grpc.insecure_channel(address) as channel:
        stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
        for request in requests:
            message = from_request(request)
            reply = stub.Rewrite(message, timeout=5)
            if reply.reason not in (pb.REASON_QUERY_LOOKS_FINE, pb.REASON_NO_CANDIDATES):
                return message.SerializeToString()
    raise SystemExit("none of the requests goes the whole way")


def measure(bundle: Path, requests: Sequence[Request]) -> dict[str, Any]:
    same = {"cores": CORES, "log_level": "warning", "decision_cache_bytes": 0, "default_deadline_ms": 1000}
    with serving(bundle, workers=1, **same) as (one, _), serving(bundle, workers=2, **same) as (two, _):
        message = whole_way(one, requests)
        rates: dict[str, list[float]] = {"one worker": [], "two workers": []}
        for _ in range(ROUNDS):
            for name, address in (("one worker", one), ("two workers", two)):
                rates[name].append(h2load(address, message, connections=CONNECTIONS, cores=CORES))
    ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
    return {"rates": rates, "median_ratio": round(ratio, 3)}


def figures(measured: Mapping[str, Any]) -> Figures:
    rows: list[tuple[str, object]] = [(name, round(statistics.median(r))) for name, r in measured["rates"].items()]
    rows.append(("two over one (median of pairs)", measured["median_ratio"]))
    return "the whole way on two cores, client included", ("", "answers a second"), rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    measured = measure(asked.bundle, read_requests(asked.log)[-2000:])
    show(*figures(measured))
    keep("workers", measured)


if __name__ == "__main__":
    main()
