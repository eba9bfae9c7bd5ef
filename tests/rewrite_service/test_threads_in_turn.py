"""A thread that computes lets another one run soon, as the event loop must answer while the worker is at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rewrite_service.server import Exit

_SERVING = """
import sys
from pathlib import Path
from rewrite_service.server import serve
from rewrite_service.settings import Settings

before = sys.getswitchinterval()
code = serve(Path(sys.argv[1]), Settings(port=0, state_dir=Path(sys.argv[1])))
print(before, code, sys.getswitchinterval())
"""


def test_who_serves_has_its_threads_switch_often(tmp_path: Path) -> None:
    """How long a thread that computes may keep another one waiting is Python's to keep; that it is asked for is ours.
    Here there is no bundle, so that it ends by itself."""
    command = [sys.executable, "-c", _SERVING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    before, code, after = done.stdout.split()
    assert (int(code), float(after)) == (Exit.BUNDLE, 0.0005) and float(before) == 0.005
