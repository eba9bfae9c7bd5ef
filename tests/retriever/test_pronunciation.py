"""Letters to phonemes: words of the dictionary, names that no dictionary holds, and whatever else is typed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import pronunciation
from retriever.normalise import normalise
from retriever.pronunciation import ALPHABET, as_rows, by_rules, pronounce, pronounce_word, spelled


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("go", "G OW"),
        ("we don't", "W IY D OW N T"),
        ("brew no", "B R UW N OW"),
        ("bruno", "B R UW N OW"),
        ("knight", "N AY T"),
        ("route 66", "R UW T S IH K S S IH K S"),
        ("", ""),
    ],
)
def test_known_words(text: str, sounds: str) -> None:
    assert spelled(pronounce(text)) == sounds


@pytest.mark.parametrize(
    ("name", "sounds"),
    [("wilkersonville", "W IH L K ER S AH N V IH L"), ("zanteen", "Z AE N T IY N"), ("brishake", "B R IH SH EY K")],
)
def test_names_that_no_dictionary_holds_are_read_by_rule(name: str, sounds: str) -> None:
    assert spelled(pronounce(name)) == sounds


@given(st.text("abcdeghinorstuy'é", min_size=1, max_size=12))
def test_a_word_that_no_dictionary_holds_is_read_letter_by_letter(letters: str) -> None:
    word = normalise(letters)
    known = pronunciation._table.get(pronunciation.WORD, word)
    if known is None and not any(ch.isdigit() for ch in word):
        assert pronounce_word(word) == by_rules(word, pronunciation._table)


@given(st.text(max_size=40))
def test_any_text_has_a_pronunciation(text: str) -> None:
    sounds = pronounce(normalise(text))
    assert all(1 <= s < ALPHABET for s in sounds)


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_rows_hold_each_pronunciation_padded(pronunciations: list[bytes]) -> None:
    rows, lengths = as_rows(pronunciations)
    assert rows.dtype == np.uint8 and rows.shape[0] == len(pronunciations)
    for row, length, sounds in zip(rows, lengths, pronunciations, strict=True):
        assert bytes(row[:length]) == sounds and not row[length:].any()
