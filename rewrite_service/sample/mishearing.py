"""The sample log's speech recogniser: what it writes when somebody says something.

It errs as recognisers do: a word becomes one that sounds like it, or two, or two become one ("bruno", "brew no"),
names more often than the frame around them. Errors are random anew each time, but every voice has its typical ones.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from rewrite_service.sample.facts import ARTISTS, CONTACTS, FILMS, SONGS, STATES, STATES_OF
from rewrite_service.sample.phonemes import distance_tenths, pronounce, spellings_by_onset
from rewrite_service.sample.words import EVERYDAY

_KEPT = 16
_RARE_WORD_TENTHS = 3
"""A word outside everyday English counts as this much further away: recognisers like what is often said."""
_BREAK_TENTHS = 2
_TYPICAL_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Confusion:
    """A text that a word may be heard as. `tenths`: how far its sound lies from the word's, in tenths of a phoneme."""

    text: str
    tenths: int

    @property
    def weight(self) -> int:
        """How likely it is among a word's confusions, relative, > 0."""
        return 1 + 3000 // (2 + self.tenths * self.tenths)


def limit_tenths(sounds: str) -> int:
    """The furthest that a mishearing of these phonemes may lie, in tenths of a phoneme."""
    return min(6 + 2 * len(sounds), 22)


@cache
def _vocabulary(names: bool) -> dict[str, str]:
    """Everyday words with their sounds; with `names`, also the words of all names that people ask for."""
    words = set(EVERYDAY)
    if names:
        asked = (*STATES_OF, *STATES, *FILMS, *ARTISTS, *CONTACTS, *(s.title for s in SONGS))
        words.update(w for w in " ".join(asked).split() if len(w) > 1)
    return {w: pronounce(w) for w in sorted(words)}


@lru_cache(maxsize=16384)
def _near_words(sounds: str, count: int, names: bool) -> tuple[Confusion, ...]:
    """Words of the vocabulary that sound like `sounds`, nearest first, at most `count`."""
    edits = 1 if len(sounds) <= 3 else 2
    near = process.extract(sounds, _vocabulary(names), scorer=Levenshtein.distance, score_cutoff=edits, limit=40)
    found = [Confusion(word, distance_tenths(sounds, code)) for code, _, word in near]
    return tuple(sorted(found, key=lambda c: (c.tenths, c.text))[:count])


def _rare_words(sounds: str) -> list[Confusion]:
    """Words of the whole dictionary that begin alike, for sounds long enough that few words come near."""
    if len(sounds) < 5:
        return []
    found, edits = [], 1 if len(sounds) < 7 else 2
    for length in (len(sounds) - 1, len(sounds), len(sounds) + 1):
        words = spellings_by_onset().get((sounds[0], length), {})
        near = process.extract(sounds, words, scorer=Levenshtein.distance, score_cutoff=edits, limit=20)
        found += [Confusion(w, distance_tenths(sounds, code) + _RARE_WORD_TENTHS) for code, _, w in near]
    return found


def _pairs(sounds: str, names: bool) -> list[Confusion]:
    found = []
    for cut in range(1, len(sounds)):
        for first in _near_words(sounds[:cut], 3, names):
            for second in _near_words(sounds[cut:], 3, names):
                tenths = first.tenths + second.tenths + _BREAK_TENTHS
                found.append(Confusion(f"{first.text} {second.text}", tenths))
    return found


@lru_cache(maxsize=16384)
def confusions(text: str) -> tuple[Confusion, ...]:
    """What a word, or two words run together, may be heard as: nearest first, at most 16, without the text itself."""
    sounds = pronounce(text)
    best: dict[str, int] = {}
    # One word breaks into everyday words; two words run together may well break into another name.
    for c in (*_near_words(sounds, 12, True), *_rare_words(sounds), *_pairs(sounds, " " in text)):
        if c.text != text and c.tenths <= limit_tenths(sounds):
            best[c.text] = min(c.tenths, best.get(c.text, c.tenths))
    ranked = sorted((tenths, heard) for heard, tenths in best.items())
    return tuple(Confusion(heard, tenths) for tenths, heard in ranked[:_KEPT])


