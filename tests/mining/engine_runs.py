"""Short ways to mine logs in tests."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from mining.engines.base import Engine
from mining.engines.embedded import EmbeddedEngine
from mining.engines.folder import WorkFolder
from mining.engines.run import Miner, Mining, Settings
from rewrite_service.progress import Progress

QUIET = Progress(quiet=True)
Record = dict[str, Any]


def write_log(path: Path, records: Sequence[Record]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


@contextmanager
def miner_in(place: Path, engine: Engine | None = None, buckets: int = 2, max_drift: float = 0.0) -> Iterator[Miner]:
    folder = WorkFolder(place, buckets)
    try:
        yield Miner(engine or EmbeddedEngine(), folder, Settings(2, max_drift=max_drift), QUIET)
    finally:
        folder.close()


def mine(place: Path, logs: Sequence[Path], **more: Any) -> tuple[Mining, dict[str, list[Record]]]:
    """What a run came to, and everybody's sums of every table."""
    with miner_in(place, **more) as miner:
        miner.take_up(logs)
        return miner.mine(), rows_of(miner)


def rows_of(miner: Miner) -> dict[str, list[Record]]:
    return {name: table.to_pylist() for name, table in miner.summed().items()}


def forget_in(place: Path, forgotten: Callable[[str], int]) -> int:
    with miner_in(place) as miner:
        miner.forget(forgotten)
        return miner.forgotten
