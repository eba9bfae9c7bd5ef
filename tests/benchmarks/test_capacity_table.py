"""The operator's table of capacity says what the results say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving.capacity_table import put_into, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_table_is_of_the_results_that_are_there(tmp_path: Path) -> None:
    copy = tmp_path / "operations.md"
    copy.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert not put_into(copy), "run python -m benchmarks.serving.capacity_table docs/operations.md"
    assert table().count("\n") > 6
    copy.write_text("no marks")
    with pytest.raises(SystemExit):
        put_into(copy)
