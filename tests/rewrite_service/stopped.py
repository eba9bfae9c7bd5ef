"""A command that is stopped in the midst of its work: where, its own progress says, and not how fast the machine is."""

from __future__ import annotations

import signal
import subprocess
import sys

_STOPPED = """
import os, signal, sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from rewrite_service.cli import main
from rewrite_service.progress import Progress

name, at, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.argv[1:] = sys.argv[4:]
task = Progress.task

@contextmanager
def stopped(self: Progress, told: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    done, due = 0, True

    def stop_when_due() -> None:
        nonlocal due
        if due and told == name and done >= at:
            due = False  # once: further steps may come from other threads, while what was begun is given up
            os.kill(os.getpid(), number)

    with task(self, told, total) as step:
        stop_when_due()

        def counted(n: int) -> None:
            nonlocal done
            step(n)
            done += n
            stop_when_due()

        yield counted

Progress.task = stopped
# Whoever starts the tests in the background may have them ignore Ctrl-C, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def stopped(
    task: str, step: int, *arguments: object, by: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """What became of `query-rewrite ARGUMENTS`, which gets the signal once it has done so many steps of a task; 0: as
    the task begins."""
    command = [sys.executable, "-c", _STOPPED, task, str(step), str(int(by)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
