"""Traces for OpenTelemetry, of a share of the calls: a span for the call and one for each stage, sent over OTLP.

Spans are made when the call has ended, from the times it took anyway, so nothing on its way knows of tracing. Stages
come one after the other, and a span begins where the one before ended: lengths are measured, and the small gaps between
stages show at the end. The caller's trace goes on (W3C `traceparent` in the metadata), and so does its word on whether
to keep it. No span holds a text or an id of a user; the caller's `tracestate` is dropped, as it may hold anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import grpc

from rewrite_service.decision import Decision
from rewrite_service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_TRACEPARENT = "traceparent"
_EXPORT_S = 2.0
"""What one attempt to send spans may take."""
_WAITING = 2048
"""Spans that wait to be sent; those beyond are dropped."""
_BROKEN = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"})
"""Statuses that OpenTelemetry's conventions count as errors of a server."""


def require_tracing() -> None:
    """Raises SettingsError where the libraries for tracing are not installed."""
    try:
        import opentelemetry.exporter.otlp.proto.grpc.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingsError(f"otlp_endpoint needs {error.name}: pip install 'query-rewrite[tracing]'") from None


def open_tracing(settings: Settings) -> Tracing | None:
    """None where the settings name no endpoint. Raises SettingsError as `require_tracing`."""
    if settings.otlp_endpoint is None:
        return None
    require_tracing()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    plain = settings.otlp_endpoint.startswith("http://")
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=plain, timeout=_EXPORT_S)
    return Tracing(exporter, settings.trace_share)


def traceparent_of(metadata: Iterable[tuple[str, Any]] | None) -> str | None:
    """The caller's W3C trace context, as it came."""
    for key, value in metadata or ():
        if key == _TRACEPARENT and isinstance(value, str):
            return value
    return None


class Tracing:
    """Hands spans to a background thread that sends them in batches. `record` belongs to one thread, and never waits.

    `share`: of the calls whose caller says nothing of tracing, 0 to 1; with others the caller's word counts.
    """

    def __init__(self, exporter: SpanExporter, share: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        about = {"service.name": "query-rewrite", "service.version": version("query-rewrite")}
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share), resource=Resource.create(about), shutdown_on_exit=False
        )
        self._processor = BatchSpanProcessor(exporter, max_queue_size=_WAITING, schedule_delay_millis=1000)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("rewrite_service")
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self, service: str, method: str, code: str, us: int, traceparent: str | None, decision: Decision | None
    ) -> None:
        """A call that ended now, `us` microseconds after its arrival. `code`: name of its gRPC status. `decision`: what
        was decided in it, if anything."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        ended = time.time_ns()
        begun = ended - us * 1000
        parent = self._propagator.extract({_TRACEPARENT: traceparent}, Context()) if traceparent else Context()
        span = self._tracer.start_span(f"{service}/{method}", parent, SpanKind.SERVER, start_time=begun)
        if not span.is_recording():
            return
        span.set_attributes(
            {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "rpc.grpc.status_code": grpc.StatusCode[code].value[0],
            }
        )
        if code in _BROKEN:
            span.set_status(Status(StatusCode.ERROR))
        if decision is not None:
            span.set_attributes(_attributes(decision))
            inside, at = set_span_in_context(span, Context()), begun
            for stage, stage_us in _in_order(decision.stage_us):
                child = self._tracer.start_span(stage, inside, start_time=at)
                at += stage_us * 1000
                child.end(at)
        span.end(ended)

    def close(self, timeout_s: float) -> None:
        """Sends what waits, for at most so long."""
        self._processor.force_flush(int(timeout_s * 1000))
        self._provider.shutdown()


def _attributes(decision: Decision) -> dict[str, Any]:
    return {
        "query_rewrite.reason": decision.reason.value,
        "query_rewrite.layer": decision.layer.value if decision.layer else "none",
        "query_rewrite.probability": round(decision.probability, 4),
        "query_rewrite.bundle_version": decision.bundle_version,
        "query_rewrite.skipped_stages": list(decision.skipped),
    }


def _in_order(stage_us: dict[str, int]) -> list[tuple[str, int]]:
    """As they were run: conversion and queue come before what the pipeline noted; the total is the call itself."""
    first = [name for name in ("convert", "queue") if name in stage_us]
    rest = [name for name in stage_us if name not in first and name != "total"]
    return [(name, stage_us[name]) for name in first + rest]
