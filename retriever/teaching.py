"""What a sentence teaches: a small grammar of English ways to say a preference, with open slots.

| said | taught |
|---|---|
| when i say SUBJECT (then) REQUEST; SUBJECT means REQUEST | alias |
| my NOUN is called VALUE; my NOUN's name is VALUE; by SUBJECT i mean VALUE | name |
| my favourite NOUN is VALUE; VALUE is my favourite NOUN | name |
| my NOUN is VALUE; VALUE is my NOUN; i like VALUE | name, where the log knows VALUE as a name |
| i'm a VALUE fan; i'm a fan of VALUE; i support VALUE | name: of what the log knows VALUE as, else "my team" |
| i like VALUE NOUN | like |

What the words leave open is told by the log: where a request begins in "when i say movie time turn on the light" (by
how usual its words are as a request), and what kind of thing a name is. Whatever else is said is not understood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from retriever.fragments import Fragment, Fragments
from retriever.global_layer import GlobalLayer
from retriever.normalise import normalise
from retriever.preference import Preference
from retriever.preferences import PreferenceKind, noun_forms, preference
from retriever.views import TextEncoder

_BEFORE = re.compile(
    r"^(?:(?:please|hey|ok(?:ay)?|from now on|just so you know|fyi|(?:please )?(?:remember|note|know)(?: that)?|"
    r"(?:i want you to|you should) (?:know|remember)(?: that)?)[, ]+)+"
)
_AFTER = re.compile(r"(?: (?:a lot|very much|the most|the best|best|most|please|too))+$")
_THEN = (
    r"(?:then |please |you should |you have to |i want you to |i'd like you to |i want to |i mean |it means |"
    r"that means |do )*"
)
_NOUN = r"(?P<noun>(?:[\w'-]+ ){0,2}[\w-]+)"
_I_AM = r"(?:i'm|i am|im)"
_BIG = r"(?:(?:big|huge|great|massive|lifelong|life-long|die-hard|diehard|real|true) )*"

_WHEN_I_SAY = re.compile(r"(?:when|whenever|if|every time|each time) i (?:say|ask for|tell you|ask you) (?P<both>.+)")
_SPLIT = tuple(
    re.compile(form)
    for form in (
        rf'"(?P<subject>[^"]+)"[,:]? *{_THEN}"?(?P<value>[^"]+)"?',
        rf"(?P<subject>[^,:]+)[,:] *{_THEN}(?P<value>.+)",
        r"(?P<subject>.+?) (?:then|you should|i want you to|i mean|it means|that means) (?P<value>.+)",
    )
)
_MEANS = (
    re.compile(r"by (?P<subject>.+?),? i (?:always )?mean (?P<value>.+)"),
    re.compile(r'"?(?P<subject>[^"]+?)"? (?:means|should mean|stands for|is short for) "?(?P<value>[^"]+)"?'),
)
_NAMED = (
    re.compile(rf"my {_NOUN} is (?:called|named) (?P<value>.+)"),
    re.compile(rf"my {_NOUN}'s name is (?P<value>.+)"),
    re.compile(rf"the name of my {_NOUN} is (?P<value>.+)"),
    re.compile(rf"my favou?rite {_NOUN} (?:is|are) (?P<value>.+)"),
    re.compile(rf"(?P<value>.+?) (?:is|are) my favou?rite {_NOUN}"),
)
_IS = (
    re.compile(rf"my {_NOUN} (?:is|are) (?P<value>.+)"),
    re.compile(rf"(?P<value>.+?) (?:is|are) my {_NOUN}"),
)
_FAN = (
    re.compile(rf"{_I_AM} an? {_BIG}(?P<value>.+) fan"),
    re.compile(rf"{_I_AM} an? {_BIG}(?:fan|supporter|follower) of (?P<value>.+)"),
    re.compile(r"i (?:support|root for|cheer for) (?P<value>.+)"),
)
_LIKE = re.compile(r"i (?:(?:really|also|do|always|just) )*(?:like|love|prefer|enjoy) (?P<value>.+)")
_FANS_OF = "team"
"""What one is a fan of where the log does not know."""



def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_NAME = _words(
    "i you he she it we they me him her us them my your his its our their this that these those to when how what who"
    " where why which if because not no very too so being having never is are was"
)
"""Words that no name and no taste begins with."""
_QUESTION = _words("what what's who who's where where's when how how's why which is are was does do did can")
_MAX_VALUE_WORDS = 8

_RARE = 0.01
_SPREAD = 1000
_UNKNOWN = math.log(_SPREAD)
"""A pair of words never seen is as likely as a hundredth of one seen once, spread over so many words."""


class Stated(NamedTuple):
    """What a sentence states, its words as they stand there."""

    kind: PreferenceKind
    subject: str
    value: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What the log tells of words, for one user. `own`: names in that user's own requests. `sound`: gives unit rows."""

    shared: GlobalLayer
    fragments: Fragments
    sound: TextEncoder
    own: Sequence[Fragment] = ()

    def gaps_of(self, name: str) -> str | None:
        """The gaps, of one slot, that `name` (normal form) has filled most; the user's own first. None: not known."""
        mine = [f for f in self.own if f.text == name and len(f.gaps.split()) == 1]
        known = mine or self.fragments.called(name, self.sound)
        return max(known, key=lambda f: f.times).gaps if known else None

    def kind_of(self, name: str) -> str | None:
        """The kind of thing that `name` (normal form) is known as: a slot's name in normal form. None: not known."""
        gaps = self.gaps_of(name)
        return normalise(gaps) or None if gaps else None

    def is_word(self, word: str) -> bool:
        """Whether requests that worked held the word."""
        return bool(self.shared.word_counts([word])[0])

    def begins_request(self, text: str) -> bool:
        """Whether requests that worked have begun so."""
        return bool(self.shared.word_pair_counts([("<s>", text.split(" ", 1)[0])])[0] >= 1)

    def likelihood(self, request: str) -> float:
        """How usual the words of `request` are as a request, in nats, but for a constant: by pairs of words."""
        words = request.split()
        pairs = [("<s>", words[0]), *pairwise([*words, "</s>"])]
        of_pairs = self.shared.word_pair_counts(pairs).tolist()
        of_words = self.shared.word_counts(words)
        inner = zip(of_pairs[1:], of_words, strict=True)
        return math.log(of_pairs[0] + _RARE) + sum(
            math.log((pair + _RARE) / (word + _SPREAD * _RARE)) for pair, word in inner
        )


