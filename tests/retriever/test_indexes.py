"""Both indexes against an exhaustive scan in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.global_index import FLAT_BELOW, GlobalIndex
from retriever.personal_index import PersonalIndex
from retriever.views import Views


def clustered(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Unit rows in clusters, as texts that share frames are; evenly spread noise would be no fair test of a graph."""
    centres = rng.normal(size=(max(1, n // 40), d))
    rows = centres[rng.integers(0, len(centres), n)] + 0.6 * rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def views(seed: int, n: int) -> Views:
    rng = np.random.default_rng(seed)
    return Views(clustered(rng, n, 384), clustered(rng, n, 512))


def exact(rows: np.ndarray, query: np.ndarray, k: int) -> set[int]:
    return set(np.argsort(-(rows @ query), kind="stable")[:k].tolist())


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 20))
def test_personal_search_is_exact(seed: int, n: int, k: int) -> None:
    rows, query = views(seed, n), views(seed + 1, 1)
    hits = PersonalIndex(rows).search(query, k)
    wanted = exact(rows.meaning, query.meaning[0], k) | exact(rows.sound, query.sound[0], k)
    assert set(hits.rows.tolist()) == wanted
    np.testing.assert_allclose(hits.meaning, rows.meaning[hits.rows] @ query.meaning[0], atol=1e-5)
    np.testing.assert_allclose(hits.sound, rows.sound[hits.rows] @ query.sound[0], atol=1e-5)


def test_an_empty_personal_index_finds_nothing() -> None:
    empty = Views(np.zeros((0, 384), np.float32), np.zeros((0, 512), np.float32))
    assert len(PersonalIndex(empty).search(views(1, 1), 5).rows) == 0


@pytest.mark.parametrize(("n", "kind"), [(FLAT_BELOW - 1, "IndexFlatIP"), (12_000, "IndexHNSWSQ")])
def test_global_recall_at_20_and_kind_by_size(n: int, kind: str, tmp_path: Path) -> None:
    rows = views(7, n)
    GlobalIndex.build(rows).save(tmp_path)
    index = GlobalIndex.open(tmp_path)
    assert index.kind == kind and len(index) == n
    # Queries near rows, as requests are near texts that were said before.
    rng, found, wanted = np.random.default_rng(8), 0, 0
    for row in rng.integers(0, n, 150):
        noisy = [v[row] + 0.03 * rng.normal(size=v.shape[1]).astype(np.float32) for v in (rows.meaning, rows.sound)]
        query = Views(*(np.float32(v / np.linalg.norm(v))[None] for v in noisy))
        hits = set(index.search(query, 20).rows.tolist())
        for mine, its in ((rows.meaning, query.meaning), (rows.sound, query.sound)):
            best = exact(mine, its[0], 20)
            found += len(best & hits)
            wanted += len(best)
    assert found / wanted >= 0.98, f"recall@20 is {found / wanted:.3f}"
