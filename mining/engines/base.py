"""What an engine does: read files of a log, run a stage over people, answer a statement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from mining.engines.folder import Plan, WorkFolder
from mining.engines.importing import Imported, Job
from mining.engines.stages import Stage


class Done(NamedTuple):
    """What came of a plan: the files of the bucket's rows, in the folder."""

    plan: Plan
    files: list[str]


class Engine(ABC):
    """Runs the one definition. Whatever the engine, the rows are equal."""

    name: str

    @abstractmethod
    def read(self, jobs: Sequence[Job], progress: Any) -> Iterator[Imported]:
        """Takes up files of a log, in any order. `progress`: is told of lines. Raises LogError."""

    @abstractmethod
    def mine(self, stage: Stage, knowledge: Any, plans: Sequence[Plan], folder: WorkFolder) -> Iterator[Done]:
        """Runs a stage over the people of each plan's bucket, in any order."""

    @abstractmethod
    def query(
        self, statement: str, files: Mapping[str, Sequence[str]], tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """The answer to one of `mining.engines.statements`. `files`: by the name of the view, its Parquet files, of
        which there must be one; `tables`: views that are at hand."""

    @abstractmethod
    def close(self) -> None:
        """Stops what the engine has started."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
