"""A model's text is checked before LightGBM reads it: what it writes passes, what lies is refused and never read."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.model_text import check_model_text

NAMES = ["a", "b", "c"]


def model(classes: int = 1, rows: int = 400) -> bytes:
    rng = np.random.default_rng(1)
    x, y = rng.random((rows, 3)), rng.integers(0, max(2, classes), rows)
    kind = {"objective": "multiclass", "num_class": classes} if classes > 1 else {"objective": "cross_entropy"}
    data = lightgbm.Dataset(x, y, feature_name=NAMES)
    made = lightgbm.train({"verbose": -1, "num_leaves": 6, "num_threads": 1, **kind}, data, 3)
    return made.model_to_string().encode()


WHOLE = model()


@pytest.mark.parametrize("text", [WHOLE, model(3), model(rows=20)], ids=["one outcome", "three", "no splits"])
def test_what_lightgbm_writes_passes(text: bytes) -> None:
    check_model_text(text, NAMES)


def altered(line: str, change) -> bytes:
    """The model with a line of its second tree changed; its size is made to fit."""
    begin = WHOLE.index(b"Tree=1\n")
    end = WHOLE.index(b"Tree=2\n")
    block = WHOLE[begin:end]
    made = re.sub(rb"(?m)^%s=(.*)$" % line.encode(), lambda m: line.encode() + b"=" + change(m[1]), block)
    assert made != block
    sizes = re.search(rb"tree_sizes=(.*)\n", WHOLE)[1].split()
    sizes[1] = b"%d" % (int(sizes[1]) + len(made) - len(block))
    whole = WHOLE[:begin] + made + WHOLE[end:]
    return re.sub(rb"tree_sizes=.*\n", b"tree_sizes=" + b" ".join(sizes) + b"\n", whole)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("left_child", lambda v: b"0" + v[v.index(b" ") :]),  # a node that is its own child: a prediction without end
        ("left_child", lambda v: b"99" + v[v.index(b" ") :]),
        ("right_child", lambda v: b"-99" + v[v.index(b" ") :]),
        ("right_child", lambda v: b"1 1 1 1 1"),
        ("split_feature", lambda v: b"3" + v[v.index(b" ") :]),
        ("split_feature", lambda v: b"-1" + v[v.index(b" ") :]),
        ("threshold", lambda v: v[: v.rindex(b" ")]),
        ("threshold", lambda v: v + b" "),
        ("leaf_value", lambda v: v + b" 1"),
        ("leaf_value", lambda v: b"x" + v[1:]),
        ("num_leaves", lambda v: b"7"),
        ("num_leaves", lambda v: b"999999999999"),
        ("num_leaves", lambda v: b"0"),
        ("num_cat", lambda v: b"1"),
        ("is_linear", lambda v: b"1"),
        ("decision_type", lambda v: b"99" + v[v.index(b" ") :]),
    ],
)
def test_a_tree_that_lies_is_refused(line: str, change) -> None:
    with pytest.raises(ValueError, match="tree 1"):
        check_model_text(altered(line, change), NAMES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tree\n", b"three\n"),
        (b"feature_names=a b c", b"feature_names=a c b"),
        (b"max_feature_idx=2", b"max_feature_idx=99"),
        (b"num_class=1", b"num_class=1000000"),
        (b"tree_sizes=", b"tree_sizes=1 "),
        (b"tree_sizes=", b"tree_sizes=-"),
        (b"Tree=1\n", b"Tree=3\n"),
        (b"end of trees", b"Tree=3\n"),
        (b"num_cat=0", b"\0um_cat=0"),
    ],
)
def test_a_header_that_lies_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(ValueError, match="model"):
        check_model_text(WHOLE.replace(old, new), NAMES)


def test_every_cut_of_the_trees_is_refused() -> None:
    for end in range(0, WHOLE.index(b"end of trees") + len(b"end of trees"), 7):
        with pytest.raises(ValueError, match=r".+"):
            check_model_text(WHOLE[:end], NAMES)


@settings(max_examples=80)
@given(st.integers(0, WHOLE.index(b"end of trees") - 1), st.integers(0, 255))
def test_what_passes_can_be_read_and_asked(at: int, value: int) -> None:
    text = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    try:
        check_model_text(text, NAMES)
    except ValueError:
        return
    try:
        made = lightgbm.Booster(model_str=text.decode("latin-1"))
    except (lightgbm.basic.LightGBMError, ValueError):  # it refuses by itself: an unknown objective, for instance
        return
    assert len(made.predict(np.array([[0.1, 0.5, np.nan]]), num_threads=1)) == 1
