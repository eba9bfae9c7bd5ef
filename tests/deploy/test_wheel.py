"""The wheel holds all that serving needs and nothing else, and serves by itself away from the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc

ROOT = Path(__file__).parents[2]
DATA = {".html", ".css", ".js", ".svg", ".png", ".proto", ".onnx", ".npy", ".json", ".gz", ".LICENSE"}
PACKAGES = ("rewrite_service", "ranker", "retriever", "mining")
START_SECONDS = 60.0


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def elsewhere() -> dict[str, str]:
    """The environment of somebody who has no checkout and no settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QUERY_REWRITE_"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing of an earlier build gets in, with the build tools of this
    environment: `make wheel-test` takes the longer way, by the source archive and with the pinned tools."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "proto"):
        unmade = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unmade)
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", out)
    done = run(*command, source, env=elsewhere())
    assert done.returncode == 0, done.stderr + done.stdout
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel, and sees the libraries of this one.

    Libraries are lent by a path alone, by which Python reads no .pth files: the checkout, which is installed in this
    environment by one of those, stays out of it. `make wheel-test` installs the libraries themselves.
    """
    place = tmp_path_factory.mktemp("venv")
    assert run(sys.executable, "-m", "venv", "--without-pip", place).returncode == 0
    python = place / "bin" / "python"
    command = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    done = run(*command, cwd=place, env=elsewhere())
    assert done.returncode == 0, done.stderr
    lent = Path(grpc.__file__).parents[1]
    site = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    return place / "bin"


@pytest.fixture
def away(tmp_path: Path) -> dict[str, object]:
    """How to run a program there."""
    return {"cwd": tmp_path, "env": elsewhere()}


def of_packages(names: set[str]) -> set[str]:
    return {name for name in names if not name.split("/")[0].endswith(".dist-info")}


def test_it_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = of_packages(set(archive.namelist()))
    wanted = set()
    for package in PACKAGES:
        for folder, _, files in os.walk(ROOT / package, followlinks=True):
            paths = [Path(folder, name).relative_to(ROOT) for name in files]
            wanted |= {str(p) for p in paths if p.suffix in DATA | {".py", ".pyi", ".typed"}}
            wanted |= {str(p) for p in paths if p.parent.name == "weights"}
    assert {"rewrite_service/proto/rewrite/v1/rewrite.proto", "rewrite_service/report/page.html"} <= wanted
    assert "retriever/weights/model.int8.onnx" in wanted
    assert held == wanted


def test_it_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        about = {Path(name).name: archive.read(name).decode() for name in names}
    assert "query-rewrite = rewrite_service.cli:main" in about["entry_points.txt"]
    lines = about["METADATA"].splitlines()
    extras = {line.split()[1] for line in lines if line.startswith("Provides-Extra:")}
    assert {"redis", "train", "tracing"} <= extras
    base = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not [line for line in base if any(name in line for name in ("torch", "redis", "opentelemetry", "pytest"))]
    assert all("==" in line for line in base), "versions are pinned"


@pytest.fixture
def serving(installed: Path, bundle_dir: Path, away: dict[str, object], tmp_path: Path) -> Iterator[str]:
    """Address of a server of the installed wheel."""
    command = [installed / "query-rewrite", "serve", "--bundle", bundle_dir, "--port", "0", "--state-dir", "state"]
    log = tmp_path / "log"
    with log.open("wb") as lines:
        process = subprocess.Popen(command, stderr=lines, stdout=lines, **away)
    try:
        end = time.monotonic() + START_SECONDS
        while b"listening on " not in log.read_bytes():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield log.read_text().split("listening on ")[1].split('"')[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_it_serves_by_itself(installed: Path, serving: str, away: dict[str, object]) -> None:
    where = run(installed / "python", "-c", "import rewrite_service; print(rewrite_service.__file__)", **away)
    assert where.stdout.startswith(str(installed.parent)), "the checkout is in the way: this would prove nothing"
    probe = run(installed / "query-rewrite", "health", "--target", serving, **away)
    assert (probe.returncode, probe.stdout) == (0, "SERVING\n"), probe.stderr
    with grpc.insecure_channel(serving) as channel:
        request = pb.RewriteRequest(
            interaction_id="i", user_id="ben", timestamp_ms=int(time.time() * 1000), asr_confidence=0.8,
            channel=pb.CHANNEL_VOICE, query="play we don't talk about brew no",
        )  # fmt: skip
        reply = rewrite_pb2_grpc.RewriteServiceStub(channel).Rewrite(request, timeout=10)
    assert reply.text == "play we don't talk about bruno"


@pytest.mark.parametrize("command", [("serve", "--bundle", "b"), ("forget", "--user", "u")])
def test_without_redis_it_says_what_to_install(
    installed: Path, away: dict[str, object], command: tuple[str, ...]
) -> None:
    """As in an environment without the extra: the library is hidden, and nothing is told before it is missed."""
    hidden = {"QUERY_REWRITE_STORE": "redis", "QUERY_REWRITE_REDIS_URL": "redis://127.0.0.1:1"}
    program = "import sys; sys.modules['redis'] = None; from rewrite_service.cli import main; main()"
    done = run(installed / "python", "-c", program, *command, cwd=away["cwd"], env={**away["env"], **hidden})
    assert done.returncode == 2
    assert done.stderr == "error: the store redis needs redis: pip install 'query-rewrite[redis]'\n"
