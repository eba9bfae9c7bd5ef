"""One user's rows: few enough for an exact scan, and found by the user's key, never by a filter over a shared index."""

from __future__ import annotations

import faiss
import numpy as np

from retriever.views import NO_HITS, Hits, Views


class PersonalIndex:
    """Exact inner-product search (FAISS) over one user's contiguous rows, in both views. The rows are searched where
    they are: an index of FAISS's own would hold them a second time. `views`: float32, unit rows."""

    def __init__(self, views: Views) -> None:
        self.views = views

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.views.meaning.nbytes + self.views.sound.nbytes

    def search(self, query: Views, k: int) -> Hits:
        """The union of the `k` nearest rows by meaning and by sound. `query`: one row."""
        n = len(self.views)
        if not n:
            return NO_HITS
        meaning, sound, k = self.views.meaning, self.views.sound, min(k, n)
        rows = np.unique(np.concatenate([_nearest(query.meaning, meaning, k), _nearest(query.sound, sound, k)]))
        return Hits(rows, meaning[rows] @ query.meaning[0], sound[rows] @ query.sound[0])


def _nearest(query: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """int64 (k,): the numbers of the nearest rows."""
    nearest: np.ndarray = faiss.knn(query, rows, k, metric=faiss.METRIC_INNER_PRODUCT)[1][0]
    return nearest
