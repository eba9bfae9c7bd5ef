"""The figures of `make bench-speed`: each is said what it is, taken from its part, and null where that was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import speed

KEYS_OF_THE_AIMS = (
    "uncached_p50_ms", "uncached_p99_ms", "capacity_per_core", "cost_over_native_floor", "cached_over_bare_echo",
    "capacity_over_obvious_service", "two_workers_over_one", "p99_1m_over_10k", "ready_s_100k",
    "over_budget_p99_ms_slow_encoder", "over_budget_p99_ms_slow_store", "failed_answers",
)  # fmt: skip
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


def a_report(p50: float, p99: float, **errors: int) -> dict[str, Any]:
    latency = {"p50_ms": p50, "p90_ms": p99, "p99_ms": p99, "max_ms": p99}
    return {"latency": latency, "achieved_rate": 290.0, "sent": 1000, "errors": errors, "decisions": {}}


@pytest.fixture
def found() -> dict[str, Any]:
    def run(p50: float, capacity: float, **errors: int) -> dict[str, Any]:
        return {"at_rate": a_report(p50, 9 * p50, **errors), "kept_up_at_rate": True, "capacity": capacity}

    broke = a_report(1, 2) | {"decisions": {"pass internal_error": 3, "rewrite global": 5}}
    sizes = [
        {"texts": n, "fresh_failed": 0, "fresh_sent": 10, "usual_failed": 1, "usual_sent": 20}
        for n in (10_000, 100_000, 1_000_000)
    ]
    return {
        "ready": {"median_s": 2.5},
        "capacity": {"mixes": {speed.UNCACHED: run(1.5, 500, UNAVAILABLE=2), speed.NATURAL: run(0.5, 900),
                               speed.CACHED: run(0.2, 1500)}},
        "native_parts": {"median_ratio": 1.4},
        "echo": {"median_share": {"remembered decision": 0.61}},
        "workers": {"median_ratio": 1.9},
        "slow_parts": {"budget_ms": 20, "phases": {"encoder slow": a_report(5, 21.5), "store slow": broke}},
        "against": {"mixes": {"fresh": {"saturated_ratio": 11.0}, "usual": {"saturated_ratio": 30.0}}},
        "growth": {"results": sizes, "p99_largest_over_smallest": {"fresh": 1.2, "usual": 1.1}},
    }  # fmt: skip


def test_figures_come_from_their_parts(found: dict[str, Any]) -> None:
    figures = speed.keys(found)
    assert figures["uncached_p50_ms"] == 1.5 and figures["uncached_p99_ms"] == 13.5
    assert figures["capacity_per_core"] == 500 and figures["natural_capacity_per_core"] == 900
    assert figures["over_budget_p99_ms_slow_encoder"] == 1.5 and figures["over_budget_p99_ms_slow_store"] == -18
    assert figures["p99_1m_over_10k"] == 1.2 and figures["capacity_over_obvious_service"] == 11.0
    assert figures["failed_answers"] == 2 + 3 + 3, "errors, what broke inside, and those of growth"
    assert figures["failed_answers_of"] == 3 * 1000 + 2 * 1000 + 3 * 30
    assert None not in figures.values()


def test_a_smaller_growth_gives_no_figure_for_a_million(found: dict[str, Any]) -> None:
    found["growth"]["results"].pop()
    assert speed.keys(found)["p99_1m_over_10k"] is None


def test_what_was_left_out_is_null_and_nothing_else() -> None:
    figures = {key: value for key, value in speed.keys({}).items() if value is not None}
    assert figures == {"failed_answers": 0, "failed_answers_of": 0}


def test_every_figure_is_defined() -> None:
    document = DOCUMENT.read_text()
    for key in speed.keys({}):
        assert key in (speed.__doc__ or ""), f"{key}: say what it is in benchmarks/serving/speed.py"
    for key in KEYS_OF_THE_AIMS:
        assert key in speed.keys({}) and key in document, f"{key}: say what it is in docs/performance.md"
