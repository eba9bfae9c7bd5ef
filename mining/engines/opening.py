"""Opens an engine by its name."""

from __future__ import annotations

from collections.abc import Mapping

from mining.engines.base import Engine
from mining.engines.folder import WorkFolder

ENGINES = ("duckdb", "spark")


def open_engine(
    name: str,
    folder: WorkFolder,
    master: str = "local[*]",
    processes: int = 1,
    config: Mapping[str, str] | None = None,
) -> Engine:
    """The engine that works in a folder. `master`, `config`: of Spark. `processes`: of the embedded one. Raises
    LogError where it cannot be started."""
    if name == "spark":
        from mining.engines.spark import SparkEngine, start

        return SparkEngine(start(master, folder.path, config))
    from mining.engines.embedded import EmbeddedEngine

    return EmbeddedEngine(processes)
