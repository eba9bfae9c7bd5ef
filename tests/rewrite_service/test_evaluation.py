"""`query-rewrite evaluate` on the last days of the sample log, against a twin that knows the truth."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def last_days(sample_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = gzip.decompress(sample_log.read_bytes()).splitlines(keepends=True)
    path = tmp_path_factory.mktemp("later") / "later.jsonl"
    path.write_bytes(b"".join(lines[-1200:]))
    return path


def evaluate(bundle: Path, log: Path, *more: str) -> dict[str, float]:
    command = [sys.executable, "-m", "rewrite_service.cli", "evaluate", "--json", "--quiet"]
    command += ["--bundle", str(bundle), "--log", str(log), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated") / "report"


@pytest.fixture(scope="module")
def figures(bundle_dir: Path, last_days: Path, report: Path) -> dict[str, float]:
    """With both layers, and a report beside them."""
    return evaluate(bundle_dir, last_days, "--report", str(report))


def test_the_estimate_adds_up_and_finds_repairs_worth_making(figures: dict[str, float]) -> None:
    kinds = figures["wins"] + figures["losses"] + figures["missed"] + figures["needless"]
    assert kinds == pytest.approx(figures["rewrites"], abs=0.1)
    assert 0 < figures["failed"] < figures["requests"] <= 1200
    assert figures["wins"] > 20 and figures["wins_per_harm"] > 3
    wins, losses = figures["wins"], figures["losses"]
    assert figures["reduction"] == pytest.approx((wins - losses) / figures["failed"], abs=0.01)


def test_a_layer_turned_off_repairs_less(bundle_dir: Path, last_days: Path, figures: dict[str, float]) -> None:
    alone = evaluate(bundle_dir, last_days, "--layers", "global")
    assert alone["requests"] == figures["requests"]
    assert alone["wins"] < figures["wins"]


def test_a_report_is_written_beside_the_figures(figures: dict[str, float], report: Path) -> None:
    page = (report / "index.html").read_text()
    assert f"<td>{figures['wins']}<td>{figures['losses']}" in page
    assert page.count("<svg") == 3 and "http://www.w3.org/2000/svg" in page
