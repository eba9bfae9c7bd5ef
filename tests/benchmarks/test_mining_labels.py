"""The bench of the labels judges by figures and rules that must themselves be right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from benchmarks.mining.labels import average_precision
from benchmarks.mining.log_agreement import agreement, beside
from benchmarks.mining.plain_rules import PlainRule
from mining.defects import assess
from tests.turns import NOON_S, turn


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_average_precision_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    p, failed = (np.array(column) for column in zip(*rows, strict=True))
    if failed.any():
        assert average_precision(p / 6, failed) == pytest.approx(average_precision_score(failed, p))


def test_the_plain_rule_takes_what_comes_soon_and_is_alike() -> None:
    turns = [turn("play ago", 0), turn("play go", 9, "Film"), turn("stop", 12, "Stop"), turn("stop it", 60, "Stop")]
    assert PlainRule(10, 0.6).rephrases(turns) == [1, None, None, None]
    assert PlainRule(60, 0.6).rephrases(turns) == [1, None, 3, None]
    assert PlainRule(10, 0.6).failed(turns) == [True, False, False, False]
    people = [(turns, assess(turns))]
    assert PlainRule.for_rephrases(people).rephrases(turns) == [1, None, None, None]


def test_earlier_days_confirm_or_contradict() -> None:
    turns = []
    for at in (0, 9000, 18_000):
        turns += [turn("play ago", at), turn("play go", at + 9, "Film"), turn("stop", at + 12, "Stop")]
    right = {"ann": [1, None, None, 4, None, None, 7, None, None]}
    wrong = {"ann": [1, None, None, 4, None, None, 8, None, None]}
    from_ms = (NOON_S + 18_000) * 1000
    told = agreement({"ann": turns}, {"one": right, "other": wrong}, from_ms)
    assert told["one"] == {"labelled": 1, "confirmed": 1, "contradicted": 0}
    assert told["other"] == {"labelled": 1, "confirmed": 0, "contradicted": 1}
    assert beside({"ann": [None, 2]}, {"ann": [1, 3]}) == {"ann": [1, 2]}
