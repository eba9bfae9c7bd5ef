"""Mapped tables against plain Python twins."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from retriever.packed import HashCounts, PackedStrings, key_hash

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(st.lists(TEXT, max_size=30))
def test_packed_strings_are_the_list(strings: list[str]) -> None:
    assert list(PackedStrings.pack(strings)) == strings


@given(st.dictionaries(TEXT, st.integers(0, 1000), max_size=30), st.lists(TEXT, max_size=10))
def test_hash_counts_are_the_dictionary(counts: dict[str, int], others: list[str]) -> None:
    packed = HashCounts.pack({key_hash(k): (v,) for k, v in counts.items()}, 1)
    for key in [*counts, *others]:
        assert packed.get(key)[0] == counts.get(key, 0)
    asked = [*others, *counts]
    assert packed.get_many([key_hash(k) for k in asked])[:, 0].tolist() == [counts.get(k, 0) for k in asked]


def test_parts_of_a_key_are_kept_apart() -> None:
    assert key_hash("ab", "c") != key_hash("a", "bc")


def test_saved_and_opened_again(tmp_path: Path) -> None:
    strings, counts = PackedStrings.pack(["go", "", "é"]), HashCounts.pack({key_hash("go"): (1, 2)}, 2)
    strings.save(tmp_path, "s")
    counts.save(tmp_path, "c")
    assert list(PackedStrings.open(tmp_path, "s")) == ["go", "", "é"]
    assert HashCounts.open(tmp_path, "c").get("go").tolist() == [1, 2]


def test_empty_tables_answer_with_zeros(tmp_path: Path) -> None:
    HashCounts.pack({}, 2).save(tmp_path, "c")
    assert HashCounts.open(tmp_path, "c").get("anything").tolist() == [0, 0]
    PackedStrings.pack([]).save(tmp_path, "s")
    assert len(PackedStrings.open(tmp_path, "s")) == 0
