"""The server's process does without full garbage collections, and still frees what is young."""

from __future__ import annotations

import subprocess
import sys

import pytest

_GROWING = """
import gc, sys, weakref
from rewrite_service.server import spare_full_collections

class Knot:
    def __init__(self):
        self.me = self

if sys.argv[1] == "spared":
    spare_full_collections()
before = gc.get_stats()[2]["collections"]
held = []
for _ in range(600_000):  # as a cache of users grows
    held.append([])
last = weakref.ref(Knot())
for _ in range(600_000):
    held.append([])
print(gc.get_stats()[2]["collections"] - before, last() is None)
"""


@pytest.mark.parametrize(("way", "full"), [("usual", True), ("spared", False)])
def test_no_full_collection_while_much_is_held(way: str, full: bool) -> None:
    command = [sys.executable, "-c", _GROWING, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    collections, knot_is_gone = done.stdout.split()
    assert (int(collections) > 0) is full
    assert knot_is_gone == "True"
