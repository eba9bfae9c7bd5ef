"""What an uncached request costs beside its native parts, and where its time goes.

Each request goes the whole way (no triage, no remembered vector) in this process, on one thread; then its native parts
are run once more alone: tokenising and encoding, the searches of the indexes, the ranker's prediction. Thread CPU time,
so that other work on the machine counts less.

usage: python -m benchmarks.serving.native_parts BUNDLE LOG
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.servers import bundle_and_log
from ranker.features import features
from ranker.query_features import query_features
from retriever.candidates import GLOBAL_K, PERSONAL_K
from retriever.encoder import Encoder
from retriever.interaction import Request
from retriever.views import Views
from rewrite_service.assemble import find_candidates, open_request
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.huge_pages import back_with_huge_pages
from rewrite_service.loadtest import misspelt, pick, read_requests
from rewrite_service.pipeline import Pipeline
from rewrite_service.stages import StageClock
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.user_state import before

REQUESTS = 2000


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of this thread's CPU, and the result."""
    began = time.thread_time_ns()
    result = work()
    return (time.thread_time_ns() - began) / 1e6, result


class InPlace:
    """The encoder, with the CPU time that it took: after other work, with none of its weights left in the caches."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self.fingerprint, self.ms = encoder, encoder.fingerprint, 0.0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        took, vectors = timed(lambda: self._encoder.encode(texts))
        self.ms += took
        return vectors


def measure(place: Path, requests: Sequence[Request], count: int = REQUESTS) -> dict[str, Any]:
    """Milliseconds by step of `count` of the requests to the bundle in `place`, and the median ratio of the whole to
    its native parts."""
    faiss.omp_set_num_threads(1)
    rng = random.Random(1)
    rows: list[dict[str, float]] = []
    loads: list[float] = []
    encoded_in_place: list[float] = []
    with tempfile.TemporaryDirectory() as store:
        encoder = encoder_of(place)
        in_place = InPlace(encoder)
        bundle = open_bundle(place, in_place, 1 << 24)  # type: ignore[arg-type]
        pipeline = Pipeline(bundle, EmbeddedStore(Path(store)))
        pipeline.warm()
        back_with_huge_pages(lambda seconds: False)  # as a server does
        k, users = bundle.knowledge, pipeline._users
        for request in pick(requests, count, rng):
            request = replace(request, query=misspelt(request.query, rng))
            look = users.look(request.user_id)
            state = look.state
            if state is None:
                took_to_load, state = timed(lambda u=request.user_id, found=look.stored: users.load(u, found))
                loads.append(took_to_load)
            turns = before(state.recent, request)

            def opening(request=request, turns=turns, state=state):  # the values of this round
                made = open_request(request, turns, state.layer, k)
                return made, query_features(made.x)

            took: dict[str, float] = {}
            took["query features"], (opened, of_query) = timed(opening)
            took["triage"], _ = timed(lambda row=of_query: bundle.triage.win(row))
            in_place.ms = 0.0
            took["candidates, encoding included"], x = timed(lambda o=opened: find_candidates(o, k, StageClock()))
            encoded_in_place.append(in_place.ms)
            took["features"], vectors = timed(lambda x=x, row=of_query: features(x, row))
            took["native: predict"], _ = timed(lambda v=vectors: bundle.model.predict(v))
            query = x.query
            took["native: tokenise, encode"], meaning = timed(lambda q=query: encoder.encode([q]))
            views = Views(meaning, k.sound.encode([query]))
            took["native: search"], _ = timed(
                lambda v=views, own=state.layer: (own.index.search(v, PERSONAL_K), k.shared.index.search(v, GLOBAL_K))
            )
            rows.append(took)
        pipeline.close()
    names = list(rows[0])
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    whole = sum(columns[n] for n in names if n not in ("native: tokenise, encode", "native: search"))
    native = sum(columns[n] for n in names if n.startswith("native"))
    columns["the whole way"], columns["sum of the native parts"] = whole, native
    columns["where the query looks fine"] = columns["query features"] + columns["triage"]
    columns["besides: encoding, in its place"] = np.array(encoded_in_place)
    columns["besides: a user's first load"] = np.array(loads)
    table = {
        name: {
            "p50": round(float(np.median(c)), 3),
            "p99": round(float(np.percentile(c, 99)), 3),
            "mean": round(float(c.mean()), 3),
        }
        for name, c in columns.items()
    }
    return {"milliseconds": table, "median_ratio": round(float(np.median(whole / native)), 3)}


def figures(measured: Mapping[str, Any]) -> Figures:
    rows = [(name, *values.values()) for name, values in measured["milliseconds"].items()]
    rows.append(("the whole way over its native parts (median)", measured["median_ratio"], "", ""))
    return "milliseconds of CPU, each request the whole way", ("", "p50", "p99", "mean"), rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    measured = measure(asked.bundle, read_requests(asked.log)[-20_000:])
    show(*figures(measured))
    keep("native-parts", measured)


if __name__ == "__main__":
    main()
