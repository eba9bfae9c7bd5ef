"""Spark comes to the very rows that the embedded engine comes to. Needs the extra `spark` and Java 17."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mining.engines_differ import differing_rows
from mining.engines.spark import SparkEngine, start
from mining.labels.label_stage import LABEL, LABELS, Wanted
from mining.labels.labelling import learn_labeller
from mining.labels.report_rows import REPORT, TABLES
from mining.reader import LogError, read_log
from mining.sessions import by_user
from rewrite_service.sample.generate import generate
from tests.mining.engine_runs import mine, miner_in, write_log

# Little work in few tasks: what takes long is to start each.
QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.driver.memory": "1g",
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """One session for all tests: starting it takes longer than all else. Without Java it fails and says so."""
    with SparkEngine(start("local[2]", tmp_path_factory.mktemp("spark"), QUICK)) as engine:
        yield engine


def test_both_engines_come_to_equal_rows_day_by_day(spark: SparkEngine, tmp_path: Path) -> None:
    records = list(generate(people=10, days=6))
    half = len(records) // 2
    again = records[5] | {"outcome": "no_match", "interpretation": None}
    first = write_log(tmp_path / "first.gz", records[:half])
    second = write_log(tmp_path / "second.gz", [*records[half:], again])
    here, there = tmp_path / "here", tmp_path / "there"
    for logs in ([first], [second]):
        mining, rows = mine(here, logs)
        on_spark, rows_there = mine(there, logs, engine=spark)
        assert differing_rows(rows, rows_there) == 0 and all(rows[name] for name in ("texts", "repairs", "rules"))
        assert on_spark.mined.tables == mining.mined.tables
        assert (on_spark.mined.frames, on_spark.mined.fragments) == (mining.mined.frames, mining.mined.fragments)
        assert on_spark.volume == mining.volume and on_spark.duplicates == mining.duplicates
    assert on_spark.duplicates == 1
    # Either goes on with what the other has left.
    assert differing_rows(mine(there, [])[1], rows) == 0


def test_a_log_that_cannot_be_read_is_named(spark: SparkEngine, tmp_path: Path) -> None:
    cut = write_log(tmp_path / "cut.gz", list(generate(people=3, days=1)))
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(LogError, match=r"cut\.gz: cannot be read"):
        mine(tmp_path / "work", [cut], engine=spark)


def test_a_row_that_differs_is_counted() -> None:
    rows = {"texts": [{"key": "a", "people": 1}, {"key": "b", "people": 2}], "steps": []}
    other = {"texts": [{"key": "a", "people": 1}, {"key": "b", "people": 3}], "steps": [{"key": "c"}]}
    assert (differing_rows(rows, rows), differing_rows(rows, other)) == (0, 3)


def test_labels_and_the_report_are_equal_on_both_engines(spark: SparkEngine, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.gz", list(generate(people=12, days=8)))
    labels, reports, wanted = [], [], None
    for name, engine in (("here", None), ("there", spark)):
        with miner_in(tmp_path / name, engine) as miner:
            miner.take_up([log])
            mined = miner.mine().mined
            if wanted is None:
                people = by_user(read_log([log]).turns)
                wanted = Wanted(learn_labeller(people, mined), 0.3)
            made = miner.further(LABEL, wanted, wanted.labeller.fingerprint)
            labels.append((made.rows(LABELS).to_pylist(), made.sums()[LABELS].to_pylist()))
            summed = miner.further(REPORT, wanted.labeller, wanted.labeller.fingerprint)
            reports.append({table: found.to_pylist() for table, found in summed.sums().items()})
            shared = summed.sums(["part_turns"], least_people=2)["part_turns"]
            assert 0 < len(shared) < len(reports[-1]["part_turns"])
    assert labels[0] == labels[1] and len(labels[0][0]) > 20
    assert differing_rows(*reports) == 0 and all(reports[0][name] for name in TABLES)
