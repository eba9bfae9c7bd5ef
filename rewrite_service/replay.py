"""Replays requests and history in time order through the same pipeline that serves: requests file to decisions file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import orjson

from mining.reader import LogError, read_log, read_records
from mining.schema import parse_request
from retriever.interaction import Interaction, Request
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Decision, Layer
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.whole_file import written_whole

_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """What a replay did."""

    requests: int
    rewrites: int
    history: int
    malformed: int


def to_line(request: Request, decision: Decision) -> dict[str, Any]:
    """A decision as a line of the output file."""
    return {
        "interaction_id": request.interaction_id,
        "decision": "rewrite" if decision.is_rewrite else "pass",
        "rewrite": decision.text,
        "layer": decision.layer.value if decision.layer else None,
        "probability": round(decision.probability, 6),
        "margin": round(decision.margin, 6),
        "reason": decision.reason.value,
    }


def in_time(requests: list[Request], history: list[Interaction]) -> Iterator[Request | list[Interaction]]:
    """Requests in time order, each after the stretch of history turns that came strictly before it.

    A request and the history turn of the same id are the same event: the turn never comes before its own request, and
    turns at the very same moment come after it.
    """
    at = 0
    for request in sorted(requests, key=lambda r: (r.timestamp_ms, r.interaction_id)):
        start = at
        while at < len(history) and history[at].request.timestamp_ms < request.timestamp_ms:
            at += 1
        if at > start:
            yield history[start:at]
        yield request


def replay(
    bundle: Path,
    requests_file: Path,
    out: Path,
    history_files: list[Path],
    layers: frozenset[Layer],
    progress: Callable[[int], None] = lambda n: None,
) -> ReplayCounts:
    """Writes a line for every request. `out`, gzip by name, is replaced when all is done. Raises LogError, BundleError,
    StoreError."""
    if out.is_dir():
        raise LogError(f"{out}: is a directory; name a file for the decisions")
    out.parent.mkdir(parents=True, exist_ok=True)
    requests, malformed, lines = read_records([requests_file], parse_request)
    if malformed:
        first = malformed[0]
        raise LogError(
            f"{first.file} line {first.line}: {first.reason} "
            f"({len(malformed)} of {lines} lines are malformed; every request must get its answer)"
        )
    history = read_log(history_files) if history_files else None
    faiss.omp_set_num_threads(1)
    opened = open_bundle(bundle, encoder_of(bundle), _CACHE_BYTES)
    rewrites = 0
    with tempfile.TemporaryDirectory(prefix="query-rewrite-replay-") as state:
        pipeline = Pipeline(opened, EmbeddedStore(Path(state)), _CACHE_BYTES)
        try:
            with written_whole(out) as file:
                for event in in_time(requests, history.turns if history else []):
                    if isinstance(event, list):
                        pipeline.record(event)
                    else:
                        decision = pipeline.rewrite(event, layers=layers)
                        rewrites += decision.is_rewrite
                        file.write(orjson.dumps(to_line(event, decision), option=orjson.OPT_APPEND_NEWLINE))
                        progress(1)
        finally:
            pipeline.close()
    told, set_aside = (len(history.turns), len(history.malformed)) if history else (0, 0)
    return ReplayCounts(len(requests), rewrites, told, set_aside)
