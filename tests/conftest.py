"""Fixtures of all tests: the sample log and a bundle built from it by the command line, once a session."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run: a run says something of the code, and nothing of luck or of how busy the machine is.
# Others are tried by `pytest --hypothesis-profile=explore`, and by `make fuzz` for longer.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("suite"), derandomize=False)
settings.load_profile("suite")

LONG_FILES = (
    "test_replay.py", "test_train_encoder.py", "test_spark.py", "test_engines.py", "test_examples.py",
    "test_training.py", "test_privacy.py", "test_evaluation.py", "test_bundle.py", "test_workers.py", "test_console.py",
    "test_http_door.py", "test_server.py", "test_label_command.py", "test_train_rephrase.py", "test_pipeline_stages.py",
    "test_console_parts.py", "test_client.py", "test_stories.py", "test_cost_of_a_request.py", "test_indexes.py",
    "test_known_rewrite_story.py", "test_swap.py", "test_loadtest.py", "test_chaos.py", "test_redis_store.py",
)  # fmt: skip
"""Those that take longest begin first (a file is one process's), so that in the end none is left alone with one. The
first builds the bundle; those after it need none, and so do not wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def sample_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log that `make run` builds from."""
    from rewrite_service.sample.generate import write

    path = tmp_path_factory.mktemp("sample") / "sample.jsonl.gz"
    write(path)
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bundle", type=Path, help="a bundle of the sample log, such as var/bundle, in place of building one (minutes)"
    )


@pytest.fixture(scope="session")
def bundle_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle built from the sample log, as a user would build it. Read-only: tests that alter it copy it first."""
    if (at_hand := request.config.getoption("--bundle")) is not None:
        return at_hand.absolute()
    sample_log: Path = request.getfixturevalue("sample_log")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built" / "bundle"
    out.parent.mkdir(exist_ok=True)
    with (out.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whichever process of this run comes first builds it, the others wait
        if not out.exists():
            command = [sys.executable, "-m", "rewrite_service.cli", "build", "--quiet"]
            command += ["--log", str(sample_log), "--out", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=840, check=False)
            assert done.returncode == 0, done.stderr
    return out
