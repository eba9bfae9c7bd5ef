"""What a user has taught, and what it makes of a request: typed, explicit, and only where it applies exactly.

Three kinds, all of them slots that the user has filled. An alias says what a whole request stands for ("movie time":
"turn on the den light"). A name says what a phrase within a request stands for ("my sister": "anna"). A like says what
fills a slot that a request leaves open ("restaurant": "italian", so that "find a restaurant" asks for an italian one).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from itertools import product

from retriever.frames import Frame
from retriever.normalise import MAX_CHARS, normalise
from retriever.preference import Preference
from retriever.pronunciation import PHONEMES, pronounce

MAX_TAUGHT = 6
"""Rewrites offered where several of a user's likes fill the same slot."""
MAX_PHRASE_WORDS = 12
"""A phrase longer than this is looked for as a whole request only, so that work a request is bounded."""
_INDEFINITE = frozenset({"a", "an", "some", "any"})
_FAVOURITE = frozenset({"favourite", "favorite"})
_VOWELS = frozenset("AEIOU")


class PreferenceKind(StrEnum):
    """What a preference is about: a whole request, a phrase within one, or a slot left open."""

    ALIAS = "alias"
    NAME = "name"
    LIKE = "like"


def preference(kind: PreferenceKind, subject: str, value: str, text: str = "", taught_ms: int = 0) -> Preference:
    """A preference in normal form. `subject`, `value`: of an alias the request as said and the one meant; of a name the
    phrase and what it stands for; of a like the kind of thing (a noun) and what is liked of it.

    Its id, unique within a user, is that of what it replaces: an alias and a name have one value, a like may have
    several.
    """
    subject, value = normalise(subject), normalise(value)
    parts = [kind, subject, *([value] if kind is PreferenceKind.LIKE else [])]
    name = blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Preference(name, kind, subject, value, text, taught_ms)


@dataclass(frozen=True, slots=True)
class TaughtRewrite:
    """A request as its user has taught to understand it. `preferences`: those that were applied, at least one.
    `exact`: nothing else can be meant by them; otherwise several likes compete."""

    text: str
    preferences: tuple[Preference, ...]
    exact: bool

    @property
    def taught_ms(self) -> int:
        """When the last of them was taught."""
        return max(p.taught_ms for p in self.preferences)


@dataclass(frozen=True, slots=True)
class _Partly:
    """A request under way: its words so far and what was applied."""

    words: tuple[str, ...]
    used: tuple[Preference, ...] = ()


