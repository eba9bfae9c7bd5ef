"""What a request's features are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ranker.situation import Situation
from retriever.candidates import Candidate
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Request
from retriever.known_rewrites import KnownRewrite
from retriever.personal_layer import PersonalLayer


@dataclass(frozen=True, slots=True)
class NameInFrame:
    """What stands in the query's frame, if one fits: `frames`: how many kinds of name it may be; `people`, `times`: who
    named just that, and how often, with success, as the kind for which most is known; `tries`: how often anybody said
    it in such a place, served or not; `own_times`: how often this user named it with success; `own_vain`: how often
    this user said it, in whatever words, and was not served (expected)."""

    frames: int
    people: float
    times: float
    tries: float = 0.0
    own_times: float = 0.0
    own_vain: float = 0.0


@dataclass(frozen=True, slots=True)
class FeatureInput:
    """All that a request's features are computed from. `query`: normal form, not empty. `candidates[0]` is the query
    itself. A layer turned off is None, and leaves no trace in any feature. `hearing`: part of the trained model.
    `known`: the query's rewrite computed ahead, where there is one."""

    request: Request
    query: str
    candidates: Sequence[Candidate]
    situation: Situation
    personal: PersonalLayer | None
    shared: GlobalLayer | None
    hearing: Hearing
    name: NameInFrame | None = None
    known: KnownRewrite | None = None
