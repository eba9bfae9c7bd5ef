"""A trained LightGBM model, asked through LightGBM's own C interface (its "C API" documentation).

The Python package makes a parser of parameters, a predictor and their checks anew at every call, which costs more than
the trees of one request do, and importing it imports pandas and scikit-learn where they are installed. Training uses
it; whoever only serves needs its library alone. The numbers are the same, bit for bit.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import lightgbm

_FLOAT32, _ROW_MAJOR = 0, 1
_NORMAL, _CONTRIBUTIONS = 0, 3
_GAIN = 1
_ALL_ITERATIONS = -1
# One thread a call: a request has few rows, and the cores are for other requests.
_PARAMETERS = b"num_threads=1 verbosity=-1"
_LONGEST_NAME = 256


@cache
def _library() -> ctypes.CDLL:
    """LightGBM's library, without its Python package. Its calls let other Python threads run meanwhile."""
    found = importlib.util.find_spec("lightgbm")
    if found is None or found.origin is None:
        raise ImportError("lightgbm is not installed")
    library = ctypes.CDLL(str(next(Path(found.origin).parent.rglob("lib_lightgbm.so"))))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _done(status: int) -> None:
    if status != 0:
        raise ValueError(f"lightgbm: {_library().LGBM_GetLastError().decode(errors='replace')}")


def _number(ask: str, handle: ctypes.c_void_p) -> int:
    out = ctypes.c_int()
    _done(getattr(_library(), ask)(handle, ctypes.byref(out)))
    return out.value


class Trees:
    """Read-only; predicting is thread-safe. `feature_names`: in the order of a row's numbers.

    Every method raises ValueError, in LightGBM's words, where the library refuses.
    """

    def __init__(self, handle: ctypes.c_void_p) -> None:
        """`handle`: of a booster, this object's own from now on. Rather `open` or `trained`."""
        self._handle, self._free = handle, _library().LGBM_BoosterFree
        self._one, self._free_one = ctypes.c_void_p(), _library().LGBM_FastConfigFree
        self._outputs = _number("LGBM_BoosterGetNumClasses", handle)
        self.feature_names = self._names(_number("LGBM_BoosterGetNumFeature", handle))
        _done(
            _library().LGBM_BoosterPredictForMatSingleRowFastInit(
                handle, _NORMAL, 0, _ALL_ITERATIONS, _FLOAT32, len(self.feature_names), _PARAMETERS,
                ctypes.byref(self._one),
            )
        )  # fmt: skip

    @classmethod
    def open(cls, path: Path) -> Trees:
        """From a file written by `save`, or by LightGBM itself."""
        return cls._of_text(path.read_bytes())

    @classmethod
    def trained(cls, booster: lightgbm.Booster) -> Trees:
        """A copy of what the Python package has trained."""
        return cls._of_text(booster.model_to_string().encode())

    @classmethod
    def _of_text(cls, text: bytes) -> Trees:
        handle, iterations = ctypes.c_void_p(), ctypes.c_int()
        _done(_library().LGBM_BoosterLoadModelFromString(text, ctypes.byref(iterations), ctypes.byref(handle)))
        return cls(handle)

    def __del__(self) -> None:
        if self._one:
            self._free_one(self._one)
        self._free(self._handle)

    def save(self, path: Path) -> None:
        """As text, for `open`."""
        _done(_library().LGBM_BoosterSaveModel(self._handle, 0, _ALL_ITERATIONS, 0, str(path).encode()))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 (n, outputs), (n,) where there is one output. `x`: float32 (n, features), NaN where not known."""
        out = self._of_one(x) if len(x) == 1 else self._predicted(x, _NORMAL, self._outputs)
        return out[:, 0] if self._outputs == 1 else out

    def _of_one(self, x: np.ndarray) -> np.ndarray:
        """As `_predicted`, of one row: by a predictor that is made once, where the other call makes one each time,
        which takes longer than so few trees do. The library lets one thread at a time use it."""
        if x.shape[1] != len(self.feature_names):
            raise ValueError(f"{x.shape[1]} features a row, {len(self.feature_names)} are needed")
        row = np.ascontiguousarray(x, dtype=np.float32)
        out = np.empty((1, self._outputs))
        written = ctypes.c_int64()
        _done(
            _library().LGBM_BoosterPredictForMatSingleRowFast(
                self._one, ctypes.c_void_p(row.ctypes.data), ctypes.byref(written), ctypes.c_void_p(out.ctypes.data)
            )
        )
        return out

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """float64 (n, outputs, features + 1): what each feature adds to each output's score (SHAP of trees, Lundberg
        2018), last the score to begin with. `x` as for `predict`."""
        width = len(self.feature_names) + 1
        return self._predicted(x, _CONTRIBUTIONS, self._outputs * width).reshape(len(x), self._outputs, width)

    def gain(self) -> np.ndarray:
        """float64 (features,): total gain of each feature's splits."""
        out = np.zeros(len(self.feature_names))
        _done(_library().LGBM_BoosterFeatureImportance(self._handle, 0, _GAIN, ctypes.c_void_p(out.ctypes.data)))
        return out

    def _predicted(self, x: np.ndarray, kind: int, width: int) -> np.ndarray:
        n, features = x.shape
        if features != len(self.feature_names):
            raise ValueError(f"{features} features a row, {len(self.feature_names)} are needed")
        rows = np.ascontiguousarray(x, dtype=np.float32)
        out = np.empty((n, width))
        written = ctypes.c_int64()
        _done(
            _library().LGBM_BoosterPredictForMat(
                self._handle, ctypes.c_void_p(rows.ctypes.data), _FLOAT32, n, features, _ROW_MAJOR, kind, 0,
                _ALL_ITERATIONS, _PARAMETERS, ctypes.byref(written), ctypes.c_void_p(out.ctypes.data),
            )
        )  # fmt: skip
        if written.value != out.size:
            raise ValueError(f"lightgbm: {written.value} numbers, expected {out.size}")
        return out

    def _names(self, count: int) -> tuple[str, ...]:
        buffers = [ctypes.create_string_buffer(_LONGEST_NAME) for _ in range(count)]
        pointers = (ctypes.c_void_p * count)(*(ctypes.addressof(b) for b in buffers))
        found, longest = ctypes.c_int(), ctypes.c_size_t()
        _done(
            _library().LGBM_BoosterGetFeatureNames(
                self._handle, count, ctypes.byref(found), ctypes.c_size_t(_LONGEST_NAME), ctypes.byref(longest),
                pointers,
            )
        )  # fmt: skip
        return tuple(buffer.value.decode(errors="replace") for buffer in buffers)
