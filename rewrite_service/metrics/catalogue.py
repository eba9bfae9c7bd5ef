"""Every metric of the service. The names and what they mean are in docs/operations.md; a test sees to that.

All label values are named here, or are those of an enumeration: none comes from a request.
"""

from __future__ import annotations

import re

import grpc

from rewrite_service.decision import Layer, Reason
from rewrite_service.metrics.cells import Counter, Gauge, Histogram, Registry, Text
from rewrite_service.pb import rewrite_pb2 as pb

REGISTRY = Registry()

NO_LAYER = "none"
OTHER = "other"
"""Of stages that are not named here."""
METHODS = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower(): method.name
    for method in pb.DESCRIPTOR.services_by_name["RewriteService"].methods
}
"""As the log's `event` has them, to the contract's name: `rewrite` for Rewrite."""
CODES = tuple(code.name for code in grpc.StatusCode)
LAYERS = (*(layer.value for layer in Layer), NO_LAYER)
REASONS = tuple(reason.value for reason in Reason)
STAGES = (
    "convert", "queue", "remembered", "personal", "query", "encode", "retrieve", "features", "predict", OTHER,
)  # fmt: skip
SKIPPABLE = ("personal", "meaning", "rank", OTHER)
CACHES = ("text_vectors", "text_sounds", "users", "decisions")
GATES = ("rewrites", "records")

# Half of the bounds lie inside the budget of 20 ms: what is far inside and what is far beyond need no finer telling.
_CALL_US = (250, 500, 1000, 2000, 3000, 5000, 7500, 10_000, 15_000, 20_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
_STAGE_US = (50, 100, 250, 500, 1000, 2000, 3000, 5000, 10_000, 20_000, 50_000, 200_000)
_PROBABILITY = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_A_SECOND = 1_000_000.0

REQUESTS = Counter(
    REGISTRY,
    "query_rewrite_requests",
    "Calls that ended, by method and gRPC status code.",
    method=tuple(METHODS),
    code=CODES,
)
REQUEST_SECONDS = Histogram(
    REGISTRY,
    "query_rewrite_request_seconds",
    "From a message's arrival in the server to its reply, whatever the status.",
    _CALL_US,
    _A_SECOND,
    method=tuple(METHODS),
)
STAGE_SECONDS = Histogram(
    REGISTRY,
    "query_rewrite_stage_seconds",
    "Stages of Rewrite; queue is the wait for the worker thread.",
    _STAGE_US,
    _A_SECOND,
    stage=STAGES,
)
SKIPPED = Counter(
    REGISTRY,
    "query_rewrite_skipped_stages",
    "Stages of Rewrite left out for lack of time or because they failed.",
    stage=SKIPPABLE,
)
DECISIONS = Counter(
    REGISTRY,
    "query_rewrite_decisions",
    "Answers of Rewrite; reasons confident, taught and pinned are rewrites, all others leave the query.",
    layer=LAYERS,
    reason=REASONS,
)
BEST_PROBABILITY = Histogram(
    REGISTRY,
    "query_rewrite_best_probability",
    "Calibrated probability that the best candidate helps, of Rewrites that weighed one.",
    _PROBABILITY,
)
SHED = Counter(REGISTRY, "query_rewrite_shed", "Calls refused because too many were under way.", method=tuple(METHODS))
STORE_ERRORS = Counter(
    REGISTRY,
    "query_rewrite_store_errors",
    "Failures of the state store; a Rewrite then goes on without it, a Record is refused.",
    operation=("read", "write"),
)
IN_FLIGHT = Gauge(REGISTRY, "query_rewrite_in_flight", "Calls under way, by the gate that counts them.", gate=GATES)
CACHE_HITS = Counter(REGISTRY, "query_rewrite_cache_hits", "Look-ups that found what they sought.", cache=CACHES)
CACHE_MISSES = Counter(REGISTRY, "query_rewrite_cache_misses", "Look-ups that did not.", cache=CACHES)
CACHE_BYTES = Gauge(REGISTRY, "query_rewrite_cache_bytes", "Bytes held, roughly.", cache=CACHES)
CACHE_ENTRIES = Gauge(REGISTRY, "query_rewrite_cache_entries", "Entries held.", cache=CACHES)
BUNDLE = Text(REGISTRY, "query_rewrite_bundle", "Workers by the bundle that they decide by.", "version")
BUNDLE_MADE = Gauge(
    REGISTRY,
    "query_rewrite_bundle_made_timestamp_seconds",
    "When the bundle was made, in seconds since 1970 UTC; of several workers' the oldest.",
    "least",
)
SERVING = Gauge(REGISTRY, "query_rewrite_serving_workers", "Processes that are ready to serve.")
WORKERS = Gauge(REGISTRY, "query_rewrite_configured_workers", "Processes that should be.")
RESTARTS = Counter(REGISTRY, "query_rewrite_worker_restarts", "Workers started anew because one died.")
CPU_SECONDS = Counter(REGISTRY, "query_rewrite_cpu_seconds", "Processor time used, of all workers.")
RESIDENT_BYTES = Gauge(
    REGISTRY, "query_rewrite_resident_memory_bytes", "Memory in use; what workers share is counted for each."
)
COLLECTIONS = Counter(
    REGISTRY, "query_rewrite_gc_collections", "Garbage collections of Python.", generation=("0", "1", "2")
)
COLLECTED = Counter(REGISTRY, "query_rewrite_gc_collected", "Objects that they freed.", generation=("0", "1", "2"))
