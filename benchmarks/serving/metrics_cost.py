"""What counting for Prometheus costs a request, in processor time of the server.

Servers on one core, one with metrics and two without, are asked the same requests of the log in turn, a hundred at a
time; what lies between the two without is what such a comparison cannot tell. Processor time of the whole process, the
second's sampling and the gRPC library's threads included. Beside it, the count of one call alone, what it would take
with the library's own counters, and how long a scrape takes.

usage: python -m benchmarks.serving.metrics_cost BUNDLE LOG
"""

from __future__ import annotations

import statistics
import time
from urllib.request import urlopen

import grpc
import prometheus_client
from prometheus_client import CollectorRegistry

from benchmarks.quality.tables import keep, show
from benchmarks.serving.servers import bundle_and_log, cpu_seconds, pin_client, serving
from rewrite_service.client.messages import from_request
from rewrite_service.decision import Decision, Layer, Reason
from rewrite_service.loadtest import read_requests
from rewrite_service.metrics.calls import count_call
from rewrite_service.metrics.catalogue import BEST_PROBABILITY, REQUEST_SECONDS, STAGE_SECONDS
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

ROUNDS, AT_A_TIME, SCRAPES = 41, 100, 9
METRICS_PORT = 50162
STAGES = ("personal", "query", "encode", "retrieve", "features", "predict", "convert", "queue", "total")


def ask(stub: rewrite_pb2_grpc.RewriteServiceStub, messages: list[pb.RewriteRequest]) -> None:
    for message in messages:
        stub.Rewrite(message, timeout=5)


def one_count_us() -> tuple[float, float]:
    """Microseconds of `count_call` for a Rewrite that went the whole way, and of the same on the library's own counters
    and histograms: medians of some thousand, in turn."""
    decision = Decision(
        "text", Reason.CONFIDENT, 0.9, layer=Layer.PERSONAL, stage_us={stage: 700 for stage in STAGES}, win=0.8
    )
    registry = CollectorRegistry()
    requests = prometheus_client.Counter("r", "r", ["method", "code"], registry=registry)
    decisions = prometheus_client.Counter("d", "d", ["layer", "reason"], registry=registry)
    seconds = prometheus_client.Histogram("s", "s", ["method"], registry=registry, buckets=REQUEST_SECONDS.bounds)
    stages = prometheus_client.Histogram("t", "t", ["stage"], registry=registry, buckets=STAGE_SECONDS.bounds)
    probability = prometheus_client.Histogram("p", "p", registry=registry, buckets=BEST_PROBABILITY.bounds)

    def by_the_library() -> None:
        requests.labels("rewrite", "OK").inc()
        seconds.labels("rewrite").observe(7000)
        decisions.labels(decision.layer.value, decision.reason.value).inc()
        probability.observe(decision.probability)
        for stage, us in decision.stage_us.items():
            stages.labels(stage).observe(us)

    taken: tuple[list[int], list[int]] = [], []
    for _ in range(5000):
        for kept, count in zip(
            taken, (lambda: count_call("rewrite", "OK", 7000, decision, None), by_the_library), strict=True
        ):
            begun = time.perf_counter_ns()
            count()
            kept.append(time.perf_counter_ns() - begun)
    return statistics.median(taken[0]) / 1000, statistics.median(taken[1]) / 1000


def scrape_ms() -> float:
    begun = time.perf_counter()
    with urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics") as reply:
        assert reply.read()
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    same = {"decision_cache_bytes": 0, "default_deadline_ms": 1000}
    requests = [from_request(request) for request in read_requests(asked.log)[-ROUNDS * AT_A_TIME :]]
    used: dict[str, list[float]] = {"without": [], "without, again": [], "with": []}
    with (
        serving(asked.bundle, **same) as (plain, plain_process),
        serving(asked.bundle, **same) as (again, again_process),
        serving(asked.bundle, metrics_port=METRICS_PORT, **same) as (counting, counting_process),
        grpc.insecure_channel(plain) as plain_channel,
        grpc.insecure_channel(again) as again_channel,
        grpc.insecure_channel(counting) as counting_channel,
    ):
        servers = {
            "without": (rewrite_pb2_grpc.RewriteServiceStub(plain_channel), plain_process.pid),
            "without, again": (rewrite_pb2_grpc.RewriteServiceStub(again_channel), again_process.pid),
            "with": (rewrite_pb2_grpc.RewriteServiceStub(counting_channel), counting_process.pid),
        }
        for stub, _ in servers.values():
            ask(stub, requests)  # texts and users are at hand from here on
        for i in range(ROUNDS):
            batch = requests[i * AT_A_TIME : (i + 1) * AT_A_TIME]
            for name in sorted(servers, key=lambda name: (list(servers).index(name) + i) % len(servers)):
                stub, pid = servers[name]
                before = cpu_seconds(pid)
                ask(stub, batch)
                used[name].append((cpu_seconds(pid) - before) / len(batch) * 1e6)
        scrapes = [scrape_ms() for _ in range(SCRAPES)]
    rows = [(name, round(statistics.median(values), 1)) for name, values in used.items()]
    show("processor time of the server for a request", ("metrics", "median us"), rows)
    (alone, library), scrape = one_count_us(), statistics.median(scrapes)
    more = {}
    for name in ("with", "without, again"):
        differences = [b - a for a, b in zip(used["without"], used[name], strict=True)]
        low, more[name], high = statistics.quantiles(differences, n=4)
        print(f"{name}: {more[name]:+.1f} us (median of {ROUNDS} pairs; middle half {low:+.1f} to {high:+.1f})")
    print(f"the count of one call alone: {alone:.1f} us; the same on the library's own counters: {library:.1f} us")
    print(f"a scrape: {scrape:.1f} ms")
    figures = {"used_us": used, "more_us": more, "count_us": alone, "library_count_us": library, "scrape_ms": scrape}
    keep("metrics", figures)


if __name__ == "__main__":
    main()
