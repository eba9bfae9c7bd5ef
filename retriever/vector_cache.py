"""Text to vector, remembered: a bounded, thread-safe cache in front of an encoder.

A vector depends on its text alone, so the cache is shared by all users. No call gives out what it holds. But a text
that is remembered takes less time, which `stage_us` of a reply shows: that figure is for the assistant alone.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from retriever.views import TextEncoder

_OVERHEAD_BYTES = 200
"""Of one entry beside its vector and its text: array header, links."""


class CachedEncoder:
    """Least recently used texts are forgotten first, so that all together hold no more than `max_bytes`, their texts
    included, which may be long; 0 keeps none. Returned arrays are the caller's own."""

    def __init__(self, encoder: TextEncoder, dimension: int, max_bytes: int) -> None:
        self._encoder, self._dimension = encoder, dimension
        self._max_bytes, self._held = max_bytes, 0
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, dimension); the texts not remembered are encoded in one batch."""
        out = np.empty((len(texts), self._dimension), dtype=np.float32)
        missing: dict[str, list[int]] = {}
        with self._lock:
            for i, text in enumerate(texts):
                vector = self._vectors.get(text)
                if vector is None:
                    missing.setdefault(text, []).append(i)
                else:
                    self._vectors.move_to_end(text)
                    out[i] = vector
            self.hits += len(texts) - len(missing)
            self.misses += len(missing)
        if missing:
            made = self._encoder.encode(list(missing))  # outside the lock: others go on meanwhile
            with self._lock:
                for vector, (text, places) in zip(made, missing.items(), strict=True):
                    out[places] = vector
                    self._keep(text, vector)
        return out

    @property
    def encoder(self) -> TextEncoder:
        """What gives the vectors."""
        return self._encoder

    @property
    def nbytes(self) -> int:
        """Bytes held, roughly."""
        return self._held

    def __len__(self) -> int:
        return len(self._vectors)

    def __contains__(self, text: str) -> bool:
        return text in self._vectors

    def clear(self) -> None:
        """Forgets all texts."""
        with self._lock:
            self._vectors.clear()
            self._held = 0

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Remembers vectors made elsewhere (a bundle's)."""
        with self._lock:
            for text, vector in zip(texts, vectors, strict=True):
                self._keep(text, vector)

    def _keep(self, text: str, vector: np.ndarray) -> None:
        """With the lock held. A copy: `vector` may be a row of something large."""
        if text not in self._vectors:
            self._held += self._size(text)
        self._vectors[text] = np.array(vector, dtype=np.float32)
        while self._held > self._max_bytes:
            self._held -= self._size(self._vectors.popitem(last=False)[0])

    def _size(self, text: str) -> int:
        return 4 * self._dimension + _OVERHEAD_BYTES + sys.getsizeof(text)
