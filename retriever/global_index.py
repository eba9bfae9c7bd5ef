"""Everybody's rows: one FAISS index a view, its kind chosen by size.

Below some thousands of rows an exact scan is as fast as a graph and misses nothing; above, HNSW (Malkov and Yashunin
2016) with 8-bit scalar-quantised rows, searched deep enough that recall@20 against the exact scan stays above 0.98
(tests/retriever/test_indexes.py holds it to that).
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from retriever.index_file import check_index_file
from retriever.views import NO_HITS, Hits, Views

FLAT_BELOW = 4000
_LINKS, _EF_CONSTRUCTION, _EF_SEARCH = 32, 120, 160


def build_index(vectors: np.ndarray) -> faiss.Index:
    """An inner-product index over float32 (n, d) rows of unit length."""
    n, d = vectors.shape
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if n < FLAT_BELOW:
        index: faiss.Index = faiss.IndexFlatIP(d)
    else:
        graph = faiss.IndexHNSWSQ(d, faiss.ScalarQuantizer.QT_8bit, _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _EF_CONSTRUCTION
        graph.hnsw.efSearch = _EF_SEARCH
        graph.train(vectors)
        index = graph
    index.add(vectors)
    return index


def open_index(path: Path) -> faiss.Index:
    """An index written by `faiss.write_index`, set to the search depth used here. Mapped, not read: several processes
    have it in memory once, and none before it is needed. Raises ValueError or OSError where it is no such index."""
    check_index_file(path)
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = _EF_SEARCH
    return index


class GlobalIndex:
    """Search over both views; row numbers are the order of the rows given to `build`."""

    def __init__(self, meaning: faiss.Index, sound: faiss.Index) -> None:
        self._meaning, self._sound = meaning, sound

    @classmethod
    def build(cls, views: Views) -> GlobalIndex:
        return cls(build_index(views.meaning), build_index(views.sound))

    @classmethod
    def open(cls, directory: Path) -> GlobalIndex:
        return cls(open_index(directory / "meaning.faiss"), open_index(directory / "sound.faiss"))

    def save(self, directory: Path) -> None:
        faiss.write_index(self._meaning, str(directory / "meaning.faiss"))
        faiss.write_index(self._sound, str(directory / "sound.faiss"))

    def __len__(self) -> int:
        return int(self._meaning.ntotal)

    @property
    def kind(self) -> str:
        return type(self._meaning).__name__

    def search(self, query: Views, k: int) -> Hits:
        """The union of the `k` nearest rows by meaning and by sound. `query`: one row."""
        k = min(k, len(self))
        if not k:
            return NO_HITS
        found = np.concatenate([self._meaning.search(query.meaning, k)[1][0], self._sound.search(query.sound, k)[1][0]])
        rows = np.unique(found[found >= 0])
        meaning = self._meaning.reconstruct_batch(rows) @ query.meaning[0]
        sound = self._sound.reconstruct_batch(rows) @ query.sound[0]
        return Hits(rows, meaning, sound)
