"""Parts of a file of figures are measured by commands of their own and must not lose each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results_file import PARTS, write_figures


def test_each_part_keeps_the_figures_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "results" / "mining.json"
    write_figures(file, "one", "make one", {"a": 1, "b": 2})
    write_figures(file, "two", "make two", {"c": [3]})
    write_figures(file, "one", "make one", {"a": 5})
    record = json.loads(file.read_text())
    assert {name: value for name, value in record.items() if name != PARTS} == {"a": 5, "c": [3]}
    assert {part: of["figures"] for part, of in record[PARTS].items()} == {"one": ["a"], "two": ["c"]}
    assert all(of["machine"] and of["date"] and of["command"] for of in record[PARTS].values())
    assert [path.name for path in file.parent.iterdir()] == ["mining.json"]


def test_a_part_cannot_take_anothers_figure(tmp_path: Path) -> None:
    file = tmp_path / "mining.json"
    write_figures(file, "one", "make one", {"a": 1})
    with pytest.raises(ValueError, match="a: figures of another part"):
        write_figures(file, "two", "make two", {"a": 2})
    assert json.loads(file.read_text())["a"] == 1
