"""Counters, gauges and histograms in flat memory, which the processes of one server share.

Every metric says at its birth which values its labels may have. So there is a fixed number of figures, each with its
place in an array of float64, and:
- nothing that a caller sends can become a label, or make a new series;
- counting is one addition, well below a microsecond, with no dictionary that grows and no message to anybody;
- workers count in memory that their supervisor made. It reads all of it without asking them, and what was counted
  stays when a worker is killed: the next one of the same number goes on from there. Sums never fall.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

Key = tuple[str, ...]
CELL_BYTES = 8
_TEXT_CELLS = 16
"""Of a text: one for its length, the rest for at most 120 bytes."""


class Registry:
    """All metrics of a process, in the order in which they were made, and the memory behind them.

    `lock`: held while cells change. Metrics can be made until the memory is first used.
    """

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.size = 0
        """Cells needed in all."""
        self.lock = threading.Lock()
        self._cells: memoryview[float] | None = None

    @property
    def cells(self) -> memoryview[float]:
        """float64, writable; this process's own where none was given."""
        if self._cells is None:
            self._cells = new_cells(self)
        return self._cells

    def use(self, cells: memoryview[float]) -> None:
        """Counts in `cells` from now on, on top of what is there; gauges and texts in it begin anew. Raises ValueError
        where it has another size than this process's metrics need."""
        if len(cells) != self.size or cells.format != "d":
            raise ValueError(f"{self.size} float64 cells are needed, not {len(cells)} of format {cells.format!r}")
        self._cells = cells
        self.forget_state(cells)

    def forget_state(self, cells: memoryview[float]) -> None:
        """Sets all that is a state and no count to nothing in `cells`: whose state it was is gone."""
        for metric in self.metrics:
            if isinstance(metric, Gauge | Text):
                for at in range(metric.start, metric.start + metric.length):
                    cells[at] = 0.0

    def place(self, metric: Metric, cells: int) -> int:
        """The first of so many cells for `metric`, which has a name of its own."""
        if self._cells is not None:
            raise ValueError(f"{metric.name}: metrics are made before any is counted")
        if any(known.name == metric.name for known in self.metrics):
            raise ValueError(f"{metric.name}: there is one already")
        start, self.size = self.size, self.size + cells
        self.metrics.append(metric)
        return start


def new_cells(registry: Registry, memory: Any = None) -> memoryview[float]:
    """Cells for `registry`, all nothing. `memory`: a writable buffer of `CELL_BYTES` times `registry.size`, such as a
    `multiprocessing.RawArray`; None: this process's own."""
    return memoryview(bytearray(CELL_BYTES * registry.size) if memory is None else memory).cast("B").cast("d")


class Metric:
    """A metric with its labels. `values` of a label: all it may ever have, at least one."""

    def __init__(self, registry: Registry, name: str, help: str, labels: dict[str, Sequence[str]], width: int) -> None:
        self.name, self.help = name, help
        self.label_names = tuple(labels)
        self.keys: tuple[Key, ...] = tuple(product(*labels.values()))
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"{name}: a label has the same value twice")
        self.length = width * len(self.keys)
        self.start = registry.place(self, self.length)
        self._registry = registry
        self._at = {key: self.start + width * i for i, key in enumerate(self.keys)}

    def at(self, *labels: str) -> int:
        """The first cell of these label values. Raises ValueError for values that were not named at the beginning."""
        try:
            return self._at[labels]
        except KeyError:
            raise ValueError(f"{self.name}: no series for {self.label_names} of these values") from None


class Counter(Metric):
    """Grows. `name` without Prometheus's `_total`."""

    def __init__(self, registry: Registry, name: str, help: str, **labels: Sequence[str]) -> None:
        super().__init__(registry, name, help, labels, 1)

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Adds `by`, at least 0, to the series of these label values."""
        at = self.at(*labels)
        with self._registry.lock:
            self._registry.cells[at] += by


class Gauge(Metric):
    """Goes up and down. `over_workers`: what of several workers' values is told; `least` leaves out those at 0, which
    is that of a worker that has not set it yet."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        help: str,
        over_workers: Literal["sum", "least"] = "sum",
        **labels: Sequence[str],
    ) -> None:
        super().__init__(registry, name, help, labels, 1)
        self.over_workers = over_workers

    def set(self, value: float, *labels: str) -> None:
        self._registry.cells[self.at(*labels)] = value

    def merged(self, values: Sequence[float]) -> float:
        """The one value for those of several processes."""
        if self.over_workers == "sum":
            return sum(values)
        return min((value for value in values if value), default=0.0)


class Histogram(Metric):
    """Counts by size. `bounds`: ascending upper bounds, inclusive, in the unit that is observed. `per`: how many of
    these make one of the unit that is told, such as 1,000,000 for microseconds told in seconds."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        help: str,
        bounds: Sequence[float],
        per: float = 1.0,
        **labels: Sequence[str],
    ) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"{name}: bounds must ascend")
        self.bounds, self.per = tuple(bounds), per
        self.width = len(bounds) + 2  # what is above the last, and the sum
        super().__init__(registry, name, help, labels, self.width)

    def observe(self, value: float, *labels: str) -> None:
        at = self.at(*labels)
        with self._registry.lock:
            self.add(self._registry.cells, at, value)

    def add(self, cells: memoryview[float], at: int, value: float) -> None:
        """As `observe`, for whoever holds the registry's lock and knows the place."""
        cells[at + bisect_left(self.bounds, value)] += 1.0
        cells[at + self.width - 1] += value


class Text(Metric):
    """A word of the operator's own, such as a version: the one metric whose label value is not known beforehand. Never
    for anything that a caller sends. `label`: its name."""

    def __init__(self, registry: Registry, name: str, help: str, label: str) -> None:
        super().__init__(registry, name, help, {}, _TEXT_CELLS)
        self.label_names = (label,)

    def set(self, value: str) -> None:
        """At most 120 bytes of it count; what is not of letters, digits and `-_.:+` is told as `_`."""
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.:+") else "_" for c in value)
        raw = plain.encode()[: CELL_BYTES * (_TEXT_CELLS - 1)]
        if raw == self.read(self._registry.cells).encode():
            return  # so that a scrape this very moment does not miss it
        cells = self._registry.cells[self.start : self.start + _TEXT_CELLS]
        cells[0] = 0.0  # nothing, until the whole is there
        cells[1:].cast("B")[: len(raw)] = raw
        cells[0] = float(len(raw))

    def read(self, cells: memoryview[float]) -> str:
        """What was set; empty where nothing was, or it is being set this moment."""
        mine = cells[self.start : self.start + _TEXT_CELLS]
        length = int(mine[0])
        raw = bytes(mine[1:].cast("B")[:length])
        return raw.decode() if int(mine[0]) == length else ""
