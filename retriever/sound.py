"""How a text sounds: a phonetic key, and a dense vector in which texts that sound alike lie near each other.

Both go by broad classes of phonemes (one for all vowels, one for "p" and "b", ...), since a recogniser mistakes one
member of a class for another, and run over word borders, since it breaks words at other places than the speaker ("dew
berry" for "dewberry"). The vector is a hashed bag of n-grams of classes (feature hashing with signs, Weinberger et al.
2009, "Feature hashing for large scale multitask learning"), weighted by how rare each n-gram is among requests, so that
the words of a frame ("what's the weather in") weigh less than the name that follows. `retriever.hearing` compares
finer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from retriever.pronunciation import ALPHABET, PHONEMES, pronounce
from retriever.remember import remember

DIMENSION = 512
_BUCKETS = 1 << 15
_CLASSES = {
    "a": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
    "p": "P B",
    "t": "T D",
    "k": "K G",
    "f": "F V TH DH",
    "s": "S Z SH ZH",
    "j": "CH JH",
    "n": "M N NG",
    "l": "L",
    "r": "R",
    "w": "W",
    "y": "Y",
    "h": "HH",
}


def _class_table() -> bytes:
    table = bytearray(256)
    for name, members in _CLASSES.items():
        for member in members.split():
            table[PHONEMES.index(member) + 1] = ord(name)
    assert all(table[1:ALPHABET])
    return bytes(table)


_CLASS_OF = _class_table()


@remember()
def sound_classes(text: str) -> str:
    """The text in normal form as broad phonetic classes, one letter a phoneme, words run together. "" for ""."""
    return pronounce(text).translate(_CLASS_OF).decode("ascii")


@remember()
def sound_key(text: str) -> str:
    """The consonants of the text by class, with the vowels that begin words: what is left of it when vowels blur."""
    return "".join(map(word_key, text.split()))


@remember()
def word_key(word: str) -> str:
    """`sound_key` of one word."""
    classes = sound_classes(word)
    return classes[:1] + classes[1:].replace("a", "")


@remember(8192)  # kilobytes each
def _buckets(text: str) -> np.ndarray:
    """int64 (n,): the hash buckets of the text's n-grams, one entry an occurrence."""
    classes = f"^{sound_classes(text)}$" if text else ""
    grams = [classes[i : i + n] for n in (2, 3) for i in range(len(classes) - n + 1)]
    return np.array([_bucket(g) for g in grams], dtype=np.int64)


@cache
def _bucket(gram: str) -> int:
    """Of two or three classes: there are some thousands of them in all."""
    # crc32, not hash(): the same on every machine and in every process.
    return zlib.crc32(gram.encode()) % _BUCKETS


class SoundSpace:
    """Maps texts to unit vectors of `DIMENSION` floats; cosine of two vectors is likeness of sound, about 0 to 1."""

    def __init__(self, weights: np.ndarray) -> None:
        """`weights`: float32 (32768,), the weight of each hash bucket, > 0 (see `fit`)."""
        if weights.shape != (_BUCKETS,):
            raise ValueError(f"weights: expected shape ({_BUCKETS},), got {weights.shape}")
        self.weights = weights.astype(np.float32)
        # Where each bucket lands in the dense vector, and with which sign: fixed, so vectors of any two builds compare.
        rng = np.random.Generator(np.random.PCG64(20260105))
        self._column = rng.integers(0, DIMENSION, _BUCKETS)
        self._signed = self.weights * rng.choice(np.array([-1.0, 1.0], dtype=np.float32), _BUCKETS)

    @classmethod
    def fit(cls, texts: Iterable[str]) -> SoundSpace:
        """Weights from the texts of a log: inverse document frequency, smoothed."""
        seen, n = np.zeros(_BUCKETS), 0
        for text in texts:
            seen[np.unique(_buckets(text))] += 1
            n += 1
        return cls(np.log((n + 2) / (seen + 1)).astype(np.float32))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, 512), rows of unit length; the row of a text without letters is all zeros."""
        out = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            b = _buckets(text)
            if len(b):
                row[:] = np.bincount(self._column[b], weights=self._signed[b], minlength=DIMENSION)
                norm = float(np.sqrt(row @ row))
                if norm > 0:
                    row /= norm
        return out
