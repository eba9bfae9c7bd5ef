"""What a build mines by: a folder of its own that goes with it, or one that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from mining.engines.folder import WorkFolder
from mining.reader import LogError
from rewrite_service.log_mining import EngineSettings, mined_log
from rewrite_service.progress import Progress
from rewrite_service.sample.generate import write
from rewrite_service.store.base import user_key


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log-mining") / "log.jsonl.gz"
    write(path, people=5, days=4)
    return path


def mined(logs: list[Path], out: Path, work: Path | None = None, tombstones: dict[bytes, int] | None = None):
    settings, quarantine = EngineSettings(work=work), out.parent / "quarantine.jsonl"
    return mined_log(logs, out, settings, 2, 0.05, tombstones or {}, quarantine, Progress(quiet=True))


def test_a_folder_of_its_own_goes_with_the_build(log: Path, tmp_path: Path) -> None:
    killed = WorkFolder(tmp_path / ".bundle.work-killed", 1)
    killed.close()
    alive = WorkFolder(tmp_path / ".bundle.work-alive", 1)
    with mined([log], tmp_path / "bundle") as found:
        assert found.mining.volume.people == len(found.people) == 5
        assert len(list(tmp_path.glob(".bundle.work-*"))) == 2, "its own, and that of a build that runs"
    assert [path.name for path in tmp_path.iterdir()] == [".bundle.work-alive"]
    alive.close()


def test_a_kept_folder_holds_what_it_took_up_and_loses_who_was_forgotten(log: Path, tmp_path: Path) -> None:
    with mined([log], tmp_path / "bundle", tmp_path / "work") as found:
        turns, gone = found.mining.volume.turns, next(iter(found.people))
        end = found.people[gone][-1].request.timestamp_ms
    with mined([], tmp_path / "bundle", tmp_path / "work", {user_key(gone): end}) as found:
        assert gone not in found.people and found.mining.volume.people == 4
        assert found.mining.forgotten == turns - found.mining.volume.turns > 0


def test_a_folder_that_fails_is_removed_too(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file"), mined([tmp_path / "nowhere"], tmp_path / "bundle"):
        pass
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(LogError, match="malformed"), mined([tmp_path / "bad.jsonl"], tmp_path / "bundle"):
        pass
    assert not list(tmp_path.glob(".bundle.work-*"))
