"""Letters to phonemes: how a text is pronounced, names that no dictionary holds included.

Letter-to-sound rules learned from the CMU Pronouncing Dictionary (what a letter sounds like between its neighbours, the
widest context known deciding), and the dictionary's words on which the rules are wrong. Both are one table, made by
`benchmarks/pronunciation/make_table.py`, mapped from a file. English only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retriever.packed import PackedMap
from retriever.remember import remember

PHONEMES = (
    ["AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"]
)
"""ARPAbet without stress. A pronunciation is bytes, each the number of a phoneme in this list plus one; 0 is none."""
SILENT = 0
ALPHABET = len(PHONEMES) + 1

CONTEXTS = ((2, 3), (2, 2), (1, 2), (1, 1), (0, 1), (0, 0))
"""Letters before and after that a rule looks at, widest first."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORD, RULE = "w", "r"

_table = PackedMap.open(Path(__file__).parent / "weights", "pronunciation")
_BEFORE, _AFTER = CONTEXTS[0]


def rule_key(word: str, i: int, before: int, after: int) -> tuple[str, str]:
    """The table's key for letter `i` of `word` with its neighbours; "#" stands beyond the ends."""
    padded = f"{'#' * before}{word}{'#' * after}"
    return RULE, f"{padded[i : i + before]}[{word[i]}]{padded[i + before + 1 : i + before + 1 + after]}"


def by_rules(word: str, table: PackedMap) -> bytes:
    """The pronunciation of a word by the rules alone; a letter that no rule knows is silent."""
    out = []
    for i in range(len(word)):
        for before, after in CONTEXTS:
            found = table.get(*rule_key(word, i, before, after))
            if found is not None:
                out.append(found)
                break
    return b"".join(out)


@remember()
def pronounce_word(word: str) -> bytes:
    """The phonemes of one word in normal form; digits one by one."""
    if word.isalpha():
        known = _table.get(WORD, word)
        return _read(word) if known is None else known
    out = []
    for part in _parts(word):
        if part.isdigit():
            out += [pronounce_word(_DIGITS[int(d)]) for d in part if d in "0123456789"]
        elif part:
            known = _table.get(WORD, part)
            out.append(_read(part) if known is None else known)
    return b"".join(out)


def _read(word: str) -> bytes:
    """`by_rules` of this package's table, whose answers are remembered letter by letter: words share many."""
    padded = f"{'#' * _BEFORE}{word}{'#' * _AFTER}"
    width = _BEFORE + 1 + _AFTER
    return b"".join([_letter(padded[i : i + width]) for i in range(len(word))])


@remember()
def _letter(window: str) -> bytes:
    """What the letter in the middle of `window`, the widest context, sounds like."""
    letter, after = window[_BEFORE], window[_BEFORE + 1 :]
    for before_it, after_it in CONTEXTS:
        found = _table.get(RULE, f"{window[_BEFORE - before_it : _BEFORE]}[{letter}]{after[:after_it]}")
        if found is not None:
            return found
    return b""


def _parts(word: str) -> list[str]:
    """The runs of digits and of letters in a word; apostrophes belong to letters."""
    out = [""]
    for ch in word:
        if out[-1] and out[-1][-1].isdigit() != ch.isdigit():
            out.append("")
        out[-1] += ch
    return out


@remember()
def pronounce(text: str) -> bytes:
    """The phonemes of a text in normal form, words run together. b"" for ""."""
    return b"".join(map(pronounce_word, text.split()))


def spelled(pronunciation: bytes) -> str:
    """ARPAbet in words, for people: "G OW"."""
    return " ".join(PHONEMES[p - 1] for p in pronunciation)


def as_rows(pronunciations: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, longest), padded with 0, and the lengths, int64 (n,)."""
    lengths = np.fromiter(map(len, pronunciations), dtype=np.int64, count=len(pronunciations))
    rows = np.zeros((len(pronunciations), max(1, int(lengths.max(initial=0)))), dtype=np.uint8)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = np.frombuffer(b"".join(pronunciations), dtype=np.uint8)
    return rows, lengths
