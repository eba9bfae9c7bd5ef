"""The numbers behind the metrics: exact under threads, over processes and restarts, with no labels but their own."""

from __future__ import annotations

from collections import Counter as Tally
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rewrite_service.metrics.catalogue import CACHES, METHODS, STAGES
from rewrite_service.metrics.catalogue import REGISTRY as SERVICE
from rewrite_service.metrics.cells import Counter, Gauge, Histogram, Registry, Text, new_cells
from rewrite_service.metrics.endpoint import CellsCollector
from rewrite_service.metrics.sampling import Follower, Sampler

BOUNDS = (1, 5, 20)
SIZES = st.floats(0, 40) | st.sampled_from([0, 1, 5, 20, 20.000001])


class Sample:
    """One metric of each kind."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.calls = Counter(self.registry, "t_calls", "calls", method=("a", "b"), code=("OK", "BAD"))
        self.inside = Gauge(self.registry, "t_inside", "inside")
        self.oldest = Gauge(self.registry, "t_oldest", "oldest", "least")
        self.sizes = Histogram(self.registry, "t_sizes", "sizes", BOUNDS, 10.0, kind=("x", "y"))
        self.bundle = Text(self.registry, "t_bundle", "bundle", "version")

    def told(self, *memories: memoryview) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = generate_latest(CellsCollector(self.registry, memories or [self.registry.cells])).decode()
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"]), st.sampled_from(["OK", "BAD"])), max_size=30),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["x", "y"]), SIZES), max_size=30),
)
def test_what_several_processes_count_is_what_a_slow_count_says(calls: list, sizes: list) -> None:
    sample = Sample()
    memories = [new_cells(sample.registry) for _ in range(3)]
    for process, memory in enumerate(memories):
        sample.registry.use(memory)
        for _, *key in (call for call in calls if call[0] == process):
            sample.calls.inc(*key)
        for _, kind, size in (s for s in sizes if s[0] == process):
            sample.sizes.observe(size, kind)
    told = sample.told(*memories)
    tally = Tally((method, code) for _, method, code in calls)
    for key in sample.calls.keys:
        assert told["t_calls_total", labels(method=key[0], code=key[1])] == tally[key]
    for kind in ("x", "y"):
        mine = [size for _, k, size in sizes if k == kind]
        for bound in BOUNDS:
            at_most = labels(kind=kind, le=str(bound / 10))
            assert told["t_sizes_bucket", at_most] == sum(size <= bound for size in mine)
        assert told["t_sizes_count", labels(kind=kind)] == len(mine)
        assert told["t_sizes_sum", labels(kind=kind)] == pytest.approx(sum(mine) / 10)


def test_no_count_is_lost_between_threads() -> None:
    sample = Sample()

    def count(_: int) -> None:
        for _ in range(2000):
            sample.calls.inc("a", "OK")
            sample.sizes.observe(3, "x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    told = sample.told()
    assert told["t_calls_total", labels(method="a", code="OK")] == 8000
    assert told["t_sizes_sum", labels(kind="x")] == pytest.approx(2400)


def test_the_next_process_goes_on_counting_where_the_last_one_was_and_takes_no_state_over() -> None:
    sample = Sample()
    memory = new_cells(sample.registry)
    for _ in range(2):
        sample.registry.use(memory)
        assert sample.told(memory)["t_inside", labels()] == 0
        assert ("t_bundle_info", labels(version="v1")) not in sample.told(memory)
        sample.calls.inc("a", "OK")
        sample.inside.set(7)
        sample.bundle.set("v1")
    assert sample.told(memory)["t_calls_total", labels(method="a", code="OK")] == 2
    assert sample.told(memory)["t_inside", labels()] == 7
    assert sample.told(memory)["t_bundle_info", labels(version="v1")] == 1


def test_gauges_are_summed_or_the_least_of_those_that_are_set() -> None:
    sample = Sample()
    memories = [new_cells(sample.registry) for _ in range(3)]
    for memory, value in zip(memories, (3, 5, 0), strict=True):
        sample.registry.use(memory)
        sample.inside.set(value)
        sample.oldest.set(value)
    told = sample.told(*memories)
    assert told["t_inside", labels()] == 8 and told["t_oldest", labels()] == 3


def test_labels_that_were_not_named_are_refused() -> None:
    sample = Sample()
    for wrong in (("a",), ("a", "OK", "more"), ("a", "drop table"), ("", "OK")):
        with pytest.raises(ValueError, match="t_calls"):
            sample.calls.inc(*wrong)
    with pytest.raises(ValueError, match="one already"):
        Counter(sample.registry, "t_calls", "again")
    with pytest.raises(ValueError, match="same value twice"):
        Counter(Registry(), "t", "t", code=("OK", "OK"))
    with pytest.raises(ValueError, match="ascend"):
        Histogram(Registry(), "t", "t", (2, 1))
    _ = sample.registry.cells
    with pytest.raises(ValueError, match="before any is counted"):
        Counter(sample.registry, "t_late", "late")


def test_memory_of_another_size_is_refused() -> None:
    registry = Sample().registry
    with pytest.raises(ValueError, match="cells are needed"):
        registry.use(memoryview(bytearray(8 * (registry.size + 1))).cast("d"))
    with pytest.raises(ValueError, match="cells are needed"):
        registry.use(memoryview(bytearray(8 * registry.size)).cast("q"))


@pytest.mark.parametrize(
    ("given", "told"), [("20261121T20-15-a.b",) * 2, ('a"} 1\nx ü', "a___1_x__"), ("v" * 300, "v" * 120)]
)
def test_a_version_cannot_break_the_exposition(given: str, told: str) -> None:
    sample = Sample()
    sample.bundle.set("the one before, which is longer than some")
    sample.bundle.set(given)
    assert [dict(had) for name, had in sample.told() if name == "t_bundle_info"] == [{"version": told}]


def test_a_counter_follows_a_total_that_begins_anew() -> None:
    sample, follower = Sample(), Follower()
    for total in (3, 10, 10, 4, 5):
        follower.follow(sample.calls, total, "a", "OK")
    assert sample.told()["t_calls_total", labels(method="a", code="OK")] == 15


def test_a_reading_that_fails_keeps_no_other_from_being_made() -> None:
    sample = Sample()

    def fails() -> None:
        raise RuntimeError("ada's secret")

    sampler = Sampler([fails, lambda: sample.inside.set(4)])
    sampler.sample()
    assert sample.told()["t_inside", labels()] == 4


def test_the_number_of_series_is_known_and_modest() -> None:
    series = sum(metric.length for metric in SERVICE.metrics)
    assert series == SERVICE.size < 150 + 30 * len(METHODS) + 15 * len(STAGES) + 10 * len(CACHES) + 50
