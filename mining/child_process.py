"""Ties a process to the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> bool:
    """Has Linux send `by` to this process once its parent ends, a kill -9 included. Called in the child.

    parent: the parent's process id as it knew itself. Returns False where it has ended already, since no signal comes
    any more then. It is the thread of the parent that started this process whose end counts: `prctl(2)`.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    return os.getppid() == parent
