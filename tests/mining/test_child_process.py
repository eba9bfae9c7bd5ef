"""A process that is tied to another one ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mining.child_process import end_with

CHILD = """
import os, signal, sys, time
from mining.child_process import end_with
print(end_with(int(sys.argv[1]), signal.Signals(int(sys.argv[2]))), os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]])
time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(by: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(int(by))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        tied, pid = parent.stdout.readline().split()
        assert tied == "True"
        parent.kill()
        end = time.monotonic() + 60
        while _alive(int(pid)):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_one_that_comes_too_late_is_told() -> None:
    assert not end_with(1 << 22, signal.SIGCONT)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
