"""The load test: its times, its choice of requests, its percentiles, its bounds, and one real run."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from conftest import Launch, RunningServer
from hypothesis import given
from hypothesis import strategies as st

from retriever.interaction import Request
from rewrite_service.load_sweep import as_table, capacity, plot, sweep
from rewrite_service.loadtest import (
    Arrivals,
    Latency,
    LoadReport,
    LoadTestError,
    Mix,
    as_sent,
    is_loopback,
    misspelt,
    percentile,
    pick,
    read_requests,
    run_loadtest,
    schedule,
)
from rewrite_service.pb import rewrite_pb2 as pb
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


@pytest.fixture(scope="module")
def patient(launch: Launch) -> RunningServer:
    """A server that refuses nobody, however busy its core is with others' work."""
    return launch(default_deadline_ms=60_000, max_in_flight=10_000, max_wait_ms=60_000)


def test_against_a_server(patient: RunningServer):
    requests = read_requests(None)
    begun = time.perf_counter()
    report = run_loadtest(patient.address, rate=50, seconds=2, requests=requests, arrivals=Arrivals.FIXED)
    took_s = time.perf_counter() - begun
    assert report.errors == {}
    assert report.sent == report.answered == sum(report.decisions.values()) == 100
    assert 100 / took_s <= report.achieved_rate <= 50
    assert report.latency is not None
    told = report.latency
    assert 0 < told.p50_ms <= told.p90_ms <= told.p99_ms <= told.max_ms < 1000 * took_s
    assert json.loads(json.dumps(report.as_dict()))["latency"]["p50_ms"] == report.latency.p50_ms
    assert report.as_table().row_count >= 8


def test_errors_are_counted_by_code(server: RunningServer):
    too_long = _request("u", "x" * 1001)
    report = run_loadtest(server.address, rate=20, seconds=1, requests=[too_long], arrivals=Arrivals.FIXED)
    assert (report.errors, report.answered, report.latency) == ({"INVALID_ARGUMENT": 20}, 0, None)


class TestMixes:
    TIMES = (0.0, 0.5, 12.0)

    def sent(self, mix: Mix) -> list[pb.RewriteRequest]:
        chosen = [_request("u", "play the amazing spider man")] * 3
        raw = as_sent(chosen, self.TIMES, mix, 1_000_000, random.Random(1))
        return [pb.RewriteRequest.FromString(r) for r in raw]

    def test_every_request_is_a_turn_of_its_own_at_its_own_time(self):
        sent = self.sent(Mix.USUAL)
        assert len({m.interaction_id for m in sent}) == 3
        assert [m.timestamp_ms for m in sent] == [1_000_000, 1_000_500, 1_012_000]
        assert {m.query for m in sent} == {"play the amazing spider man"}

    def test_repeated_ones_are_of_one_moment(self):
        assert {m.timestamp_ms for m in self.sent(Mix.REPEATED)} == {1_000_000}

    def test_fresh_ones_were_never_heard(self):
        assert len({m.query for m in self.sent(Mix.FRESH)} - {"play the amazing spider man"}) == 3

    @given(st.text(max_size=30), st.integers())
    def test_a_misspelling_changes_two_letters_at_most_and_no_length(self, text, seed):
        other = misspelt(text, random.Random(seed))
        assert len(other) == len(text) and sum(a != b for a, b in zip(text, other, strict=True)) == min(
            2, sum(c.isalpha() for c in text)
        )


def test_the_mixes_do_what_they_say(patient: RunningServer):
    requests = read_requests(None)
    remembered = {
        mix: run_loadtest(patient.address, 40, 3, requests, mix=mix, arrivals=Arrivals.FIXED).remembered for mix in Mix
    }
    assert remembered[Mix.FRESH] <= 2 and remembered[Mix.REPEATED] >= 90


def _report(rate: float, p99: float, errors: int = 0, achieved: float | None = None) -> LoadReport:
    sent = int(rate * 10)
    answered = sent - errors
    return LoadReport("t", rate, 10.0, sent, answered, achieved or answered / 10, Latency(1, 2, p99, 2 * p99), 0.1,
                      {"UNAVAILABLE": errors} if errors else {})  # fmt: skip


class TestSweep:
    def test_it_finds_the_rate_at_which_the_budget_breaks(self):
        asked = []

        def server_that_bears_700(rate: float) -> LoadReport:
            asked.append(rate)
            return _report(rate, 5.0 if rate <= 700 else 60.0)

        reports = sweep(server_that_bears_700, 100, 20.0)
        assert [r.rate for r in reports] == sorted(asked) and len(asked) <= 9
        assert 0.85 * 700 <= capacity(reports, 20.0) <= 700

    def test_a_server_too_slow_from_the_first_has_no_capacity(self):
        reports = sweep(lambda rate: _report(rate, 50.0), 100, 20.0)
        assert len(reports) == 1 and capacity(reports, 20.0) == 0

    @pytest.mark.parametrize("report", [_report(100, 25), _report(100, 5, errors=20), _report(100, 5, achieved=80)])
    def test_slow_failing_and_falling_behind_is_not_keeping_up(self, report):
        assert _report(100, 5).keeps(20.0) and not report.keeps(20.0)

    def test_quick_passes_for_want_of_time_are_not_keeping_up(self):
        few, many = ({"pass out_of_time": n, "pass query_looks_fine": 1000 - n} for n in (10, 11))
        assert replace(_report(100, 5), decisions=few).keeps(20.0)
        assert not replace(_report(100, 5), decisions=many).keeps(20.0)

    def test_it_ends_where_nothing_breaks(self):
        assert len(sweep(lambda rate: _report(rate, 1.0), 1, 20.0)) == 16

    def test_table_and_plot(self, tmp_path):
        reports = [_report(100, 5), _report(200, 30)]
        assert as_table(reports, 20).row_count == 2
        plot(reports, 20, tmp_path / "plot.svg")
        assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
