"""Whether a text may be what was said where another was heard: the pair is then one that a recogniser can learn from.

Whoever is misheard often says it again otherwise: in full, in another frame, typed. Then the later text is right, but
it is no transcript of the earlier one. So both are aligned word by word, and each stretch in which they differ must
have words on either side that sound somewhat alike and are about as long: nothing was added, left out or replaced by
choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from retriever.sound import sound_key

ALIKE, ALIKE_AS_A_WHOLE = 0.4, 0.65
LONGER = 1.6
"""A stretch's sounds may be so many times as many as those it was heard as."""


def transcribes(heard: str, text: str) -> bool:
    """Whether `text` may be what was said. Both in normal form; equal texts are no pair to learn from."""
    if heard == text or _alike(heard, text) < ALIKE_AS_A_WHOLE:
        return False
    return all(_misheard(a, b) for a, b in _stretches(heard.split(), text.split()))


def _misheard(heard: str, said: str) -> bool:
    a, b = len(sound_key(heard)), len(sound_key(said))
    if not a or not b or max(a, b) > 1 + LONGER * min(a, b):
        return False
    return _alike(heard, said) >= ALIKE


def _alike(a: str, b: str) -> float:
    return float(fuzz.ratio(sound_key(a), sound_key(b))) / 100


def _stretches(heard: Sequence[str], said: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The words of either where they differ, neighbouring changes as one."""
    a: list[str] = []
    b: list[str] = []
    for step in Levenshtein.opcodes(heard, said):
        if step.tag == "equal":
            if a or b:
                yield " ".join(a), " ".join(b)
            a, b = [], []
        else:
            a += heard[step.src_start : step.src_end]
            b += said[step.dest_start : step.dest_end]
    if a or b:
        yield " ".join(a), " ".join(b)
