"""The one normalisation: examples, and properties on any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.normalise import MAX_CHARS, normalise, word_pairs


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("Play  GO!", "play go"),
        ("what’s the weather", "what's the weather"),
        ("rock & roll", "rock and roll"),
        ("'tis the season'", "tis the season"),
        ("don't stop", "don't stop"),
        ("a\x00b\tc\nd", "a b c d"),
        ("\ud800play", "play"),
        ("ＰＬＡＹ ｇｏ", "play go"),
        ("straße", "strasse"),
        ("beyoncé", "beyoncé"),
        ("snake_case", "snake case"),
        ("", ""),
        ("?!…", ""),
        ("99 luftballons", "99 luftballons"),
    ],
)
def test_examples(raw: str, normal: str) -> None:
    assert normalise(raw) == normal


@given(st.text(max_size=300))
def test_normal_form_is_a_fixed_point_with_single_spaces(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())
    assert len(once) <= MAX_CHARS


@given(st.text(alphabet="abc' ", max_size=60))
def test_case_and_outer_space_never_matter(text: str) -> None:
    assert normalise(f"  {text.upper()} ") == normalise(text)


def test_huge_text_is_bounded() -> None:
    assert len(normalise("ab " * 1_000_000)) <= MAX_CHARS


def test_word_pairs_have_borders() -> None:
    assert word_pairs("play go") == [("<s>", "play"), ("play", "go"), ("go", "</s>")]
