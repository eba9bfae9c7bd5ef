"""The rules of the house, checked on the sources: directions of dependency, sizes, docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"retriever", "ranker", "mining", "rewrite_service"}
MAY_IMPORT = {
    "retriever": set(),
    "ranker": {"retriever"},
    "mining": {"retriever"},
    "rewrite_service": {"retriever", "ranker", "mining"},
}
NO_TRANSPORT = {"retriever", "ranker", "mining"}
TRAINING = {ROOT / package / "training" for package in ("retriever", "mining")}
SOURCES = sorted(p for package in OURS for p in (ROOT / package).rglob("*.py") if "pb" not in p.parts)


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_source_keeps_the_rules(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    names = imported(path)
    wrong = (names & OURS) - MAY_IMPORT[package] - {package}
    assert not wrong, f"{package} must not import {wrong}"
    if package in NO_TRANSPORT:
        assert not names & {"grpc", "redis"}, f"{package} must know no transport and no store"
    if path.parent not in TRAINING:
        assert not names & {"torch", "sentence_transformers", "transformers"}, "training libraries stay out"
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), "say in the first docstring what the module is for"
    assert len(text.splitlines()) <= 400, "too long to read in one sitting"


def test_the_pipeline_knows_no_transport() -> None:
    for module in ("pipeline", "opening", "assemble", "bundle", "user_state", "replay", "examples", "learning"):
        assert "grpc" not in imported(ROOT / "rewrite_service" / f"{module}.py")


def test_files_that_begin_first_are_there() -> None:
    from tests.conftest import LONG_FILES

    assert set(LONG_FILES) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
