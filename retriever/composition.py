"""Queries put together anew: a frame heard right, with the names that its middle may have been.

A query whose beginning and end fit a frame is composed with the fragments that sound like what stands between, so that
a wish can be met which nobody has uttered in just these words. How alike two sounds are: `retriever.hearing`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from retriever.fragments import Fragment, Fragments, OwnNames
from retriever.frames import Frame
from retriever.hearing import Hearing
from retriever.interaction import Interpretation
from retriever.pronunciation import pronounce
from retriever.views import TextEncoder

SEARCHED = 60
"""Names of a kind that are nearest by sound vector and then compared phoneme by phoneme."""
MAX_SHARED, MAX_OWN = 10, 6
MAX_COST = 3.0
"""Nats a phoneme; a name dearer than this is nothing that could have been heard so."""
NO_NAME = 1.5
"""Nats a phoneme at which a name that nobody knows is as likely as a known one."""
_SHARPNESS = 0.5
"""Costs of single phonemes are not independent of each other: their sum says too much."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A query composed anew. `rest`: the words replaced. `cost`: of hearing the rest for the fragment, nats a phoneme
    of the longer, 0 or more. `own`: the fragment is of this user's past, or names the place of the request. `reading`:
    what it is expected to mean. `posterior`: of all names compared, the probability of this one by sound and by how
    often it is named, 0 to 1. `repaired`: for how many people it repaired just the rest, in whatever frame.
    `heard_rank`: 0 where made of the query, n where of the recogniser's nth other hypothesis."""

    text: str
    fragment: Fragment
    reading: Interpretation | None
    rest: str
    cost: float
    own: bool
    posterior: float
    repaired: int = 0
    heard_rank: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """One of the things that may have been said. `fitting`: its frames, as `FrameTable.fitting` gives them. `own`: this
    user's own fragments, to be tried with it. `searched`: how many names of each kind are compared. `instead`: it is
    not the query but a hypothesis besides, so that its own name, if it is known, is one to offer too."""

    text: str
    fitting: Sequence[tuple[Frame, str]]
    own: OwnNames = field(default_factory=dict)
    searched: int = SEARCHED
    instead: bool = False


_Named = tuple[Frame, str, Fragment, bool, int]
"""A frame, the words in it, a name for them, whether it is of the user's own past, how many repaired them by it."""
_Pair = tuple[str, str]


def compose(
    heard: Sequence[Heard], fragments: Fragments, sound: TextEncoder, hearing: Hearing
) -> list[list[Composition]]:
    """For each of `heard`, its text with the names that may have been meant, likeliest heard so first.

    `sound`: gives unit rows for texts (a cache will do). All are searched and compared together, which takes little
    longer than one alone.
    """
    named = _names(heard, fragments, sound)
    pairs = list({(rest, fragment.text): None for theirs in named for _, rest, fragment, *_ in theirs})
    sounds = [pronounce(rest) for rest, _ in pairs], [pronounce(text) for _, text in pairs]
    lengths = [max(1, len(rest), len(name)) for rest, name in zip(*sounds, strict=True)]
    costs = dict(zip(pairs, zip(hearing.each(*sounds).tolist(), lengths, strict=True), strict=True))
    return [_composed(theirs, costs, h.instead) for h, theirs in zip(heard, named, strict=True)]


def _names(heard: Sequence[Heard], fragments: Fragments, sound: TextEncoder) -> list[list[_Named]]:
    """For each of `heard`, all that may stand in its frames."""
    wanted: dict[tuple[str, int], dict[str, None]] = {}
    for h in heard:
        for frame, rest in h.fitting:
            wanted.setdefault((frame.gaps, h.searched), {})[rest] = None
    rests = list({rest: None for theirs in wanted.values() for rest in theirs})
    vectors = dict(zip(rests, sound.encode(rests), strict=True)) if rests else {}
    near: dict[tuple[str, int, str], list[Fragment]] = {}
    for (gaps, searched), theirs in wanted.items():
        found = fragments.nearest(gaps, np.stack([vectors[rest] for rest in theirs]), searched)
        near.update(((gaps, searched, rest), names) for rest, names in zip(theirs, found, strict=True))
    out = []
    for h in heard:
        named: list[_Named] = []
        for frame, rest in h.fitting:
            repaired = fragments.repaired(frame.gaps, rest)
            names = h.own.get(frame.gaps, {})
            own = list(names.values()) if not h.instead else [names[rest]] if rest in names else []
            shared = {f.text: f for f in (*near[frame.gaps, h.searched, rest], *(f for f, _ in repaired.values()))}
            for mine, those in ((True, own), (False, shared.values())):
                named += [(frame, rest, f, mine, repaired[f.text][1] if f.text in repaired else 0) for f in those]
        out.append(named)
    return out


def _composed(named: Sequence[_Named], costs: dict[_Pair, tuple[float, int]], as_it_is: bool) -> list[Composition]:
    """`costs`: of hearing the first for the second, in nats, and phonemes of the longer. `as_it_is`: whether the name
    that was heard is one of those offered."""
    if not named:
        return []
    weights: dict[tuple[str, str, str], float] = {}
    tried = []
    for frame, rest, fragment, own, repaired in named:
        total, length = costs[rest, fragment.text]
        weights[rest, fragment.gaps, fragment.text] = (1 + fragment.times) * math.exp(-_SHARPNESS * total)
        cost = total / length
        if repaired or cost <= MAX_COST:
            for text, reading in fragment.asked_in(frame):
                if as_it_is or fragment.text != rest or text != frame.around(rest):
                    tried.append((cost, not own, text, reading, rest, fragment, repaired))
    rests = {rest for _, rest, *_ in named}
    unknown = max(math.exp(-_SHARPNESS * NO_NAME * len(pronounce(rest))) for rest in rests)
    all_weights = sum(weights.values()) + unknown
    # Own before shared where the cost is the same, so that a name known to both counts as the user's own.
    tried.sort(key=lambda t: t[:3])
    out: dict[str, Composition] = {}
    room = {True: MAX_OWN, False: MAX_SHARED}
    to_come = sum(1 for *_, repaired in tried if repaired)
    for cost, not_own, text, reading, rest, fragment, repaired in tried:
        to_come -= bool(repaired)
        if text in out or not (repaired or room[not not_own]):
            continue
        room[not not_own] -= not repaired  # what people repaired it by takes nobody's place, however it sounds
        share = weights[rest, fragment.gaps, fragment.text] / all_weights
        out[text] = Composition(text, fragment, reading, rest, cost, not not_own, share, repaired)
        if not (to_come or any(room.values())):
            break
    return list(out.values())
