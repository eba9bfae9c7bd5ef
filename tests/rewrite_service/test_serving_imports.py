"""Serving needs no training library, and is ready sooner for it: what a server loads, it loads without torch, and
without all that is for training, reading logs and drawing reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, tempfile
from pathlib import Path
import rewrite_service.server
from retriever.interaction import Request
from rewrite_service.opening import open_pipeline
from rewrite_service.settings import Settings

with tempfile.TemporaryDirectory() as state:
    pipeline = open_pipeline(Path(sys.argv[1]), Settings(state_dir=Path(state)))
    print(pipeline.rewrite(Request("i", "ada", 1_770_000_000_000, "what's the weather in wilkerson")).reason)
    pipeline.close()
heavy = {
    "torch", "transformers", "sentence_transformers", "retriever.training",
    "lightgbm", "sklearn", "pandas", "scipy", "matplotlib", "pyarrow", "jinja2", "duckdb", "pyspark",
} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_serving_process_loads_no_training_library(bundle_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle_dir)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