def _draw(options: tuple[Confusion, ...], rng: random.Random) -> str:
    return rng.choices(options, cum_weights=_cumulative(options))[0].text


@lru_cache(maxsize=16384)
def _cumulative(options: tuple[Confusion, ...]) -> list[int]:
    total, out = 0, []
    for option in options:
        total += option.weight
        out.append(total)
    return out


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the recogniser wrote: its best text, further ones (best first, without the best), its confidence 0 to 1."""

    query: str
    alternatives: tuple[str, ...]
    confidence: float


NAME = re.compile(r"\{([^}]*)\}")
"""What stands in braces: the names of a text."""


def plain(marked: str) -> str:
    """The text without the braces around its names."""
    return NAME.sub(r"\1", marked)


@dataclass(frozen=True, slots=True)
class Voice:
    """Whom the recogniser hears. `name_error`, `frame_error`: chance that a name, or the frame of a request, is
    misheard, 0 to 1. `quirks`: said to heard, for what the recogniser gets wrong in this voice again and again, at
    `quirk_share` of the times, 0 to 1."""

    name: str
    name_error: float
    frame_error: float
    quirks: Mapping[str, str] = field(default_factory=dict)
    quirk_share: float = 0.85

    def hear(self, marked: str, rng: random.Random, ease: float = 1.0) -> Hearing:
        """What is heard of a text with its names in braces. `ease` multiplies the chances of error, > 0."""
        said = plain(marked)
        if said in self.quirks and rng.random() < self.quirk_share:
            query = self.quirks[said]
        else:
            query = self._corrupt(marked, self.name_error * ease, self.frame_error * ease, rng)
        others = [self._corrupt(marked, 0.9, 0.2, rng) for _ in range(rng.randint(1, 4))]
        if query != said and rng.random() < 0.35:
            others.insert(rng.randint(0, 1), said)
        sure = (0.62, 0.36) if query == said else (0.38, 0.44)
        confidence = sure[0] + sure[1] * (rng.random() + rng.random()) / 2
        alternatives = tuple(dict.fromkeys(o for o in others if o != query))[:4]
        return Hearing(query, alternatives, round(confidence, 3))

    def _corrupt(self, marked: str, name_error: float, frame_error: float, rng: random.Random) -> str:
        frame_slip = rng.random() < frame_error
        pieces = NAME.split(marked)  # frame, name, frame, name, …, frame
        if frame_slip:
            frames = [i for i in range(0, len(pieces), 2) if pieces[i].strip()]
            if frames:
                i = rng.choice(frames)
                pieces[i] = f" {self._slip(pieces[i].split(), rng)} "
        for i in range(1, len(pieces), 2):
            if rng.random() < name_error:
                pieces[i] = self._slip(pieces[i].split(), rng)
        return " ".join("".join(pieces).split())

    def _slip(self, words: list[str], rng: random.Random) -> str:
        """`words` with one of them, or two neighbours together, misheard; where a voice slips, it often slips again."""
        habit = random.Random(f"{self.name}|{' '.join(words)}")  # seeded by text: the same in every process
        source = habit if rng.random() < _TYPICAL_SHARE else rng
        spans = [(i, i + 1) for i in range(len(words))]
        if len(words) > 1 and source.random() < 0.3:
            spans = [(i, i + 2) for i in range(len(words) - 1)]
        rare = [3 if any(w not in _vocabulary(False) for w in words[i:j]) else 1 for i, j in spans]
        start, end = source.choices(spans, rare)[0]  # everyday words are seldom missed
        options = confusions(" ".join(words[start:end]))
        if not options:
            return " ".join(words)
        return " ".join([*words[:start], _draw(options, source), *words[end:]])
