"""An index's file is checked before FAISS maps it: what FAISS writes passes; what would lead its search astray does
not."""

from __future__ import annotations

import random
from pathlib import Path

import faiss
import numpy as np
import pytest

from retriever import global_index
from retriever.global_index import build_index, open_index
from retriever.index_file import _header, _Reader, check_index_file

ROWS, DIMENSION = 300, 8


@pytest.fixture(params=["flat", "graph"])
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(global_index, "FLAT_BELOW", 0 if request.param == "graph" else 10**6)
    path = tmp_path / "index.faiss"
    faiss.write_index(build_index(vectors(ROWS)), str(path))
    return path


def vectors(rows: int) -> np.ndarray:
    made = np.random.default_rng(1).normal(size=(rows, DIMENSION)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 2, 40, 3000])
@pytest.mark.parametrize("flat_below", [0, 10**6])
def test_what_faiss_writes_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, flat_below: int) -> None:
    monkeypatch.setattr(global_index, "FLAT_BELOW", flat_below)
    faiss.write_index(build_index(vectors(rows)), str(tmp_path / "index"))
    assert open_index(tmp_path / "index").ntotal == rows


def test_one_of_no_rows_passes(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatIP(4), str(tmp_path / "index"))
    assert open_index(tmp_path / "index").ntotal == 0


def test_every_cut_and_what_is_too_much_are_refused(written: Path) -> None:
    whole = written.read_bytes()
    for end in [*range(1, len(whole), 997), len(whole) - 1]:
        written.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="index"):
            check_index_file(written)
    written.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="more in it"):
        check_index_file(written)


def test_what_passes_can_be_searched(written: Path) -> None:
    """Bytes of the head and of the graph altered at random: refused, or FAISS bears it. A crash ends the test run."""
    whole, rng, passed = written.read_bytes(), random.Random(4), 0
    queries = vectors(5)
    for _ in range(80):
        out = bytearray(whole)
        at = rng.randrange(min(len(out), rng.choice([60, 400, 100_000])))
        out[at] = rng.randrange(256)
        written.write_bytes(out)
        try:
            index = open_index(written)
        except (ValueError, RuntimeError):
            continue
        passed += 1
        if index.d == DIMENSION:
            assert index.search(queries, 10)[1].max() < ROWS
    assert passed < 80


@pytest.mark.parametrize("written", ["graph"], indirect=True)
def test_a_link_to_nowhere_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    file = _Reader(written)
    _header(file)
    for dtype in (np.float64, np.int32, np.int32, np.uint64):
        file.array(dtype)
    at = file._at + 8
    for bad in (ROWS, -2, 2**31 - 1):
        written.write_bytes(whole[:at] + np.int32(bad).tobytes() + whole[at + 4 :])
        with pytest.raises(ValueError, match="a link leads to a row that is not there"):
            check_index_file(written)


@pytest.mark.parametrize("written", ["graph"], indirect=True)
def test_a_link_to_a_row_that_is_not_on_its_level_is_refused(written: Path) -> None:
    """FAISS reads such a file, and its search ends the process."""
    file = _Reader(written)
    _header(file)
    file.array(np.float64)
    links_to, levels, ends = file.array(np.int32), file.array(np.int32), file.array(np.uint64)
    high, low = int(np.flatnonzero(levels > 1)[0]), int(np.flatnonzero(levels == 1)[0])
    at = file._at + 8 + 4 * (int(ends[high]) + int(links_to[1]))
    whole = written.read_bytes()
    written.write_bytes(whole[:at] + np.int32(low).tobytes() + whole[at + 4 :])
    with pytest.raises(ValueError, match="not on its level"):
        check_index_file(written)


@pytest.mark.parametrize("kind", [faiss.IndexFlatL2(4), faiss.IndexLSH(4, 8)])
def test_other_kinds_are_refused(tmp_path: Path, kind: faiss.Index) -> None:
    faiss.write_index(kind, str(tmp_path / "index"))
    with pytest.raises(ValueError, match="index"):
        check_index_file(tmp_path / "index")
