"""What a stage is expected to cost, and what is left out when time is short."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite_service.stages import WINDOW, StageClock, StageCosts


def test_what_has_not_run_costs_what_was_said_first() -> None:
    assert StageCosts({"load": 0.01}).expected("load") == 0.01


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=3 * WINDOW))
def test_the_expectation_is_the_median_of_the_last_runs(seconds: list[float]) -> None:
    costs = StageCosts({"load": 0.01})
    for taken in seconds:
        costs.observe("load", taken, now=5.0)
    last = sorted(seconds[-WINDOW:])
    assert costs.expected("load", now=5.0) == last[len(last) // 2]


def test_a_stage_that_turns_slow_is_known_as_such_within_a_few_runs() -> None:
    costs = StageCosts({"load": 0.01})
    for _ in range(200):
        costs.observe("load", 0.002, now=1.0)
    needed = 0
    while costs.expected("load", now=1.0) < 0.2:
        costs.observe("load", 0.2, now=1.0)
        needed += 1
    assert needed <= 5


def test_one_slow_run_is_no_reason_to_leave_a_stage_out() -> None:
    costs = StageCosts({"load": 0.01})
    for taken in (0.002, 0.002, 0.002, 0.5):
        costs.observe("load", taken, now=1.0)
    assert costs.expected("load", now=1.0) == 0.002


def test_what_was_slow_is_tried_again_after_a_while_and_one_quick_run_settles_it() -> None:
    costs = StageCosts({"load": 0.01})
    for _ in range(WINDOW):
        costs.observe("load", 0.2, now=100.0)
    assert costs.expected("load", now=100.9) == 0.2
    waits = [costs.expected("load", now=100.0 + s) for s in range(1, 8)]
    assert waits == sorted(waits, reverse=True) and waits[-1] < 0.01
    costs.observe("load", 0.002, now=107.0)
    assert costs.expected("load", now=107.0) == 0.002
    costs.observe("load", 0.2, now=120.0)
    assert costs.expected("load", now=120.0) == 0.2, "and one slow run as well"


def test_stages_fit_while_they_end_in_time() -> None:
    costs = StageCosts({"meaning": 300.0, "rank": 300.0})
    clock = StageClock(time.monotonic() + 500, costs)
    assert clock.fits("meaning", "meaning") and clock.skipped == []
    assert not clock.fits("meaning", "meaning", "rank") and clock.skipped == ["meaning"]
    assert StageClock(None, costs).fits("meaning", "meaning", "rank")


def test_runs_are_observed_under_the_name_that_is_asked_for() -> None:
    costs = StageCosts({"meaning": 9.0, "encode": 9.0})
    clock = StageClock(None, costs)
    with clock.stage("encode", "meaning"):
        pass
    assert costs.expected("meaning") < 1 and costs.expected("encode") == 9.0
    with clock.stage("encode", None):
        pass
    assert costs.expected("encode") == 9.0 and set(clock.stage_us) == {"encode"}
    with pytest.raises(RuntimeError), clock.stage("encode"):
        raise RuntimeError
    assert costs.expected("encode") < 1, "a run that failed has cost time all the same"
