"""Read-only tables that live in files and are mapped, not loaded: packed strings, and counts by hashed key.

All worker processes share one copy in the page cache, and opening costs the same at a thousand rows and at a million.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from retriever.remember import characters, remember


def hash_once(*parts: str) -> int:
    """`key_hash` of a key that will hardly come again, or whose answer its asker remembers: nothing is kept of it."""
    return int.from_bytes(
        hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=8).digest(), "little"
    )


@remember(size=characters)
def key_hash(*parts: str) -> int:
    """64-bit hash of a key, the same on every machine (BLAKE2b). Parts are kept apart: ("ab", "c") != ("a", "bc")."""
    return hash_once(*parts)


def _open(path: Path) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)  # a plain ndarray over the mapping: indexing a memmap object is several times slower


class PackedStrings(Sequence[str]):
    """A sequence of strings as one UTF-8 blob and its offsets (int64, n + 1)."""

    def __init__(self, blob: np.ndarray, offsets: np.ndarray) -> None:
        self._blob, self._offsets = blob, offsets
        # Python's own view of the same memory: of single numbers it makes ints several times quicker than NumPy.
        self._bytes, self._ends = blob.data, offsets.data

    @classmethod
    def pack(cls, strings: Sequence[str]) -> PackedStrings:
        raw = [s.encode("utf-8", "replace") for s in strings]
        offsets = np.zeros(len(raw) + 1, dtype=np.int64)
        np.cumsum([len(r) for r in raw], out=offsets[1:])
        return cls(np.frombuffer(b"".join(raw), dtype=np.uint8), offsets)

    @classmethod
    def open(cls, directory: Path, name: str) -> PackedStrings:
        return cls(_open(directory / f"{name}.blob.npy"), _open(directory / f"{name}.offsets.npy"))

    def save(self, directory: Path, name: str) -> None:
        np.save(directory / f"{name}.blob.npy", self._blob)
        np.save(directory / f"{name}.offsets.npy", self._offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        return str(self._bytes[self._ends[i] : self._ends[i + 1]], "utf-8")


class HashCounts:
    """Numbers by key, where only the key's hash is kept: what was said can be looked up but not read out.

    `values`: float32 (n, columns), in the order of `hashes`, uint64 (n,), ascending.
    """

    def __init__(self, hashes: np.ndarray, values: np.ndarray) -> None:
        self.hashes, self.values = hashes, values
        self._sorted = hashes.data
        self._zero = np.zeros(values.shape[1], dtype=np.float32)
        self._zero.flags.writeable = False

    @classmethod
    def pack(cls, counts: Mapping[int, Sequence[float]], columns: int) -> HashCounts:
        hashes = np.array(sorted(counts), dtype=np.uint64)
        values = np.array([counts[int(h)] for h in hashes], dtype=np.float32).reshape(len(hashes), columns)
        return cls(hashes, values)

    @classmethod
    def open(cls, directory: Path, name: str) -> HashCounts:
        return cls(_open(directory / f"{name}.hashes.npy"), _open(directory / f"{name}.values.npy"))

    def save(self, directory: Path, name: str) -> None:
        np.save(directory / f"{name}.hashes.npy", self.hashes)
        np.save(directory / f"{name}.values.npy", self.values)

    def get(self, *key: str) -> np.ndarray:
        """float32 (columns,), read-only; zeros for an unknown key."""
        wanted = hash_once(*key)
        at = bisect_left(self._sorted, wanted)  # of one key, quicker than NumPy
        found = at < len(self._sorted) and self._sorted[at] == wanted
        return self.values[at] if found else self._zero

    def get_many(self, hashes: Sequence[int]) -> np.ndarray:
        """float32 (n, columns); zeros in the rows of unknown keys."""
        wanted = np.array(hashes, dtype=np.uint64)
        if not len(self.hashes) or not len(wanted):
            return np.zeros((len(wanted), self.values.shape[1]), dtype=np.float32)
        at = self.hashes.searchsorted(wanted)
        at[at == len(self.hashes)] = 0
        out = self.values.take(at, axis=0)
        out[self.hashes.take(at) != wanted] = 0
        return out

    def __len__(self) -> int:
        return len(self.hashes)


class PackedMap:
    """Bytes by hashed key. `hashes`: uint64 (n,), ascending; `blob`, `offsets`: the values one after another."""

    def __init__(self, hashes: np.ndarray, blob: np.ndarray, offsets: np.ndarray) -> None:
        self._hashes, self._blob, self._offsets = hashes, blob, offsets
        self._sorted, self._bytes, self._ends = hashes.data, blob.data, offsets.data

    @classmethod
    def pack(cls, values: Mapping[int, bytes]) -> PackedMap:
        """`values`: by `key_hash`."""
        keys = sorted(values)
        offsets = np.zeros(len(keys) + 1, dtype=np.int32)
        np.cumsum([len(values[k]) for k in keys], out=offsets[1:])
        blob = np.frombuffer(b"".join(values[k] for k in keys), dtype=np.uint8)
        return cls(np.array(keys, dtype=np.uint64), blob, offsets)

    @classmethod
    def open(cls, directory: Path, name: str) -> PackedMap:
        return cls(*(_open(directory / f"{name}.{part}.npy") for part in ("hashes", "blob", "offsets")))

    def save(self, directory: Path, name: str) -> None:
        for part in ("hashes", "blob", "offsets"):
            np.save(directory / f"{name}.{part}.npy", getattr(self, f"_{part}"))

    def __len__(self) -> int:
        return len(self._hashes)

    def get(self, *key: str) -> bytes | None:
        wanted = hash_once(*key)
        at = bisect_left(self._sorted, wanted)
        if at == len(self._sorted) or self._sorted[at] != wanted:
            return None
        return bytes(self._bytes[self._ends[at] : self._ends[at + 1]])
