"""Checks a model in LightGBM's text format before LightGBM reads it: its reader trusts the text, and a text that lies
about sizes or children ends the process, or sends a prediction round for ever.

Checked: the header against the features, each tree's place against the sizes that the reader jumps by, the number of
entries of each line, and that the nodes are a tree: each child comes after its parent, and each is somebody's child
once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_LEAVES = 1024
_NUMBERS = re.compile(rb"[-+.0-9einfa ]+")
_INTEGERS = re.compile(rb"-?\d{1,9}( -?\d{1,9})*")
_PER_SPLIT = {b"split_feature", b"split_gain", b"threshold", b"decision_type", b"left_child", b"right_child",
              b"internal_value", b"internal_weight", b"internal_count"}  # fmt: skip
_PER_LEAF = {b"leaf_value", b"leaf_weight", b"leaf_count"}
_SINGLE = {b"num_leaves", b"num_cat", b"is_linear", b"shrinkage"}
_NEEDED = {b"num_leaves", b"num_cat", b"leaf_value"}
_NEEDED_TO_SPLIT = {b"split_feature", b"threshold", b"decision_type", b"left_child", b"right_child"}
_HEADER = {b"version", b"num_class", b"num_tree_per_iteration", b"label_index", b"max_feature_idx", b"objective",
           b"feature_names", b"feature_infos", b"tree_sizes", b"average_output", b"monotone_constraints"}  # fmt: skip
_END = b"end of trees"


def check_model_text(text: bytes, names: Sequence[str]) -> None:
    """Raises ValueError where `text` is no model over the features `names`, in this order."""
    begin = text.find(b"\nTree=0\n") + 1
    if not begin or not text.startswith(b"tree\n") or b"\0" in text:
        raise ValueError("model: not in LightGBM's text format")
    header = _fields(text[len(b"tree\n") : begin], _HEADER)
    if header.get(b"feature_names") != " ".join(names).encode():
        raise ValueError("model: was trained on other features than this version computes")
    if header.get(b"max_feature_idx") != b"%d" % (len(names) - 1):
        raise ValueError("model: is not of the number of features it names")
    if header.get(b"num_class") not in (b"1", b"3") or header.get(b"num_tree_per_iteration") != header[b"num_class"]:
        raise ValueError("model: not of one outcome or of three")
    if len(header.get(b"feature_infos", b"").split(b" ")) != len(names):
        raise ValueError("model: feature_infos is not of the number of features")
    sizes = _integers(header.get(b"tree_sizes", b""), "tree_sizes")
    if len(sizes) % int(header[b"num_class"]) or min(sizes) <= 0:
        raise ValueError("model: tree_sizes is not of whole rounds")
    for number, size in enumerate(sizes):
        block = text[begin : begin + size]
        head = b"Tree=%d\n" % number
        if not block.startswith(head):
            raise ValueError(f"model: tree {number} is not where its size says")
        try:
            _check_tree(_fields(block[len(head) :], _PER_SPLIT | _PER_LEAF | _SINGLE), len(names))
        except ValueError as error:
            raise ValueError(f"model: tree {number}: {error}") from None
        begin += size
    if not text.startswith(_END, begin):
        raise ValueError("model: more trees than sizes, or none that ends")


def _fields(block: bytes, known: set[bytes]) -> dict[bytes, bytes]:
    """The lines of a block, `name=value` each, every name once."""
    out: dict[bytes, bytes] = {}
    for line in filter(None, block.split(b"\n")):
        name, _, value = line.partition(b"=")
        if name not in known or name in out:
            raise ValueError(f"an unknown line, or one that is there twice: {name[:40]!r}")
        out[name] = value
    return out


def _integers(line: bytes, name: str) -> list[int]:
    if not _INTEGERS.fullmatch(line):
        raise ValueError(f"{name} holds something else than whole numbers")
    return [int(number) for number in line.split(b" ")]


def _check_tree(tree: dict[bytes, bytes], features: int) -> None:
    if missing := _NEEDED - set(tree):
        raise ValueError(f"no {min(missing).decode()}")
    (leaves,) = _integers(tree[b"num_leaves"], "num_leaves")
    if not 1 <= leaves <= MAX_LEAVES or tree[b"num_cat"] != b"0" or tree.get(b"is_linear", b"0") != b"0":
        raise ValueError("not of the kind that is trained here")
    splits = leaves - 1
    for name, line in tree.items():
        wanted = leaves if name in _PER_LEAF else splits if name in _PER_SPLIT else 1
        if line == b"" and (wanted == 0 or leaves == 1):
            continue
        # Counted by their spaces, two of which never meet: quicker than to take the line apart.
        if not _NUMBERS.fullmatch(line) or line.count(b" ") + 1 != wanted or b"  " in line or line.strip() != line:
            raise ValueError(f"{name.decode()} is not of {wanted} numbers")
    if not splits:
        return
    if missing := _NEEDED_TO_SPLIT - set(tree):
        raise ValueError(f"no {min(missing).decode()}")
    if not all(0 <= feature < features for feature in _integers(tree[b"split_feature"], "split_feature")):
        raise ValueError("splits on a feature that is not there")
    if not all(0 <= kind < 16 for kind in _integers(tree[b"decision_type"], "decision_type")):
        raise ValueError("splits in an unknown way")
    left, right = (_integers(tree[name], "a child") for name in (b"left_child", b"right_child"))
    seen = set()
    for parent, children in enumerate(zip(left, right, strict=True)):
        for child in children:
            if not (parent < child < splits or -leaves <= child < 0) or child in seen:
                raise ValueError("its nodes are no tree")
            seen.add(child)
