"""LightGBM asked through its C interface says what its Python package says, bit for bit, and refuses other texts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from ranker.trees import Trees

PARAMETERS = {"num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1, "verbosity": -1, "seed": 7}
NAMES = ["a", "b", "c", "d", "e"]


def rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.1] = 0.0
    return x


def trained(objective: str) -> lightgbm.Booster:
    x = rows(600, 0)
    y = (np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) * np.nan_to_num(x[:, 2]) > 0.3).astype(float)
    more = {}
    if objective == "multiclass":
        y, more = y + (np.nan_to_num(x[:, 3]) > 0.5), {"num_class": 3}
    data = lightgbm.Dataset(x, y, feature_name=NAMES)
    return lightgbm.train({**PARAMETERS, **more, "objective": objective}, data, 25)


@pytest.fixture(scope="module", params=["multiclass", "cross_entropy"])
def booster(request: pytest.FixtureRequest) -> lightgbm.Booster:
    return trained(request.param)


@pytest.mark.parametrize("n", [1, 2, 13, 500])
def test_it_predicts_as_the_python_package_does(booster: lightgbm.Booster, n: int) -> None:
    trees, x = Trees.trained(booster), rows(n, n)
    assert np.array_equal(trees.predict(x), booster.predict(x, num_threads=1))
    assert np.array_equal(trees.predict(np.asfortranarray(x)), booster.predict(x, num_threads=1))
    theirs = np.asarray(booster.predict(x, pred_contrib=True, num_threads=1))
    assert np.array_equal(trees.contributions(x).reshape(n, -1), theirs)
    assert trees.feature_names == tuple(NAMES)
    assert trees.gain() == pytest.approx(booster.feature_importance("gain"), rel=1e-5)  # a text has fewer digits of it


def test_a_saved_one_is_the_same_in_either_reader(booster: lightgbm.Booster, tmp_path: Path) -> None:
    trees, x = Trees.trained(booster), rows(50, 3)
    trees.save(tmp_path / "ours.txt")
    booster.save_model(str(tmp_path / "theirs.txt"))
    said = trees.predict(x)
    assert np.array_equal(Trees.open(tmp_path / "ours.txt").predict(x), said)
    assert np.array_equal(Trees.open(tmp_path / "theirs.txt").predict(x), said)
    assert np.array_equal(lightgbm.Booster(model_file=str(tmp_path / "ours.txt")).predict(x), said)


def test_several_threads_may_ask_at_once(booster: lightgbm.Booster) -> None:
    trees = Trees.trained(booster)
    several = [rows(n, seed) for seed in range(40) for n in (13, 1)]  # one row goes a way of its own
    alone = [trees.predict(x) for x in several]
    with ThreadPoolExecutor(4) as pool:
        for said, expected in zip(pool.map(trees.predict, several), alone, strict=True):
            assert np.array_equal(said, expected)


def test_no_rows_no_predictions(booster: lightgbm.Booster) -> None:
    assert len(Trees.trained(booster).predict(rows(0, 0))) == 0


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("width", [0, len(NAMES) - 1, len(NAMES) + 1])
def test_rows_of_another_width_are_refused(booster: lightgbm.Booster, width: int, count: int) -> None:
    with pytest.raises(ValueError, match="features a row"):
        Trees.trained(booster).predict(np.zeros((count, width), np.float32))


@pytest.mark.parametrize("text", [b"", b"no model", b"tree\nversion=v4\n", b"\x00" * 100])
def test_what_is_no_model_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.txt").write_bytes(text)
    with pytest.raises(ValueError):
        Trees.open(tmp_path / "model.txt")
