"""Fixtures of all tests: the sample log and a bundle built from it by the command line, once a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


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
def bundle_dir(request: pytest.FixtureRequest) -> Path:
    """A bundle built from the sample log, as a user would build it. Read-only: tests that alter it copy it first."""
    if (at_hand := request.config.getoption("--bundle")) is not None:
        return at_hand.absolute()
    sample_log: Path = request.getfixturevalue("sample_log")
    out = sample_log.parent / "bundle"
    command = [
        sys.executable,
        "-m",
        "rewrite_service.cli",
        "build",
        "--quiet",
        "--log",
        str(sample_log),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return out
