"""The one normalisation of request texts, used offline and online alike.

Two texts are the same request to this service exactly when their normal forms are equal. What is spelled is kept
(letters of any script, digits, apostrophes); what only the keyboard or the recogniser adds is dropped (case,
punctuation, control characters, doubled spaces).
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from retriever.remember import remember

MAX_CHARS = 1000
"""Longer texts are cut before anything else: no request is this long, and work a request is bounded."""

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "&": " and "})
_NOT_SPELLED = re.compile(r"[^\w' ]+|_", re.UNICODE)
_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")
_PLAIN = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)?(?: [a-z0-9]+(?:'[a-z0-9]+)?)*")


@remember()
def normalise(text: str) -> str:
    """The normal form of `text`: NFKC, case-folded, letters, digits and inner apostrophes, single spaces.

    Idempotent. Returns "" where nothing is spelled. Lone surrogates and control characters count as separators.
    """
    text = text[:MAX_CHARS]
    if _PLAIN.fullmatch(text):  # most requests come from a recogniser and are in normal form already
        return text
    text = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    # NFKC once more: case folding may leave a text that is not in NFKC, and the result must be a fixed point.
    text = unicodedata.normalize("NFKC", text)
    text = _NOT_SPELLED.sub(" ", text)
    text = _LOOSE_APOSTROPHE.sub(" ", text)
    return " ".join(text.split())[:MAX_CHARS].rstrip()


def word_pairs(text: str) -> list[tuple[str, str]]:
    """Neighbouring words of a text in normal form, its borders included."""
    return list(pairwise(["<s>", *text.split(), "</s>"]))
