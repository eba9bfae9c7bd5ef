"""The load test: its times, its choice of requests, its percentiles, its bounds, and one real run."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from conftest import RunningServer
from hypothesis import given
from hypothesis import strategies as st

from retriever.interaction import Request
from rewrite_service.loadtest import (
    Arrivals,
    LoadTestError,
    is_loopback,
    percentile,
    pick,
    read_requests,
    run_loadtest,
    schedule,
)
from rewrite_service.sample.generate import write


def _request(user: str, query: str) -> Request:
    return Request(f"{user}-{query}", user, 1_767_571_200_000, query)


class TestPercentile:
    @given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
    def test_like_its_definition(self, values, share):
        ordered = sorted(values)
        enough = [v for v in ordered if sum(w <= v for w in ordered) >= share * len(ordered)]
        assert percentile(ordered, share) == min(enough)

    def test_known_values(self):
        ordered = [float(n) for n in range(1, 101)]
        assert [percentile(ordered, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]

    @pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
    def test_refuses_what_makes_no_sense(self, values, share):
        with pytest.raises(ValueError):
            percentile(values, share)


class TestSchedule:
    @given(st.floats(0.5, 500), st.floats(0.1, 5), st.sampled_from(Arrivals))
    def test_ascending_and_inside_the_time(self, rate, seconds, arrivals):
        times = schedule(rate, seconds, arrivals, random.Random(1))
        assert all(a <= b for a, b in pairwise(times))
        assert all(0 <= t < seconds for t in times)

    def test_fixed_is_even(self):
        assert schedule(4, 1, Arrivals.FIXED, random.Random(1)) == [0, 0.25, 0.5, 0.75]

    def test_poisson_has_the_rate_and_uneven_gaps(self):
        times = schedule(200, 50, Arrivals.POISSON, random.Random(1))
        assert len(times) == pytest.approx(10_000, rel=0.05)
        gaps = [b - a for a, b in pairwise(times)]
        assert sum(gap > 1 / 200 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)  # 1/e

    def test_the_same_seed_is_the_same_schedule(self):
        first, second = (schedule(50, 2, Arrivals.POISSON, random.Random(3)) for _ in range(2))
        assert first == second

    @pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, 1e9), (1e6, 60), (float("nan"), 1)])
    def test_bounds(self, rate, seconds):
        with pytest.raises(LoadTestError):
            schedule(rate, seconds, Arrivals.POISSON, random.Random(1))


class TestPick:
    def test_follows_zipf_over_users_and_over_their_requests(self):
        log = [_request("often", "a")] * 3 + [_request("often", "b")] * 2 + [_request("seldom", "c")]
        counts = Counter(r.query for r in pick(log, 9000, random.Random(1)))
        assert counts["a"] == pytest.approx(4000, rel=0.05)  # 2/3 of users, 2/3 of hers
        assert counts["b"] == pytest.approx(2000, rel=0.1)
        assert counts["c"] == pytest.approx(3000, rel=0.07)

    def test_nothing_to_pick_from(self):
        with pytest.raises(LoadTestError):
            pick([], 1, random.Random(1))


class TestTarget:
    @pytest.mark.parametrize("target", ["127.0.0.1:50051", "localhost:1", "[::1]:50051", "127.9.9.9:2", "unix:/a/b"])
    def test_this_machine(self, target):
        assert is_loopback(target)

    @pytest.mark.parametrize(
        "target", ["0.0.0.0:50051", "10.0.0.1:50051", "localhost.example.org:1", "dns:///localhost:1", "[::]:1", ""]
    )
    def test_another_or_unknown(self, target):
        assert not is_loopback(target)
        with pytest.raises(LoadTestError, match="allow-remote"):
            run_loadtest(target, 1, 1, [_request("u", "q")])

    def test_nobody_there(self):
        with pytest.raises(LoadTestError, match="nothing answers"):
            run_loadtest("127.0.0.1:9", 10, 1, [_request("u", "q")])


class TestRequests:
    def test_of_a_log_and_of_the_sample(self, tmp_path):
        log = tmp_path / "log.jsonl.gz"
        count = write(log, people=4, days=3)
        assert len(read_requests(log)) == count
        assert len(read_requests(None)) > 500


def test_against_a_server(server: RunningServer):
    report = run_loadtest(server.address, rate=50, seconds=2, requests=read_requests(None), arrivals=Arrivals.FIXED)
    assert report.errors == {}
    assert report.sent == report.answered == sum(report.decisions.values()) == 100
    assert report.achieved_rate == pytest.approx(50, rel=0.1)
    assert report.latency is not None
    assert 0 < report.latency.p50_ms <= report.latency.p90_ms <= report.latency.p99_ms <= report.latency.max_ms < 1000
    assert json.loads(json.dumps(report.as_dict()))["latency"]["p50_ms"] == report.latency.p50_ms
    assert report.as_table().row_count >= 8


def test_errors_are_counted_by_code(server: RunningServer):
    too_long = _request("u", "x" * 1001)
    report = run_loadtest(server.address, rate=20, seconds=1, requests=[too_long], arrivals=Arrivals.FIXED)
    assert (report.errors, report.answered, report.latency) == ({"INVALID_ARGUMENT": 20}, 0, None)