class Preferences:
    """All that one user has taught; read-only. Nobody else's is in it."""

    def __init__(self, held: Iterable[Preference] = ()) -> None:
        self.held = tuple(held)
        self._aliases = {p.subject: p for p in self.held if p.kind == PreferenceKind.ALIAS}
        names = {p.subject: p for p in self.held if p.kind == PreferenceKind.NAME}
        self._names = {tuple(subject.split()): p for subject, p in names.items()}
        self._longest = min(MAX_PHRASE_WORDS, max(map(len, self._names), default=0))
        self._likes: dict[str, list[Preference]] = {}
        for p in self.held:
            if p.kind == PreferenceKind.LIKE:
                for form in noun_forms(p.subject):
                    self._likes.setdefault(form, []).append(p)

    def __len__(self) -> int:
        return len(self.held)

    def apply(self, query: str, unfilled: Sequence[Frame] = ()) -> list[TaughtRewrite]:
        """What `query` (normal form) stands for by what was taught, best first; empty where nothing applies.

        `unfilled`: the log's frames that the query is, but for the name in them.
        """
        if not self.held or not query:
            return []
        alias = self._aliases.get(query)
        start = _Partly(tuple(alias.value.split()), (alias,)) if alias else _Partly(tuple(query.split()))
        named = self._with_names(start)
        # A frame speaks of the query as it was said.
        found = self._with_likes(named, unfilled if named == start and not alias else ())
        made = {" ".join(p.words): p.used for p in found if p.used}
        made = {text: used for text, used in made.items() if text != query and len(text) <= MAX_CHARS}
        return [TaughtRewrite(text, used, len(made) == 1) for text, used in made.items()][:MAX_TAUGHT]

    def knows(self, phrase: str) -> bool:
        """Whether it has been said what `phrase` (normal form) stands for."""
        return tuple(phrase.split()) in self._names or phrase in self._aliases

    def _with_names(self, start: _Partly) -> _Partly:
        """Each phrase that has been given a name replaced, the longest first where several begin alike."""
        out: list[str] = []
        used = list(start.used)
        at = 0
        while at < len(start.words):
            length, replacement, name = self._name_at(start.words, at)
            if name is None:
                out.append(start.words[at])
                at += 1
            else:
                out += replacement
                used.append(name)
                at += length
        return _Partly(tuple(out), tuple(dict.fromkeys(used)))

    def _name_at(self, words: tuple[str, ...], at: int) -> tuple[int, list[str], Preference | None]:
        for length in range(min(self._longest + 1, len(words) - at), 0, -1):
            phrase = words[at : at + length]
            owned = phrase[-1].endswith("'s")  # "my sister's birthday"
            bare = (*phrase[:-1], phrase[-1].removesuffix("'s"))
            for said, suffix in ((phrase, ""), (bare, "'s")) if owned else ((phrase, ""),):
                name = self._names.get(said) or self._names.get(_without_favourite(said))
                if name is not None:
                    replacement = name.value.split()
                    replacement[-1] += suffix
                    return length, replacement, name
        return 0, [], None

    def _with_likes(self, start: _Partly, unfilled: Sequence[Frame]) -> list[_Partly]:
        """With the slots that are left open filled, in all ways where there are several."""
        open_slots = [(at, liked) for at in range(len(start.words)) if (liked := self._open_at(start, at, unfilled))]
        if not open_slots:
            return [start]
        ways: Iterator[tuple[Preference, ...]] = product(*(liked for _, liked in open_slots))
        out = []
        for chosen, _ in zip(ways, range(MAX_TAUGHT), strict=False):
            words = list(start.words)
            for (at, _), like in reversed(list(zip(open_slots, chosen, strict=True))):
                value = like.value.split()
                words[at:at] = value
                if at and words[at - 1] in ("a", "an"):
                    words[at - 1] = _article(value[0])
            out.append(_Partly(tuple(words), tuple(dict.fromkeys((*start.used, *chosen)))))
        return out

    def _open_at(self, start: _Partly, at: int, unfilled: Sequence[Frame]) -> list[Preference]:
        """The likes that fill an open slot before the word at `at`: where "a" or "some" stands before it, where a
        request begins with its plural, or where the log's requests have a name there."""
        forms = noun_forms(start.words[at])
        liked = list(dict.fromkeys(p for form in forms for p in self._likes.get(form, ())))
        if not liked:
            return []
        open_before = start.words[at - 1] in _INDEFINITE if at else len(forms) > 1
        in_frame = any(len(f.before.split()) == at for f in unfilled)
        return liked if open_before or in_frame else []


NOTHING_TAUGHT = Preferences()


def noun_forms(noun: str) -> list[str]:
    """The noun, and where it may be a plural what its singular may be: English spells it in more than one way, so all
    are tried. Two words are one noun where they have a form in common."""
    out = [noun]
    if noun.endswith("s") and not noun.endswith("ss") and len(noun) > 3:
        out.append(noun[:-1])
        if noun.endswith("es"):
            out.append(noun[:-2])
        if noun.endswith("ies"):
            out.append(f"{noun[:-3]}y")
    return out


def _without_favourite(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """ "my favourite team" is "my team"."""
    return (phrase[0], *phrase[2:]) if len(phrase) > 2 and phrase[1] in _FAVOURITE else phrase


def _article(word: str) -> str:
    """ "an" before a vowel, as it is pronounced."""
    sound = pronounce(word)
    return "an" if sound and PHONEMES[sound[0] - 1][0] in _VOWELS else "a"
