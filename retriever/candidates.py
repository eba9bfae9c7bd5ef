"""Candidates of both layers, merged by text: what the ranker ranks.

Each way of finding has its own order. Too many candidates are cut by reciprocal rank fusion (Cormack et al. 2009): who
stands high in one way's order, or well in several, stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.completion import Completion
from retriever.composition import Composition
from retriever.evidence import TextEvidence
from retriever.global_layer import GlobalLayer, GlobalText
from retriever.interaction import Interpretation
from retriever.known_rewrites import KnownRewrite
from retriever.personal_layer import PersonalLayer
from retriever.preferences import TaughtRewrite
from retriever.views import Views

PERSONAL_K = 12
GLOBAL_K = 16
MAX_CANDIDATES = 12
"""Work a request is bounded: the best of all ways are kept."""
_NOBODY: Mapping[str, int] = {}
_NO_HYPOTHESES: Mapping[str, Interpretation | None] = {}
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
    `taught`: what the user's own preferences make of the query, where it is that. `known`: that it was computed
    ahead to be the query's rewrite.
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
    known: KnownRewrite | None = None
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
    hypotheses: Mapping[str, Interpretation | None] = _NO_HYPOTHESES,
    taught: Sequence[TaughtRewrite] = (),
    known: KnownRewrite | None = None,
    left_out: list[Candidate] | None = None,
) -> list[Candidate]:
    """The query itself first (`leave`, as `leave_alone` makes it), then the candidates of both layers, best first, each
    text once.

    `views`: the query's vectors, one row; a missing meaning view (all zeros) finds by sound alone. `personal`,
    `shared`: None turns a layer off. `completions`, `compositions`: best first. `hypotheses`: what else the recogniser
    may have heard, best first, with what each is expected to mean, None where that cannot be told. `taught`: what the
    user's preferences make of the query. `known`: its rewrite computed ahead.
    `left_out`: where given, takes those that were found and are not among the best.
    """
    found: dict[str, Candidate] = {}
    # Rows in everybody's layer, and people where they stand in the way of an order: evidence is read of the best alone.
    row_of: dict[str, int] = {}
    people_of: dict[str, int] = {}

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
            text = shared.text_alone_at(row)
            c = candidate(text)
            row_of[text] = row
            if is_repair:
                c.global_repair = max(c.global_repair, sound)
                people_of[text] = shared.people_at(row)
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
    for hypothesis, expected in hypotheses.items():
        candidate(hypothesis).hypothesis = True
        candidate(hypothesis).reading = expected
    for rewrite in taught:
        candidate(rewrite.text).taught = rewrite
    if known is not None:
        candidate(known.text).known = known
    found.pop(leave.text, None)
    in_order = [c.text for c in completions], list(hypotheses), [t.text for t in taught], [known.text] if known else []
    best = _fused(list(found.values()), in_order, people_of)
    _add_evidence(best, has_screen, personal, shared, row_of)
    if left_out is not None:
        kept = {c.text for c in best}
        rest = [c for text, c in found.items() if text not in kept]
        _add_evidence(rest, has_screen, personal, shared, row_of)
        left_out += rest
    return [leave, *best]


def _fused(
    found: Sequence[Candidate], in_order: Iterable[Sequence[str]] = (), people_of: Mapping[str, int] = _NOBODY
) -> list[Candidate]:
    """The best of all ways, best first; where two are as good, whoever was found first. `in_order`: of each way that
    has an order of its own, its texts, best first; another way may have found them at other places. `people_of`: how
    many people each text that everybody's repairs have found has served."""
    if not found:
        return []
    score = [0.0] * len(found)
    place = {c.text: i for i, c in enumerate(found)}
    ordered = [[place[text] for text in dict.fromkeys(texts) if text in place] for texts in in_order]
    # Of each other way what it has found, and by what it orders them, least first.
    ways: tuple[tuple[list[int], Callable[[int], Any]], ...] = (
        ([i for i, c in enumerate(found) if c.composition is not None], lambda i: _cost(found[i])),
        ([i for i, c in enumerate(found) if _repaired(c)], lambda i: -_repaired(found[i])),
        ([i for i, c in enumerate(found) if c.personal_repair > 0], lambda i: -found[i].personal_repair),
        ([i for i, c in enumerate(found) if c.global_repair > 0], lambda i: _repair_order(found[i], people_of)),
        ([i for i, c in enumerate(found) if c.meaning > 0], lambda i: -found[i].meaning),
        ([i for i, c in enumerate(found) if c.sound > 0], lambda i: -found[i].sound),
    )
    for theirs in (*ordered, *(sorted(some, key=key) for some, key in ways)):
        for rank, i in enumerate(theirs, _RANK_OFFSET):
            score[i] += 1 / rank
    order = sorted(range(len(found)), key=score.__getitem__, reverse=True)[:MAX_CANDIDATES]
    return [found[i] for i in order]


def _cost(c: Candidate) -> float:
    return math.inf if c.composition is None else c.composition.cost


def _repaired(c: Candidate) -> int:
    return 0 if c.composition is None else c.composition.repaired


def _repair_order(c: Candidate, people_of: Mapping[str, int]) -> tuple[float, int]:
    return -round(c.global_repair, 3), -people_of.get(c.text, 0)


def _add_evidence(
    candidates: Sequence[Candidate],
    has_screen: bool,
    personal: PersonalLayer | None,
    shared: GlobalLayer | None,
    row_of: Mapping[str, int] = _NOBODY,
) -> None:
    """What each layer knows of each text, and what the assistant is expected to make of it. `row_of`: of texts whose
    row in everybody's layer is known."""
    if shared is not None:
        for c in candidates:
            if (row := row_of.get(c.text)) is not None:
                c.shared = shared.text_at(row)
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
    made = c.completion or c.composition
    return c.reading if made is None else made.reading, math.nan
