"""`query-rewrite train-encoder` as a user calls it: it is stopped, goes on, and its encoder goes into a bundle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stopped import stopped
from typer.testing import CliRunner

from mining.reader import LogError
from retriever.encoder import Encoder
from rewrite_service.bundle import encoder_of
from rewrite_service.cli import app
from rewrite_service.encoder_training import REPORT

CLI = [sys.executable, "-m", "rewrite_service.cli"]


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewrite_service.sample.generate import write

    path = tmp_path_factory.mktemp("small") / "log.jsonl.gz"
    write(path, 12, 10, 3)
    return path


def arguments(log: Path, out: Path, *more: object) -> list[str]:
    small = ("--batch", "8", "--threads", "1")
    return ["train-encoder", "--log", str(log), "--out", str(out), *small, *map(str, more)]


def command(log: Path, out: Path, *more: object) -> list[str]:
    return [*CLI, *arguments(log, out, *more)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def trained(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose training was stopped by Ctrl-C and gone on with."""
    out = tmp_path_factory.mktemp("trained") / "encoder"
    checkpoint = out.parent / "encoder.checkpoint.pt"
    asked = arguments(small_log, out, "--pairs-seen", 400, "--seed", 5)
    halted = stopped("training", 10, *asked)
    assert halted.returncode == 130, halted.stderr
    assert not out.exists() and checkpoint.is_file()
    done = run(*CLI, *asked)
    assert done.returncode == 0, done.stderr
    assert "recall@20" in done.stdout and f"query-rewrite build --encoder {out}" in done.stdout
    assert sorted(p.name for p in out.parent.iterdir()) == ["encoder"], "no checkpoint and no draft is left"
    return out


def test_it_makes_an_encoder_near_to_what_was_trained(trained: Path) -> None:
    report = json.loads((trained / REPORT).read_bytes())
    assert len(report["history"]["losses"]) == 50, "every step once, over both runs"
    assert report["cosine_to_fp32"]["minimum"] > 0.999
    assert report["held_out"]["trained"]["queries"] > 5
    vector = Encoder(trained).encode(["play the film go"])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert Encoder(trained).fingerprint != Encoder().fingerprint


def test_a_bundle_carries_its_own_encoder(trained: Path, small_log: Path, tmp_path: Path) -> None:
    bundle, decisions = tmp_path / "bundle", tmp_path / "decisions.jsonl"
    done = run(*CLI, "build", "--quiet", "--log", str(small_log), "--out", str(bundle), "--encoder", str(trained))
    assert done.returncode == 0, done.stderr
    assert encoder_of(bundle).fingerprint == Encoder(trained).fingerprint
    replay = [*CLI, "replay", "--quiet", "--bundle", str(bundle), "--requests", str(small_log), "--out", str(decisions)]
    done = run(*replay)
    assert done.returncode == 0, done.stderr
    assert decisions.stat().st_size
    model = bundle / "encoder" / "model.int8.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    done = run(*replay)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "model.int8.onnx" in done.stderr


def test_layers_may_be_kept(small_log: Path, tmp_path: Path) -> None:
    done = run(*command(small_log, tmp_path / "encoder", "--layers", "1", "--pairs-seen", "16"))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "encoder" / REPORT).read_bytes())
    assert report["settings"]["layers"] == 1 and report["cosine_to_fp32"]["mean"] > 0.98


def test_bad_input_is_told_before_any_work(small_log: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("It was a dark and stormy night.")
    build = ["build", "--log", str(small_log), "--out", str(tmp_path / "b"), "--encoder", str(thesis)]
    for asked, words in (
        (arguments(small_log, thesis), "exists and is no encoder"),
        (arguments(small_log, tmp_path / "e", "--loss", "triplet"), "name one of in-batch"),
        (build, "--encoder"),
        (arguments(small_log, tmp_path / "e", "--base", str(thesis)), "no encoder's folder"),
    ):
        done = CliRunner().invoke(app, asked)
        assert done.exit_code and words in " ".join(f"{done.output} {done.exception}".split()), done.output
    assert (thesis / "chapter.txt").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["thesis"]


def test_a_log_without_repairs_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"interaction_id": "1", "user_id": "ann", "timestamp_ms": 1, "query": "stop"}) + "\n")
    done = CliRunner().invoke(app, arguments(log, tmp_path / "encoder"))
    assert done.exit_code and isinstance(done.exception, LogError), done.output


def test_without_the_extra_it_says_what_to_install(small_log: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path)}
    asked = command(small_log, tmp_path / "encoder")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr == "error: train-encoder needs torch: pip install 'query-rewrite[train]'\n"
