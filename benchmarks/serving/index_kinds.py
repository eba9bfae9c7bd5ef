"""What the global index could be built of: graphs of several degrees and depths, and inverted lists.

Over the texts of `benchmarks.serving.crowd`, by meaning and by sound, rows in 8 bits: how long building takes on two
threads, a query on one, and recall@20 against an exact scan. Queries lie near rows, as in the tests of the index.

usage: python -m benchmarks.serving.index_kinds BUNDLE [--texts 20000]
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import faiss
import numpy as np

from benchmarks.quality.tables import keep, show
from benchmarks.serving.crowd import FRAMES, names
from retriever.sound import SoundSpace
from rewrite_service.bundle import encoder_of

GRAPHS = ((32, 120), (32, 60), (24, 80), (16, 80), (16, 40))
LISTS, PROBED = 256, 32
SEARCH_DEPTH, NEAREST, QUERIES, NOISE = 160, 20, 300, 0.03


def kinds(dimension: int) -> dict[str, faiss.Index]:
    """Empty indexes by name, the one in use (`retriever.global_index`) first."""
    int8, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    out: dict[str, faiss.Index] = {}
    for links, depth in GRAPHS:
        graph = out[f"graph, {links} links, {depth} deep"] = faiss.IndexHNSWSQ(dimension, int8, links, metric)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = depth, SEARCH_DEPTH
    coarse = faiss.IndexFlatIP(dimension)
    lists = out[f"inverted lists, {PROBED} of {LISTS}"] = faiss.IndexIVFScalarQuantizer(
        coarse, dimension, LISTS, int8, metric, False
    )
    lists.nprobe = PROBED
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="whose encoder is used")
    parser.add_argument("--texts", type=int, default=20_000)
    asked = parser.parse_args()
    known = names(-(-asked.texts // len(FRAMES)))
    texts = list(islice((pattern.format(name) for name in known for _, pattern in FRAMES), asked.texts))
    meaning = encoder_of(asked.bundle).encode(texts)
    views = {"meaning": meaning, "sound": SoundSpace.fit(texts).encode(texts)}
    rng, rows = np.random.default_rng(1), []
    for view, vectors in views.items():
        queries = vectors[rng.choice(len(vectors), QUERIES, replace=False)]
        queries = queries + NOISE * rng.normal(size=queries.shape).astype(np.float32)
        faiss.normalize_L2(queries)
        likeness = queries @ vectors.T
        least = np.sort(likeness, axis=1)[:, -NEAREST]
        for name, index in kinds(vectors.shape[1]).items():
            faiss.omp_set_num_threads(2)
            began = time.monotonic()
            index.train(vectors)
            index.add(vectors)
            built_s = time.monotonic() - began
            faiss.omp_set_num_threads(1)
            took, right = [], 0
            for row in range(QUERIES):
                began = time.perf_counter()
                found = index.search(queries[row : row + 1], NEAREST)[1][0]
                took.append(1000 * (time.perf_counter() - began))
                right += int((likeness[row, found[found >= 0]] >= least[row] - 1e-6).sum())
            recall = right / (NEAREST * QUERIES)
            rows.append((view, name, round(built_s, 1), round(float(np.median(took)), 3), round(recall, 4)))
            print(rows[-1], flush=True)
    columns = ("view", "index", "built in s", "query ms", "recall@20")
    show(f"{asked.texts:,} texts", columns, rows)
    results = [dict(zip(("view", "index", "build_s", "query_ms", "recall_at_20"), row, strict=True)) for row in rows]
    keep("index-kinds", {"texts": asked.texts, "results": results})


if __name__ == "__main__":
    main()
