"""Short runs of benchmarks/chaos: the whole server while it is killed, or while its Redis is ill."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import kills, redis_faults
from mining.reader import read_log


def test_nothing_acknowledged_is_lost_by_kill_minus_nine(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "WORKERS", 1)
    figures = kills.measure(bundle_dir, kills=2)
    assert figures["kills_under_load"] == 2 and figures["acknowledged"] > 10
    assert (figures["acknowledged_lost"], figures["stores_unopenable"]) == (0, 0)


def test_every_rewrite_is_answered_while_redis_is_ill(
    bundle_dir: Path, sample_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RATE": 20.0, "BUDGET_S": 10.0, "RECOVERY_S": 120.0}.items():
        monkeypatch.setattr(redis_faults, name, value)  # for machines that do other things as well
    requests = [turn.request for turn in read_log([sample_log]).turns[-500:]]
    ills = [fault for fault in redis_faults.FAULTS if fault[0] in ("killed, started anew", "frozen")]
    figures = redis_faults.measure(bundle_dir, requests, ills, seconds=1.5, max_wait_ms=60_000)
    assert figures["redis_faults"] == 2 and figures["answers_failed"] == figures["answers_late"] == 0
    assert figures["answers_under_faults"] == 2 * 30
    assert all(f["without personal"] > 20 and f["back_after_s"] < 10 for f in figures["by_fault"].values())
    assert figures["redis_acknowledged"] > 0 and figures["redis_acknowledged_lost"] == 0
