"""Checks a file of FAISS before FAISS maps it: its reader believes sizes (a gigabyte for a file of 4 KB), and its
search follows a link to a row that is not on the link's level out of memory.

Of the two kinds that `global_index` writes (faiss/impl/index_write.cpp): an exact scan (`IxFI`), and HNSW over 8-bit
rows (`IHNs`). The graph's links must lead to rows that are there, and every array must be of the size that the number
of rows gives it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

_HEADER = struct.Struct("<4siqqqBi")
"""Kind, dimension, rows, two unused, trained, metric."""
_SIZE = struct.Struct("<Q")
_GRAPH_END = struct.Struct("<iiiii")
"""Entry point, highest level, two depths of search, one unused."""
_QUANTISER = struct.Struct("<iifQQ")
"""Kind, range's kind and argument, dimension, bytes a row."""
_INNER_PRODUCT, _EIGHT_BITS = 0, 0
MAX_DIMENSION = 65_536


class _Reader:
    """Goes through a mapped file. Raises ValueError where it ends too soon."""

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, np.uint8, "r")
        self._at = 0

    def one(self, of: struct.Struct) -> tuple[Any, ...]:
        at = self._pass(of.size)
        return of.unpack(self._bytes[at : at + of.size].tobytes())

    def array(self, dtype: type, unit: int = 1) -> np.ndarray:
        """A length, in `unit`s of the dtype, and what it counts."""
        (length,) = self.one(_SIZE)
        length *= unit
        at = self._pass(length * np.dtype(dtype).itemsize)
        return np.ndarray(length, dtype, self._bytes, at)  # in place, aligned or not: it may be most of the memory

    def end(self) -> None:
        if self._at != len(self._bytes):
            raise ValueError("index: more in it than belongs to it")

    def _pass(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        if size > len(self._bytes) - self._at:
            raise ValueError("index: ends too soon, or claims to be larger than it is")
        self._at += size
        return self._at - size


def check_index_file(path: Path) -> None:
    """Raises ValueError or OSError where the file is no such index."""
    file = _Reader(path)
    kind, dimension, rows = _header(file)
    if kind == b"IxFI":
        if len(file.array(np.uint8, 4)) != 4 * rows * dimension:
            raise ValueError("index: not of so many rows")
    elif kind == b"IHNs":
        _check_graph(file, rows)
        _check_rows(file, dimension, rows)
    else:
        raise ValueError(f"index: of kind {kind!r}, which is not written here")
    file.end()


def _header(file: _Reader) -> tuple[bytes, int, int]:
    kind, dimension, rows, _, _, trained, metric = file.one(_HEADER)
    if not 0 < dimension <= MAX_DIMENSION or not 0 <= rows < 1 << 31:
        raise ValueError("index: no such dimension, or number of rows")
    if trained != 1 or metric != _INNER_PRODUCT:
        raise ValueError("index: not trained, or of another measure than the inner product")
    return kind, dimension, rows


def _check_graph(file: _Reader, rows: int) -> None:
    probabilities, links_to = file.array(np.float64), file.array(np.int32)
    levels, ends, links = file.array(np.int32), file.array(np.uint64), file.array(np.int32)
    entry, highest, _, _, _ = file.one(_GRAPH_END)
    top = len(links_to) - 1
    rising = links_to[:1].tolist() == [0] and (np.diff(links_to) >= 0).all()
    if len(links_to) != len(probabilities) + 1 or not 1 <= top <= 64 or not rising:
        raise ValueError("index: the graph's levels are not counted right")
    if len(levels) != rows or len(ends) != rows + 1 or (rows and not 1 <= levels.min() <= levels.max() <= top):
        raise ValueError("index: the graph is not of so many rows")
    if ends[0] != 0 or (np.diff(ends.astype(np.int64)) != links_to[levels]).any() or ends[-1] != len(links):
        raise ValueError("index: the graph's links are not where its levels say")
    if len(links) and not -1 <= links.min() <= links.max() < rows:
        raise ValueError("index: a link leads to a row that is not there")
    if rows and not (0 <= entry < rows and highest == levels[entry] - 1 == levels.max() - 1):
        raise ValueError("index: the graph's entry is not where it must be")
    _check_reach(levels, ends, links, links_to)


def _check_reach(levels: np.ndarray, ends: np.ndarray, links: np.ndarray, links_to: np.ndarray) -> None:
    """On each level above the lowest, links lead to rows that have that level."""
    for row in np.flatnonzero(levels > 1):
        own = links[int(ends[row]) : int(ends[row + 1])]
        for level in range(1, levels[row]):
            there = own[links_to[level] : links_to[level + 1]]
            if (levels[there[there >= 0]] <= level).any():
                raise ValueError("index: a link leads to a row that is not on its level")


def _check_rows(file: _Reader, dimension: int, rows: int) -> None:
    kind, inner_dimension, inner_rows = _header(file)[0:3]
    if kind != b"IxSQ" or (inner_dimension, inner_rows) != (dimension, rows):
        raise ValueError("index: the rows are not those of the graph")
    quantiser, _, _, quantised, row_bytes = file.one(_QUANTISER)
    ranges, codes = file.array(np.float32), file.array(np.uint8)
    if quantiser != _EIGHT_BITS or quantised != dimension or row_bytes != dimension:
        raise ValueError("index: the rows are not of 8 bits a number")
    if len(ranges) != 2 * dimension or len(codes) != rows * dimension:
        raise ValueError("index: not of so many rows")
