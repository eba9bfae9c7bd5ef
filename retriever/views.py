"""A text as retrieval sees it: one vector for what it means, one for how it sounds.

A rephrase shares meaning, a mishearing shares sound; either alone misses what the other finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class TextEncoder(Protocol):
    """Texts to unit rows, float32 (n, dimension)."""

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Views:
    """`meaning`: float32 (n, 384); `sound`: float32 (n, 512); rows of unit length, row i of both is text i."""

    meaning: np.ndarray
    sound: np.ndarray

    def __len__(self) -> int:
        return len(self.meaning)


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows found for one query, best in either view, each once, with its cosine in both views (-1 to 1).

    `rows`: int64 (m,); `meaning`, `sound`: float32 (m,).
    """

    rows: np.ndarray
    meaning: np.ndarray
    sound: np.ndarray


NO_HITS = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32))
