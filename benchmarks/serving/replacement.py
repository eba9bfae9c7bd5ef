"""Which entry a full cache should drop: LRU against W-TinyLFU, on a Zipf stream and on a log's own.

Hit rates of the two policies at the same number of entries. W-TinyLFU as in Einziger, Friedman and Manes 2017
("TinyLFU: a highly efficient cache admission policy"): a window of 1 %, a segmented LRU behind it (80 % protected), and
admission by frequency, here counted exactly and halved every ten cache sizes, which flatters it a little. Beside them
LRU with twice the entries: what more memory brings in place of a better policy.

usage: python -m benchmarks.serving.replacement LOG
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from benchmarks.quality.tables import keep, percent, show
from mining.reader import read_log
from retriever.normalise import normalise

ZIPF_KEYS, ZIPF_DRAWS = 50_000, 300_000


def lru(stream: Iterable[Hashable], size: int) -> float:
    held: OrderedDict[Hashable, None] = OrderedDict()
    hits = total = 0
    for key in stream:
        total += 1
        if key in held:
            hits += 1
            held.move_to_end(key)
        else:
            held[key] = None
            if len(held) > size:
                held.popitem(last=False)
    return hits / total


class TinyLfu:
    """Holds `size` keys: a window, and behind it a segmented LRU that only takes what is asked for more often."""

    def __init__(self, size: int) -> None:
        self._in_window, self._in_main = max(1, size // 100), size - max(1, size // 100)
        self._in_protected = int(0.8 * self._in_main)
        self._window: OrderedDict[Hashable, None] = OrderedDict()
        self._probation: OrderedDict[Hashable, None] = OrderedDict()
        self._protected: OrderedDict[Hashable, None] = OrderedDict()
        self._counts: Counter[Hashable] = Counter()
        self._age, self._ages_at = 0, 10 * size

    def ask(self, key: Hashable) -> bool:
        """Whether the key was held; it may be afterwards."""
        self._count(key)
        if key in self._window:
            self._window.move_to_end(key)
        elif key in self._protected:
            self._protected.move_to_end(key)
        elif key in self._probation:
            del self._probation[key]
            self._protected[key] = None
            if len(self._protected) > self._in_protected:
                demoted, _ = self._protected.popitem(last=False)
                self._probation[demoted] = None
        else:
            self._window[key] = None
            if len(self._window) > self._in_window:
                self._admit(self._window.popitem(last=False)[0])
            return False
        return True

    def _count(self, key: Hashable) -> None:
        self._counts[key] += 1
        self._age += 1
        if self._age >= self._ages_at:
            self._age = 0
            self._counts = Counter({k: n // 2 for k, n in self._counts.items() if n > 1})

    def _admit(self, candidate: Hashable) -> None:
        if len(self._probation) + len(self._protected) < self._in_main:
            self._probation[candidate] = None
            return
        victim = next(iter(self._probation or self._protected))
        if self._counts[candidate] > self._counts[victim]:
            (self._probation or self._protected).popitem(last=False)
            self._probation[candidate] = None


def tiny_lfu(stream: Iterable[Hashable], size: int) -> float:
    cache, asked = TinyLfu(size), [0, 0]
    for key in stream:
        asked[cache.ask(key)] += 1
    return asked[1] / sum(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    asked = parser.parse_args()
    turns = read_log([asked.log]).turns
    rng = random.Random(1)
    weights = list(accumulate(1 / rank for rank in range(1, ZIPF_KEYS + 1)))
    streams: dict[str, Sequence[Hashable]] = {
        "Zipf, s = 1": rng.choices(range(ZIPF_KEYS), cum_weights=weights, k=ZIPF_DRAWS),
        "texts of the log": [normalise(t.request.query) for t in turns],
        "users of the log": [t.request.user_id for t in turns],
        "decisions: user and text, within 10 s": [
            (t.request.user_id, normalise(t.request.query), t.request.timestamp_ms // 10_000) for t in turns
        ],
    }
    rows, kept = [], {}
    for name, stream in streams.items():
        different = len(set(stream))
        for share in (0.01, 0.05, 0.2):
            size = max(100 if different > 1000 else 5, int(share * different))
            rates = lru(stream, size), tiny_lfu(stream, size), lru(stream, 2 * size)
            rows.append((name, different, size, *map(percent, rates)))
            named = dict(zip(("lru", "w_tiny_lfu", "lru_of_twice"), (round(rate, 4) for rate in rates), strict=True))
            kept.setdefault(name, []).append({"different": different, "size": size, **named})
    show("hit rates", ("stream", "different", "held", "LRU", "W-TinyLFU", "LRU, twice as many"), rows)
    keep("replacement", {"results": kept})


if __name__ == "__main__":
    main()
