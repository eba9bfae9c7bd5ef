"""Mines the logs of a command, in a work folder that is kept or in one of its own that goes with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mining.engines.folder import WorkFolder
from mining.engines.opening import open_engine
from mining.engines.people import PeopleOfLog
from mining.engines.run import Miner, Mining, Settings
from mining.reader import LogError
from rewrite_service.progress import Progress
from rewrite_service.store.base import user_key

KEPT_BUCKETS = 64
_BYTES_A_BUCKET = 2 << 20
"""Of the logs as they are: about thirty thousand turns where they are gzipped."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What runs the mining; what is mined does not depend on it, but for `max_drift`. `engine`: duckdb or spark.
    `master`, `spark`: of Spark, its own settings by name. `work`: folder that is kept from build to build; None: none.
    `max_drift`: see `mining.engines.run.Settings`. `processes`: of the embedded engine."""

    engine: str = "duckdb"
    master: str = "local[*]"
    spark: Mapping[str, str] | None = None
    work: Path | None = None
    max_drift: float = 0.0
    processes: int = 1


@dataclass(frozen=True, slots=True)
class MinedLog:
    """`people`: all of them, one bucket in memory at a time. Good as long as the folder is open."""

    mining: Mining
    people: PeopleOfLog


@contextmanager
def mined_log(
    logs: Sequence[Path],
    out: Path,
    settings: EngineSettings,
    min_people: int,
    max_malformed_share: float,
    tombstones: Mapping[bytes, int],
    quarantine: Path,
    progress: Progress,
) -> Iterator[MinedLog]:
    """Everything mined of the logs, and of those that a kept folder took up before. `out`: of the bundle, beside which
    a folder that is not kept is made. The engine is closed by then. Raises LogError."""
    wanted = Settings(min_people, max_malformed_share, settings.max_drift)
    with _opened(logs, out, settings.work) as folder:
        with _mined(folder, logs, settings, wanted, tombstones, quarantine, progress) as (mining, _):
            pass
        yield MinedLog(mining, PeopleOfLog(folder))


@dataclass(frozen=True, slots=True)
class AskedLog(MinedLog):
    """A log that is mined, of which more can be asked. `miner`: runs further stages (`Miner.further`)."""

    miner: Miner


@contextmanager
def asked_log(
    logs: Sequence[Path],
    out: Path,
    settings: EngineSettings,
    min_people: int,
    max_malformed_share: float,
    tombstones: Mapping[bytes, int],
    quarantine: Path,
    progress: Progress,
) -> Iterator[AskedLog]:
    """The same with the engine still running."""
    wanted = Settings(min_people, max_malformed_share, settings.max_drift)
    with (
        _opened(logs, out, settings.work) as folder,
        _mined(folder, logs, settings, wanted, tombstones, quarantine, progress) as (mining, miner),
    ):
        yield AskedLog(mining, PeopleOfLog(folder), miner)


@contextmanager
def _opened(logs: Sequence[Path], out: Path, work: Path | None) -> Iterator[WorkFolder]:
    folder = _open(logs, out, work)
    try:
        yield folder
    finally:
        if work is None:
            folder.remove()
        else:
            folder.close()


@contextmanager
def _mined(
    folder: WorkFolder,
    logs: Sequence[Path],
    settings: EngineSettings,
    wanted: Settings,
    tombstones: Mapping[bytes, int],
    quarantine: Path,
    progress: Progress,
) -> Iterator[tuple[Mining, Miner]]:
    with open_engine(settings.engine, folder, settings.master, settings.processes, settings.spark) as engine:
        miner = Miner(engine, folder, wanted, progress)
        miner.take_up(logs, quarantine)
        if tombstones:
            miner.forget(lambda user: tombstones.get(user_key(user), 0))
        yield miner.mine(), miner


def _open(logs: Sequence[Path], out: Path, work: Path | None) -> WorkFolder:
    if work is not None:
        return WorkFolder(work, KEPT_BUCKETS)
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.work-"
    for left in out.parent.glob(f"{prefix}*"):
        _remove_if_left(left)
    for path in logs:
        if not path.is_file():
            raise LogError(f"{path}: no such file; name a JSON lines (plain or gzip) or Parquet file")
    size = sum(path.stat().st_size for path in logs)
    buckets = min(256, max(4, size // _BYTES_A_BUCKET))
    return WorkFolder(Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent)), buckets)


def _remove_if_left(folder: Path) -> None:
    """Removes the folder of a build that was killed: nobody holds its lock."""
    try:
        WorkFolder(folder, 1).remove()
    except LogError:
        if not (folder / "lock").exists():
            shutil.rmtree(folder, ignore_errors=True)
