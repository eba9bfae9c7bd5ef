"""Candidates of both layers, merged by text: what the ranker ranks.

Each way of finding has its own order. Too many candidates are cut by reciprocal rank fusion (Cormack et al. 2009): who
stands high in one way's order, or well in several, stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.completion import Completion
from retriever.composition import Composition
from retriever.evidence import TextEvidence
from retriever.global_layer import GlobalLayer, GlobalText
from retriever.interaction import Interpretation
from retriever.personal_layer import PersonalLayer
from retriever.preferences import TaughtRewrite
from retriever.views import Views

PERSONAL_K = 12
GLOBAL_K = 16
MAX_CANDIDATES = 12
"""Work a request is bounded: the best of all ways are kept."""
_RANK_OFFSET = 1
"""Added to a candidate's rank in a way's order before it is inverted: the less, the more the very first of it count."""


@dataclass(slots=True)
class Candidate:
    """A text that might replace the query, with what each layer knows of it.

    `reading`: what the assistant is expected to make of it on this device; None where nobody knows.
    `agreement`: share of the turns that said it and were understood just so, NaN where nobody said it.
    `meaning`, `sound`: cosines to the query (-1 to 1; 0 where not computed). `personal_repair`, `global_repair`:
    cosine by sound of the query to the nearest query that this text repaired, 0 where there is none.
    `completion`, `composition`: how it was made from the query, where it was. `hypothesis`: the recogniser's own.
    `taught`: what the user's own preferences make of the query, where it is that.
    """

    text: str
    reading: Interpretation | None = None
    agreement: float = math.nan
    personal: TextEvidence | None = None
    shared: GlobalText | None = None
    completion: Completion | None = None
    composition: Composition | None = None
    meaning: float = 0.0
    sound: float = 0.0
    personal_repair: float = 0.0
    global_repair: float = 0.0
    hypothesis: bool = False
    taught: TaughtRewrite | None = None
    is_query: bool = False


def leave_alone(
    query: str, has_screen: bool, personal: PersonalLayer | None, shared: GlobalLayer | None
) -> Candidate:
    """The query itself, `query` in normal form and not empty, with what the layers know of it."""
    leave = Candidate(query, meaning=1.0, sound=1.0, is_query=True)
    _add_evidence([leave], has_screen, personal, shared)
    return leave


def gather(
    leave: Candidate,
    views: Views,
    has_screen: bool,
    personal: PersonalLayer | None,
    shared: GlobalLayer | None,
    completions: Sequence[Completion] = (),
    compositions: Sequence[Composition] = (),
    hypotheses: Sequence[str] = (),
    taught: Sequence[TaughtRewrite] = (),
) -> list[Candidate]:
    """The query itself first (`leave`, as `leave_alone` makes it), then the candidates of both layers, best first, each
    text once.

    `views`: the query's vectors, one row; a missing meaning view (all zeros) finds by sound alone. `personal`,
    `shared`: None turns a layer off. `completions`, `compositions`: best first. `hypotheses`: what else the recogniser
    may have heard. `taught`: what the user's preferences make of the query.
    """
    found: dict[str, Candidate] = {}

    def candidate(text: str) -> Candidate:
        c = found.get(text)
        if c is None:
            c = found[text] = Candidate(text)
        return c

    if personal is not None:
        hits, keys = personal.search(views, PERSONAL_K)
        for key, meaning, sound in zip(keys, hits.meaning.tolist(), hits.sound.tolist(), strict=True):
            c = candidate(key.target)
            if key.is_repair:
                c.personal_repair = max(c.personal_repair, sound)
            else:
                c.meaning, c.sound = meaning, sound
    if shared is not None:
        hits, targets = shared.search(views, GLOBAL_K)
        rows = zip(targets.tolist(), hits.meaning.tolist(), hits.sound.tolist(), strict=True)
        for (row, is_repair), meaning, sound in rows:
            text = shared.text_at(row)
            c = candidate(text.text)
            c.shared = text
            if is_repair:
                c.global_repair = max(c.global_repair, sound)
            else:
                c.meaning, c.sound = meaning, sound
    for completion in completions:
        c = candidate(completion.text)
        if c.completion is None:
            c.completion = completion
    for composition in compositions:
        c = candidate(composition.text)
        if c.composition is None:
            c.composition = composition
    for text in hypotheses:
        candidate(text).hypothesis = True
    for rewrite in taught:
        candidate(rewrite.text).taught = rewrite
    found.pop(leave.text, None)
    best = _fused(list(found.values()))
    _add_evidence(best, has_screen, personal, shared)
    return [leave, *best]


def _fused(found: Sequence[Candidate]) -> list[Candidate]:
    """The best of all ways, best first; where two are as good, whoever was found first."""
    if not found:
        return []
    score = [0.0] * len(found)
    # Of each way what it has found, and by what it orders them, least first; where None, they stand in order.
    ways: tuple[tuple[list[int], Callable[[int], Any] | None], ...] = (
        ([i for i, c in enumerate(found) if c.completion is not None], None),
        ([i for i, c in enumerate(found) if c.composition is not None], lambda i: found[i].composition.cost),
        ([i for i, c in enumerate(found) if c.personal_repair > 0], lambda i: -found[i].personal_repair),
        ([i for i, c in enumerate(found) if c.global_repair > 0], lambda i: _repair_order(found[i])),
        ([i for i, c in enumerate(found) if c.meaning > 0], lambda i: -found[i].meaning),
        ([i for i, c in enumerate(found) if c.sound > 0], lambda i: -found[i].sound),
        ([i for i, c in enumerate(found) if c.hypothesis], None),
        ([i for i, c in enumerate(found) if c.taught is not None], None),
    )
    for theirs, key in ways:
        if key is not None:
            theirs.sort(key=key)
        for rank, i in enumerate(theirs, _RANK_OFFSET):
            score[i] += 1 / rank
    order = sorted(range(len(found)), key=score.__getitem__, reverse=True)[:MAX_CANDIDATES]
    return [found[i] for i in order]


def _repair_order(c: Candidate) -> tuple[float, int]:
    return -round(c.global_repair, 3), -c.shared.people if c.shared else 0


def _add_evidence(
    candidates: Sequence[Candidate], has_screen: bool, personal: PersonalLayer | None, shared: GlobalLayer | None
) -> None:
    """What each layer knows of each text, and what the assistant is expected to make of it."""
    if shared is not None:
        unknown = [c for c in candidates if c.shared is None]
        for c, known in zip(unknown, shared.find(c.text for c in unknown), strict=True):
            c.shared = known
    for c in candidates:
        if personal is not None:
            c.personal = personal.texts.get(c.text)
        c.reading, c.agreement = _reading(c, has_screen)


def _reading(c: Candidate, has_screen: bool) -> tuple[Interpretation | None, float]:
    """The user's own experience with the text, else everybody's, else what it was made to mean."""
    for known in (c.personal, c.shared):
        if known is not None and (reading := known.reading(has_screen)) is not None:
            return reading, known.agreement(has_screen)
    return c.completion.reading if c.completion else c.composition.reading if c.composition else None, math.nan
