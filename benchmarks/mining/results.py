"""Writes figures of the miners into the one file that holds them, `benchmarks/results/mining.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import results_file

RESULTS = Path("benchmarks/results/mining.json")


def write_figures(part: str, command: str, figures: Mapping[str, Any]) -> None:
    """See `benchmarks.results_file`."""
    results_file.write_figures(RESULTS, part, command, figures)
