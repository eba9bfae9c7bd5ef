"""Writes deploy/constraints.txt: a version for every library that the container image installs, those that our own
pull in among them, so that two builds of one commit hold the same. Run it after a change of pins in pyproject.toml.

usage: python deploy/constraints.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "constraints.txt"
EXTRAS = "redis,tracing"
"""As in deploy/Dockerfile."""
_HEAD = "# Made by `python deploy/constraints.py`; what deploy/Dockerfile installs.\n"


def resolved() -> list[str]:
    """`name==version` of each library that an empty environment would get, sorted. Raises CalledProcessError."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, f"{ROOT}[{EXTRAS}]"], stdout=subprocess.PIPE, check=True)
    about = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return sorted(f"{one['name'].lower()}=={one['version']}" for one in about if one["name"] != "query-rewrite")


if __name__ == "__main__":
    FILE.write_text(_HEAD + "\n".join(resolved()) + "\n", encoding="utf-8")
    print(FILE.relative_to(ROOT))
