"""How texts are pronounced, and how far two pronunciations lie apart.

Pronunciations are strings with one letter a phoneme (ARPAbet without stress), so that string tools apply to them.
Distances are whole numbers of tenths of a phoneme: 0 for homophones, 10 for one quite different phoneme.
"""

from __future__ import annotations

import gzip
import string
from functools import cache, lru_cache
from pathlib import Path

from rewrite_service.sample.words import OWN_SOUNDS

PRONUNCIATIONS = Path(__file__).parent / "pronunciations.txt.gz"
"""A word and its phonemes a line, from the CMU Pronouncing Dictionary (benchmarks/pronunciation/make_word_list.py)."""
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
_LETTER = dict(zip(f"{_VOWELS} {_CONSONANTS}".split(), string.ascii_letters, strict=False))

# Groups in which one phoneme is easily taken for another, and what that costs; the least of all groups counts.
_CONFUSABLE = (
    (2, "AA AO"), (2, "IH IY"), (2, "UH UW"), (2, "AH UH"), (2, "AH IH"), (3, "EH AE"), (3, "EH IH"), (3, "AH AA"),
    (3, "OW AO"), (3, "EY EH"), (4, "EY AY"), (4, "AY OY"), (4, "AW AA"), (4, "AE EY"), (4, "OW UW"), (3, "AH EH"),
    (3, "AH ER"), (6, _VOWELS),
    (3, "P B"), (3, "T D"), (3, "K G"), (3, "F V"), (3, "S Z"), (3, "SH ZH"), (3, "CH JH"), (2, "TH DH"),
    (3, "M N"), (3, "N NG"), (4, "M NG"), (4, "F TH"), (4, "V DH"), (4, "S SH"), (4, "S TH"), (4, "Z DH"), (4, "CH SH"),
    (4, "L R"), (4, "T CH"), (4, "D JH"), (4, "W L"), (5, "P T K"), (5, "B D G"), (5, "V B"), (5, "W R"), (5, "L N"),
    (4, "R ER"), (4, "UW W"), (4, "IY Y"), (7, "F V TH DH S Z SH ZH HH"), (8, "P B T D K G CH JH"),
)  # fmt: skip
_GAPS = {"AH": 4, "HH": 4, "T": 6, "D": 6, "N": 7, "R": 6, "L": 7, "IH": 7, "ER": 7, "Y": 6, "W": 7, "Z": 7, "S": 8}
_DIFFERENT = 12
_OTHER_GAP = 9


@cache
def _dictionary() -> dict[str, str]:
    """Every word of the list and of `OWN_SOUNDS` by its pronunciation, in order of spelling."""
    words: dict[str, str] = {}
    for line in gzip.decompress(PRONUNCIATIONS.read_bytes()).decode().splitlines():
        word, *sounds = line.split()
        words[word] = "".join(_LETTER[s] for s in sounds)
    words.update({word: "".join(_LETTER[s] for s in sounds.split()) for word, sounds in OWN_SOUNDS.items()})
    return dict(sorted(words.items()))


@cache
def spellings_by_onset() -> dict[tuple[str, int], dict[str, str]]:
    """(first phoneme, number of phonemes) to {word: pronunciation} of all words that a recogniser may write: no
    apostrophes, no names of one or two letters."""
    table: dict[tuple[str, int], dict[str, str]] = {}
    for word, sounds in _dictionary().items():
        if len(word) > 2 and "'" not in word:
            table.setdefault((sounds[0], len(sounds)), {})[word] = sounds
    return table


@lru_cache(maxsize=65536)
def pronounce(text: str) -> str:
    """The phonemes of a text in normal form, words run together. Raises `KeyError` for a word nobody knows."""
    return "".join(_dictionary()[word] for word in text.split())


def _substitutions() -> dict[tuple[str, str], int]:
    table: dict[tuple[str, str], int] = {}
    for cost, group in _CONFUSABLE:
        letters = [_LETTER[s] for s in group.split()]
        for a in letters:
            for b in letters:
                table[a, b] = 0 if a == b else min(cost, table.get((a, b), cost))
    return table


_SUBSTITUTION = _substitutions()
_GAP = {letter: _GAPS.get(name, _OTHER_GAP) for name, letter in _LETTER.items()}


@lru_cache(maxsize=1 << 18)
def distance_tenths(a: str, b: str) -> int:
    """Weighted edit distance of two pronunciations in tenths of a phoneme, >= 0 (Wagner and Fischer, 1974)."""
    row = [0]
    for y in b:
        row.append(row[-1] + _GAP[y])
    for x in a:
        gap_x, corner = _GAP[x], row[0]
        row[0] += gap_x
        for j, y in enumerate(b):
            swap = corner + (0 if x == y else _SUBSTITUTION.get((x, y), _DIFFERENT))
            corner = row[j + 1]
            row[j + 1] = min(swap, corner + gap_x, row[j] + _GAP[y])
    return row[-1]
