"""Our global index against public engines on the same vectors: usearch, and Qdrant's engine (Qdrant Edge).

The texts are those of `benchmarks.serving.crowd`, by their meaning alone; the queries are such texts misspelt, encoded
as requests are. One query after the other, on one core, in this process, the 10 nearest; recall@10 against an exact
scan. All are graphs (HNSW) over 8-bit rows, of the same degree, built and searched equally deep.

Redis is not among them: its vector search needs a module, and the builds of it that a package registry has run neither
with Debian 12's Redis (7.0) nor with its libraries.

usage: python -m benchmarks.serving.engines BUNDLE [--texts 10000,100000]      (needs the extra `bench`)
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.quality.tables import Figures, keep, show
from benchmarks.serving.crowd import FRAMES, names
from benchmarks.serving.servers import SERVER_CORES
from retriever.global_index import build_index
from rewrite_service.bundle import encoder_of
from rewrite_service.loadtest import misspelt

SIZES = (10_000, 100_000)
QUERIES, NEAREST = 300, 10
LINKS, BUILD_DEPTH, SEARCH_DEPTH = 32, 120, 160
"""As in `retriever.global_index`."""
Search = Callable[[np.ndarray], Sequence[int]]
"""One query, float32 (384,), to the rows found."""


@contextmanager
def ours(vectors: np.ndarray) -> Iterator[Search]:
    index = build_index(vectors)
    yield lambda query: index.search(query[None], NEAREST)[1][0].tolist()


@contextmanager
def exact(vectors: np.ndarray) -> Iterator[Search]:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    yield lambda query: index.search(query[None], NEAREST)[1][0].tolist()


@contextmanager
def usearch(vectors: np.ndarray) -> Iterator[Search]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="i8", connectivity=LINKS, expansion_add=BUILD_DEPTH,
                  expansion_search=SEARCH_DEPTH)  # fmt: skip
    index.add(np.arange(len(vectors)), vectors, threads=1)
    yield lambda query: index.search(query, NEAREST, threads=1).keys.tolist()


@contextmanager
def qdrant(vectors: np.ndarray) -> Iterator[Search]:
    import qdrant_edge as q

    graph = q.HnswIndexConfig(LINKS, BUILD_DEPTH, 1, max_indexing_threads=1)
    int8 = q.ScalarQuantizationConfig(q.ScalarType.Int8, always_ram=True)
    config = q.EdgeConfig(
        vectors=q.EdgeVectorParams(vectors.shape[1], q.Distance.Dot),
        hnsw_config=graph,
        quantization_config=int8,
        optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
        max_search_threads=1,
    )
    params = q.SearchParams(SEARCH_DEPTH, quantization=q.QuantizationSearchParams(rescore=False))
    with tempfile.TemporaryDirectory() as place:
        shard = q.EdgeShard.create(place, config)
        try:
            for start in range(0, len(vectors), 1000):
                points = [q.Point(start + i, row.tolist()) for i, row in enumerate(vectors[start : start + 1000])]
                shard.update(q.UpdateOperation.upsert_points(points))
            while shard.optimize():
                pass

            def search(query: np.ndarray) -> list[int]:
                request = q.SearchRequest(q.Query.Nearest(query.tolist()), NEAREST, params=params)
                return [point.id for point in shard.search(request)]

            yield search
        finally:
            shard.close()


ENGINES = {"exact scan (FAISS)": exact, "ours": ours, "usearch, int8": usearch, "Qdrant, int8": qdrant}


def measure(bundle: Path, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """For each size and engine: seconds to build, milliseconds a query, recall@10."""
    encoder = encoder_of(bundle)
    rng, results = random.Random(3), []
    before = os.sched_getaffinity(0)
    faiss.omp_set_num_threads(1)
    for size in sizes:
        known = names(-(-size // len(FRAMES)))
        texts = list(islice((pattern.format(name) for name in known for _, pattern in FRAMES), size))
        vectors = encoder.encode(texts)
        queries = encoder.encode([misspelt(text, rng) for text in rng.sample(texts, QUERIES)])
        likeness = queries @ vectors.T
        least = np.sort(likeness, axis=1)[:, -NEAREST]
        os.sched_setaffinity(0, {int(core) for core in SERVER_CORES.split(",")})
        for name, engine in ENGINES.items():
            began = time.monotonic()
            with engine(vectors) as search:
                built_s = time.monotonic() - began
                for query in queries[:30]:
                    search(query)
                took, right = [], 0
                for row, query in enumerate(queries):
                    began_ns = time.perf_counter_ns()
                    found = search(query)
                    took.append((time.perf_counter_ns() - began_ns) / 1e6)
                    right += int((likeness[row, list(found)] >= least[row] - 1e-6).sum())
            p50, p99 = np.percentile(took, (50, 99))
            results.append({
                "texts": size, "engine": name, "build_s": round(built_s, 1), "p50_ms": round(float(p50), 3),
                "p99_ms": round(float(p99), 3), "recall_at_10": round(right / (NEAREST * QUERIES), 4),
            })  # fmt: skip
            print(results[-1], flush=True)
        os.sched_setaffinity(0, before)
    return {"results": results}


def figures(measured: Mapping[str, Any]) -> Figures:
    columns = ("texts", "engine", "built in s", "p50 ms", "p99", "recall@10")
    return "the 10 nearest by meaning, one core", columns, [(f"{r['texts']:,}", *list(r.values())[1:])
                                                            for r in measured["results"]]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="whose encoder is used")
    parser.add_argument("--texts", default=",".join(map(str, SIZES)))
    asked = parser.parse_args()
    measured = measure(asked.bundle, [int(size) for size in asked.texts.split(",")])
    show(*figures(measured))
    keep("engines", measured)


if __name__ == "__main__":
    main()
