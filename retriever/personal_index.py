"""One user's rows: a small exact index, found by the user's key and never by a filter over a shared one."""

from __future__ import annotations

import faiss
import numpy as np

from retriever.views import NO_HITS, Hits, Views


class PersonalIndex:
    """Exact inner-product search (FAISS flat) over one user's contiguous rows, in both views."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._meaning, self._sound = (self._flat(v) for v in (views.meaning, views.sound))

    @staticmethod
    def _flat(vectors: np.ndarray) -> faiss.Index:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return index

    @property
    def nbytes(self) -> int:
        """Bytes held, both the rows and their copy in FAISS."""
        return 2 * (self._views.meaning.nbytes + self._views.sound.nbytes)

    def search(self, query: Views, k: int) -> Hits:
        """The union of the `k` nearest rows by meaning and by sound. `query`: one row."""
        n = len(self._views)
        if not n:
            return NO_HITS
        k = min(k, n)
        rows = np.unique(
            np.concatenate([self._meaning.search(query.meaning, k)[1][0], self._sound.search(query.sound, k)[1][0]])
        )
        return Hits(rows, self._views.meaning[rows] @ query.meaning[0], self._views.sound[rows] @ query.sound[0])
