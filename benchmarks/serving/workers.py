"""What a second process brings on two cores.

One request that goes the whole way (no triage, nothing remembered), over and over, asked by h2load over eight
connections, which takes a small part of both cores itself; one worker and two, in turn.

usage: python -m benchmarks.serving.workers BUNDLE LOG
"""

from __future__ import annotations

import statistics
from pathlib import Path

import grpc

from benchmarks.quality.tables import keep, show
from benchmarks.serving.servers import bundle_and_log, h2load, serving
from rewrite_service.converters import from_request
from rewrite_service.loadtest import read_requests
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

ROUNDS, CONNECTIONS = 5, 8
CORES = "0,1"


def whole_way(address: str, log: Path) -> bytes:
    """A request of the log for which candidates are ranked."""
    with grpc.insecure_channel(address) as channel:
        stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
        for request in read_requests(log)[-2000:]:
            message = from_request(request)
            reply = stub.Rewrite(message, timeout=5)
            if reply.reason not in (pb.REASON_QUERY_LOOKS_FINE, pb.REASON_NO_CANDIDATES):
                return message.SerializeToString()
    raise SystemExit("no request of the log goes the whole way")


def main() -> None:
    asked = bundle_and_log(__doc__)
    same = {"cores": CORES, "log_level": "warning", "decision_cache_bytes": 0, "default_deadline_ms": 1000}
    with (
        serving(asked.bundle, port=50120, workers=1, **same) as (one, _),
        serving(asked.bundle, port=50130, workers=2, **same) as (two, _),
    ):
        message = whole_way(one, asked.log)
        rates: dict[str, list[float]] = {"one worker": [], "two workers": []}
        for _ in range(ROUNDS):
            for name, address in (("one worker", one), ("two workers", two)):
                rates[name].append(h2load(address, message, connections=CONNECTIONS, cores=CORES))
    ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
    rows = [(name, round(statistics.median(rate))) for name, rate in rates.items()]
    show("the whole way, answers a second", ("", "median"), rows)
    print(f"two workers on two cores, client included: {ratio:.2f} times one (median of {ROUNDS} pairs)")
    keep("workers", {"rates": rates, "median_ratio": round(ratio, 3)})


if __name__ == "__main__":
    main()
