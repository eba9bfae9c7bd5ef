"""How much of what got no answer was overheard, on counts whose truth is plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.labels.overheard import NONE, Overheard


def texts(*bands: tuple[float, float]) -> list[tuple[float, float, float]]:
    """A hundred texts of ten turns for each band of resemblance, with the share of its turns that was repaired."""
    return [(at + n / 1000, 10.0, 10.0 * repaired) for at, repaired in bands for n in range(100)]


def test_the_share_that_is_missing_was_overheard() -> None:
    found = Overheard.fit(texts((0, 0.1), (1, 0.4), (2, 0.4), (3, 0.4)))
    assert found.share(0.05) == pytest.approx(0.75) and found.repaired == pytest.approx(0.4)
    assert found.share(2) == found.share(3) == 0
    w = found.share(0.05)
    assert found.probability(0.05) == pytest.approx(w / (w + (1 - w) * 0.6))


def test_without_a_difference_there_is_none() -> None:
    found = Overheard.fit(texts((0, 0.4), (1, 0.4), (2, 0.35), (3, 0.38)))
    assert set(found.shares) == {0.0}


def test_more_than_half_may_be_overheard() -> None:
    found = Overheard.fit(texts((0, 0.0), (0.2, 0.0), (0.4, 0.0), (1, 0.4), (2, 0.4)))
    assert found.share(0.1) > 0.85 and found.share(0.45) > 0.85 and found.share(2) == 0


def test_a_difference_that_may_be_chance_is_none() -> None:
    assert set(Overheard.fit(texts((0, 0.3), (1, 0.4), (2, 0.4), (3, 0.4))).shares) == {0.0}


def test_a_short_log_tells_nothing() -> None:
    assert Overheard.fit([]) == NONE
    assert Overheard.fit([(0.0, 1e6, 0.0), (2.0, 1e6, 1e6)]) == NONE, "however often these few texts were said"
    assert NONE.probability(0.0) == 0.0


ROWS = st.tuples(st.floats(0, 9), st.floats(0.1, 1e6), st.floats(0, 1)).map(lambda r: (r[0], r[1], r[1] * r[2]))


@given(rows=st.lists(ROWS, max_size=240), at=st.floats(0, 9))
def test_of_any_counts(rows: list[tuple[float, float, float]], at: float) -> None:
    found = Overheard.fit(rows)
    assert 0 <= found.share(at) <= 1 and 0 <= found.probability(at) <= 1
    assert list(found.shares) == sorted(found.shares, reverse=True), "the less it resembles, the likelier"
    assert len(found.shares) == len(found.edges) + 1
