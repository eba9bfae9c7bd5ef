"""The cache of vectors: what the encoder gives, in as many bytes as were allowed, long texts included."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.vector_cache import CachedEncoder

DIMENSION = 8


class Counting:
    """Vectors of a text's letters; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), *map(ord, text[:7].ljust(7))] for text in texts], np.float32)


@given(st.lists(st.lists(st.text(max_size=300), max_size=6), max_size=12), st.integers(0, 3000))
def test_it_gives_what_the_encoder_gives_and_holds_no_more_than_allowed(
    asked: list[list[str]], max_bytes: int
) -> None:
    cache, plain = CachedEncoder(Counting(), DIMENSION, max_bytes), Counting()
    for texts in asked:
        expected = plain.encode(texts) if texts else np.zeros((0, DIMENSION), np.float32)
        np.testing.assert_array_equal(cache.encode(texts), expected)
        assert 0 <= cache.nbytes <= max_bytes
    cache.clear()
    assert cache.nbytes == len(cache) == 0


def test_none_is_kept_where_none_is_allowed() -> None:
    encoder = Counting()
    cache = CachedEncoder(encoder, DIMENSION, 0)
    for _ in range(2):
        cache.encode(["play jazz"])
    cache.put(["stop"], np.zeros((1, DIMENSION)))
    assert encoder.asked == ["play jazz"] * 2 and len(cache) == 0


def test_who_was_asked_for_last_stays_and_a_returned_row_is_the_callers_own() -> None:
    encoder = Counting()
    room = 2 * (4 * DIMENSION + 300)
    cache = CachedEncoder(encoder, DIMENSION, room)
    for text in ("a", "b", "a", "c"):
        cache.encode([text])[:] = -1
    assert "a" in cache and "c" in cache and "b" not in cache
    np.testing.assert_array_equal(cache.encode(["a", "c"]), Counting().encode(["a", "c"]))
    assert encoder.asked == ["a", "b", "c"]


class Zeros:
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), DIMENSION), np.float32)


@pytest.mark.parametrize("letter", ["a", "\N{MUSICAL NOTE}"])
def test_long_texts_take_no_more_memory_than_is_allowed(letter: str) -> None:
    allowed = 200_000
    cache = CachedEncoder(Zeros(), DIMENSION, allowed)
    cache.encode(["warm"])
    tracemalloc.start()
    for n in range(1000):
        cache.encode([f"{n} {letter * 1000}"])
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 10 < len(cache) < 1000
    assert held < 1.3 * allowed


def test_threads_that_ask_for_the_same_leave_the_count_right() -> None:
    cache = CachedEncoder(Counting(), DIMENSION, 1500)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: cache.encode([f"text {n % 9}", f"text {n % 4}"]), range(400)))
    kept = len(cache)
    each = 4 * DIMENSION + 200 + 55
    assert kept and abs(cache.nbytes - kept * each) <= kept
