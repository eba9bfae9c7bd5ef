"""`query-rewrite train-rephrase` as a user calls it: it is stopped, goes on, and its model labels a build's log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stopped import stopped

from mining.contextual_rephrases import MANIFEST, MODEL
from mining.reader import LogError
from mining.training.train import TrainSettings
from rewrite_service.build import BuildSettings, build
from rewrite_service.errors import BundleError
from rewrite_service.model_place import ModelPlaceError
from rewrite_service.progress import Progress
from rewrite_service.rephrase_training import REPORT, drawn, train_rephrase
from tests.turns import turn

CLI = [sys.executable, "-m", "rewrite_service.cli"]


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewrite_service.sample.generate import write

    path = tmp_path_factory.mktemp("small") / "log.jsonl.gz"
    write(path, 8, 8, 3)
    return path


def arguments(log: Path, out: Path, *more: object) -> list[str]:
    small = ("--members", "1", "--threads", "1")
    return ["train-rephrase", "--log", str(log), "--out", str(out), *small, *map(str, more)]


def command(log: Path, out: Path, *more: object) -> list[str]:
    return [*CLI, *arguments(log, out, *more)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def trained(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose training was stopped by Ctrl-C and gone on with."""
    out = tmp_path_factory.mktemp("trained") / "model"
    asked = arguments(small_log, out, "--passes", 12)
    halted = stopped("training", 3, *asked)
    assert halted.returncode == 130, halted.stderr
    assert {p.name for p in out.parent.iterdir()} == {"model.checkpoint.pt"}, "none of it is in place"
    done = run(*CLI, *asked)
    assert done.returncode == 0, done.stderr
    assert "with unrelated turns between" in done.stdout
    assert f"query-rewrite build --rephrase-model {out}" in done.stdout
    assert sorted(p.name for p in out.parent.iterdir()) == ["model"], "no checkpoint and no draft is left"
    return out


def test_it_tells_how_it_does_on_held_out_days(trained: Path) -> None:
    report = json.loads((trained / REPORT).read_bytes())
    interrupted = report["held_out"]["interrupted"]
    assert interrupted["model"] > interrupted["rules"] + 0.2, report["held_out"]
    assert (trained / MODEL).stat().st_size < 2 << 20


def test_a_build_is_labelled_by_it(trained: Path, small_log: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    asked = [*CLI, "build", "--log", str(small_log), "--out", str(bundle), "--rephrase-model", str(trained)]
    done = run(*asked)
    assert done.returncode == 0, done.stderr
    assert "marking rephrases: done" in done.stderr
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    assert manifest["settings"]["rephrase_model"] == "model"
    altered = tmp_path / "altered"
    altered.mkdir()
    (altered / MANIFEST).write_bytes((trained / MANIFEST).read_bytes())
    (altered / MODEL).write_bytes((trained / MODEL).read_bytes()[:-1])
    done = run(*asked[:-1], str(altered))
    assert done.returncode == 1 and "sha256" in done.stderr and "--rephrase-model" in done.stderr


def test_bad_input_is_told_before_any_work(small_log: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("It was a dark and stormy night.")
    log = tmp_path / "log.jsonl"
    line = {"interaction_id": "1", "user_id": "ann", "timestamp_ms": 1, "query": "stop", "outcome": "no_match"}
    log.write_text(json.dumps(line) + "\n")
    with pytest.raises(ModelPlaceError, match="exists and is no rephrase model"):
        train_rephrase([small_log], thesis, TrainSettings(), Progress(quiet=True))
    with pytest.raises(LogError, match="0 dialogues with a rephrase"):
        train_rephrase([log], tmp_path / "m", TrainSettings(), Progress(quiet=True))
    with pytest.raises(BundleError, match="--rephrase-model"):
        build([log], tmp_path / "b", BuildSettings(rephrase_model=thesis), Progress(quiet=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "thesis"]


def test_without_the_extra_it_says_what_to_install(small_log: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    asked = command(small_log, tmp_path / "model")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr == "error: train-rephrase needs torch: pip install 'query-rewrite[train]'\n"


def test_of_a_long_log_some_people_are_learned_from() -> None:
    people = {f"user{i}": [turn("stop", at, user=f"user{i}") for at in range(i)] for i in range(20)}
    some = drawn(people, 1, 60)
    assert some.keys() < people.keys() and 40 < sum(map(len, some.values())) <= 60
    assert some == drawn(dict(reversed(people.items())), 1, 60) != drawn(people, 2, 60)
    assert drawn(people, 1) == people
    assert list(drawn(people, 1, 1)) and drawn({}, 1) == {}