def understand(text: str, lexicon: Lexicon) -> Preference | None:
    """The preference that `text` states; None where it is not understood as one."""
    said = _plain(text)
    for reading in (_alias, _meant, _named, _is, _fan, _like):
        found = reading(said, lexicon)
        if found is not None:
            taught = preference(*found, text=text)
            return taught if taught.subject and taught.value and taught.subject != taught.value else None
    return None


def _plain(text: str) -> str:
    """Lower case, straight quotes, single spaces, no end mark, without what only leads in."""
    said = " ".join(text.casefold().replace("’", "'").replace("“", '"').replace("”", '"').split())
    return _BEFORE.sub("", said.rstrip(".! ")).strip()


def _alias(said: str, lexicon: Lexicon) -> Stated | None:
    match = _WHEN_I_SAY.fullmatch(said)
    if match is None:
        return None
    both = match["both"]
    for form in _SPLIT:
        if parts := form.fullmatch(both):
            return Stated(PreferenceKind.ALIAS, parts["subject"], parts["value"])
    words = normalise(both).split()
    splits = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    splits = [(subject, request) for subject, request in splits if lexicon.begins_request(request)]
    if not splits:
        return None
    score = lambda split: lexicon.likelihood(split[1]) - _UNKNOWN * len(split[0].split())  # noqa: E731
    return Stated(PreferenceKind.ALIAS, *max(splits, key=score))


def _meant(said: str, lexicon: Lexicon) -> Stated | None:
    for form in _MEANS:
        match = form.fullmatch(said)
        if match and match["subject"].split(" ", 1)[0] not in _QUESTION:
            value = normalise(match["value"])
            is_request = len(value.split()) > 1 and lexicon.begins_request(value)
            return Stated(PreferenceKind.ALIAS if is_request else PreferenceKind.NAME, match["subject"], value)
    return None


def _named(said: str, lexicon: Lexicon) -> Stated | None:
    return next((_mine(m) for form in _NAMED if (m := form.fullmatch(said)) and _can_be_name(m["value"])), None)


def _is(said: str, lexicon: Lexicon) -> Stated | None:
    """"my sister is anna" is a name, "my sister is tired" is none: the log knows which."""
    for form in _IS:
        match = form.fullmatch(said)
        if match and _can_be_name(match["value"]) and lexicon.kind_of(normalise(match["value"])):
            return _mine(match)
    return None


def _fan(said: str, lexicon: Lexicon) -> Stated | None:
    match = next((m for form in _FAN if (m := form.fullmatch(said))), None)
    if match is None or not _can_be_name(match["value"]):
        return None
    return _of_kind(match["value"], lexicon) or Stated(
        PreferenceKind.NAME, f"my {_FANS_OF}", _as_noun(normalise(match["value"]))
    )


def _like(said: str, lexicon: Lexicon) -> Stated | None:
    match = _LIKE.fullmatch(said)
    if match is None:
        return None
    liked = _AFTER.sub("", match["value"])
    if not _can_be_name(liked):
        return None
    if known := _of_kind(liked, lexicon):
        return known
    *value, noun = normalise(liked).split()
    proper = value and value[0] not in ("a", "an", "the") and noun not in _NO_NAME
    if not proper or not (len(noun_forms(noun)) > 1 or lexicon.is_word(noun)):
        return None
    return Stated(PreferenceKind.LIKE, noun, " ".join(value))


def _mine(match: re.Match[str]) -> Stated:
    return Stated(PreferenceKind.NAME, f"my {match['noun']}", match["value"])


def _can_be_name(value: str) -> bool:
    words = normalise(value).split()
    return 0 < len(words) <= _MAX_VALUE_WORDS and words[0] not in _NO_NAME and words[0] not in _QUESTION


def _of_kind(value: str, lexicon: Lexicon) -> Stated | None:
    """The value as the user's own of the kind that the log knows it as, with or without "the" as it stands there."""
    name = normalise(value)
    for form in (name, f"the {name}", name.removeprefix("the ")):
        if kind := lexicon.kind_of(form):
            return Stated(PreferenceKind.NAME, f"my {kind}", form)
    return None


def _as_noun(name: str) -> str:
    """"warriors" as it stands in a sentence: a plural takes its article, which "a warriors fan" had lost."""
    plural = name.endswith("s") and not name.endswith("ss")
    return f"the {name}" if plural and not name.startswith("the ") else name
