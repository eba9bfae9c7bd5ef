"""So many a second, so many at the same time; with a clock that the test turns."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite_service.access.quota import Quota, TokenBucket
from rewrite_service.errors import Overloaded


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.floats(-1, 10), min_size=1, max_size=200),
)
def test_no_span_of_time_sees_more_than_rate_and_burst(rate: float, burst: int, gaps: list[float]) -> None:
    """Also where the clock goes back, which it must not."""
    now = [0.0]
    bucket = TokenBucket(rate, burst, lambda: now[0])
    taken: list[float] = []
    for gap in gaps:
        now[0] += gap
        wait = bucket.take()
        if wait == 0:
            taken.append(now[0])
        else:
            assert 0 < wait <= 1 / rate + 1e-9
    latest = 0.0
    taken = [latest := max(latest, at) for at in taken]
    back = sum(-gap for gap in gaps if gap < 0)
    for i, begin in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= burst + rate * (taken[j] - begin + back) + 1e-6


def test_after_the_wait_it_said_there_is_one() -> None:
    now = [0.0]
    bucket = TokenBucket(4, 2, lambda: now[0])
    assert [bucket.take(), bucket.take()] == [0, 0]
    wait = bucket.take()
    now[0] += wait - 0.001
    assert bucket.take() > 0
    now[0] += 0.002
    assert bucket.take() == 0


def test_a_rate_below_one_a_second_lets_the_first_in() -> None:
    quota = Quota(rate=0.1, clock=lambda: 0.0)
    quota.take()
    with pytest.raises(Overloaded) as raised:
        quota.take()
    assert raised.value.retry_after_s == pytest.approx(10)


def test_so_many_calls_at_the_same_time_and_no_place_is_lost() -> None:
    quota = Quota(calls=2)
    with quota, quota:
        for _ in range(3):
            with pytest.raises(Overloaded), quota:
                pass
        assert quota.inside == 2
    with pytest.raises(KeyError), quota:
        raise KeyError
    assert quota.inside == 0


def test_no_bound_is_no_bound() -> None:
    quota = Quota()
    with ExitStack() as under_way:
        for _ in range(1000):
            quota.take()
            under_way.enter_context(quota)
        assert quota.inside == 1000
    assert quota.inside == 0
