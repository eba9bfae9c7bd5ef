"""Counts over a stream of any length, in bounded memory: how many differ, how many come again, who is frequent."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b


class Distinct:
    """How many different keys there were, and how many times one came again. Exact while they fit; beyond, of a sample
    by hash, which is halved each time it is full (adaptive sampling: Flajolet 1990). `most`: keys held."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._shift = 0
        self._seen: dict[int, int] = {}

    def add(self, key: str) -> None:
        number = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        if number & ((1 << self._shift) - 1):
            return
        self._seen[number] = self._seen.get(number, 0) + 1
        while len(self._seen) > self._most:
            self._shift += 1
            mask = (1 << self._shift) - 1
            self._seen = {n: times for n, times in self._seen.items() if not n & mask}

    @property
    def is_exact(self) -> bool:
        return self._shift == 0

    @property
    def different(self) -> int:
        return len(self._seen) << self._shift

    @property
    def again(self) -> int:
        return sum(times - 1 for times in self._seen.values()) << self._shift


class Frequent:
    """The most frequent keys: any that is more than one in `most` of all is found (Misra and Gries 1982)."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._counts: dict[Hashable, int] = {}

    def add(self, key: Hashable) -> None:
        if key in self._counts or len(self._counts) < self._most:
            self._counts[key] = self._counts.get(key, 0) + 1
            return
        self._counts = {k: n - 1 for k, n in self._counts.items() if n > 1}

    @property
    def highest(self) -> int:
        """How often the most frequent came, at least."""
        return max(self._counts.values(), default=0)
