"""Progress of long work: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

_LINE_EVERY_S = 10.0


class Progress:
    """Writes to standard error, so that standard output stays the command's answer."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Gives a function to call with the number of steps done since its last call."""
        if self._quiet:
            yield lambda n: None
        elif self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            with Bars(*columns, console=self._console) as bars:
                task = bars.add_task(name, total=total)
                yield lambda n: bars.advance(task, n)
        else:
            yield from self._lines(name, total)

    @staticmethod
    def _lines(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        start = said = time.monotonic()
        done = 0

        def step(n: int) -> None:
            nonlocal done, said
            done += n
            if time.monotonic() - said > _LINE_EVERY_S:
                said = time.monotonic()
                print(f"{name}: {_how_far(done, total, said - start)}", file=sys.stderr, flush=True)

        print(f"{name} ...", file=sys.stderr, flush=True)
        yield step
        print(f"{name}: done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.4g}/s" if task.speed else "")


def _how_far(done: int, total: int | None, seconds: float) -> str:
    """Steps done, steps a second, and how long the rest will take at that."""
    rate = done / seconds if seconds > 0 else 0.0
    said = f"{done}{f' of {total}' if total else ''}, {rate:.4g}/s"
    return f"{said}, {(total - done) / rate:.0f} s left" if total and rate else said
