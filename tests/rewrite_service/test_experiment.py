"""Arms and their comparison: who is held out, intervals against draws of users, and the command on a real log."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rewrite_service.arms import Arm, HoldOut, arm_of
from rewrite_service.cli import app
from rewrite_service.experiment import FEW_USERS, ArmFigures, compare, experiment_of_logs
from rewrite_service.sample.generate import generate

USERS = [f"user-{n}" for n in range(20_000)]


def held_out(share: float, salt: str = "") -> set[str]:
    return {user for user in USERS if arm_of(user, share, salt) is Arm.HOLD_OUT}


def test_a_share_of_users_is_held_out_and_stays_so() -> None:
    tenth = held_out(0.1)
    assert len(tenth) == pytest.approx(2000, abs=150)
    assert tenth == held_out(0.1)
    assert tenth < held_out(0.3), "a greater share holds out the same, and more"
    assert len(tenth & held_out(0.1, "salt")) < 300, "another salt draws others"
    assert (held_out(0), held_out(1)) == (set(), set(USERS))
    assert HoldOut().arm("ann") is None and HoldOut(1).arm("") is Arm.HOLD_OUT


def drawn(rng: np.random.Generator, users: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Requests and failures of users who differ in both."""
    requests = rng.geometric(0.05, users)
    return requests.astype(float), rng.binomial(requests, rng.beta(8 * rate, 8 * (1 - rate), users)).astype(float)


def test_errors_are_those_of_drawing_users() -> None:
    rng = np.random.default_rng(2)
    requests, failed = drawn(rng, 400, 0.2)
    figures = ArmFigures.of(requests, failed)
    again = rng.integers(0, 400, (4000, 400))
    rates = failed[again].sum(axis=1) / requests[again].sum(axis=1)
    assert figures.error == pytest.approx(rates.std(), rel=0.1)
    assert figures.interval == pytest.approx(tuple(np.quantile(rates, (0.025, 0.975))), abs=0.004)
    naive = math.sqrt(figures.rate * (1 - figures.rate) / requests.sum())
    assert figures.error > 1.5 * naive, "requests of one user are alike"


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [compare(ArmFigures.of(*drawn(rng, 300, 0.15)), ArmFigures.of(*drawn(rng, 300, 0.2))) for _ in range(300)]
    assert np.mean([e.interval[0] <= 0.25 <= e.interval[1] for e in found]) == pytest.approx(0.95, abs=0.035)
    power = np.mean([e.interval[0] > 0 for e in found])
    needed = np.mean([e.least_told for e in found])
    assert (power > 0.8) == (needed < 0.25), (power, needed)
    assert 0.1 < needed < 0.4


def test_without_users_or_failures_nothing_is_told() -> None:
    nobody, fine = ArmFigures.of(np.zeros(0), np.zeros(0)), ArmFigures.of(np.ones(50), np.zeros(50))
    for served, hold_out in ((nobody, fine), (fine, nobody), (fine, fine)):
        found = compare(served, hold_out)
        assert math.isnan(found.reduction) and math.isnan(found.least_told)
    assert compare(nobody, fine).few and FEW_USERS > 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rewrite_service.cli", "experiment", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_compares_the_arms_of_a_log(tmp_path: Path) -> None:
    """Users who are not held out have most turns without an answer taken out, as if rewrites had spared them."""
    log = tmp_path / "log.jsonl"
    kept = [
        record
        for record in generate(people=60, days=5, seed=4)
        if record["outcome"] == "ok"
        or record["timestamp_ms"] // 1000 % 5 == 0
        or arm_of(record["user_id"], 0.4, "spring") is Arm.HOLD_OUT
    ]
    log.write_text("".join(json.dumps(record) + "\n" for record in kept))
    done = run("--log", str(log), "--holdout-share", "0.4", "--holdout-salt", "spring")
    assert done.returncode == 0, done.stderr
    found = experiment_of_logs([log], 0.4, "spring")
    assert found.served.users + found.hold_out.users == 60
    assert found.interval[0] > 0.1
    assert f"defects reduced by {found.reduction:.1%}" in done.stdout
    assert [str(found.hold_out.users), str(found.hold_out.requests)] == [
        cell for line in done.stdout.splitlines() if "held out" in line for cell in line.split()[2:4]
    ]
    other = experiment_of_logs([log], 0.4, "x")
    assert other.reduction < found.reduction - 0.1, "another salt mixes the arms"


def test_nobody_held_out_is_a_mistake_that_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["experiment", "--log", str(tmp_path / "log.jsonl")])
    assert done.exit_code == 2
    assert "--holdout-share" in done.output
