"""Counts in bounded memory against slow twins that hold everything."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mining.counting import Distinct, Frequent


@given(st.lists(st.integers(0, 30)))
def test_while_all_fit_the_counts_are_exact(numbers: list[int]) -> None:
    distinct, frequent = Distinct(100), Frequent(100)
    for number in numbers:
        distinct.add(str(number))
        frequent.add(number)
    assert distinct.is_exact and distinct.different == len(set(numbers))
    assert distinct.again == len(numbers) - len(set(numbers))
    assert frequent.highest == max(Counter(numbers).values(), default=0)


def test_beyond_that_they_are_near_and_memory_is_bounded() -> None:
    distinct = Distinct(2000)
    for number in range(30_000):
        distinct.add(str(number))
        if number % 3 == 0:
            distinct.add(str(number))
    assert not distinct.is_exact and len(distinct._seen) <= 2000
    assert abs(distinct.different / 30_000 - 1) < 0.15 and abs(distinct.again / 10_000 - 1) < 0.2


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 10))
def test_who_is_frequent_enough_is_found(numbers: list[int], most: int) -> None:
    frequent = Frequent(most)
    for number in numbers:
        frequent.add(number)
    true = max(Counter(numbers).values())
    assert len(frequent._counts) <= most
    assert true - len(numbers) / (most + 1) <= frequent.highest <= true
