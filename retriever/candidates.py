"""Candidates of both layers, merged by text: what the ranker ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from retriever.completion import Completion
from retriever.evidence import TextEvidence
from retriever.fragments import MAX_COST, Composition
from retriever.global_layer import GlobalLayer, GlobalText
from retriever.interaction import Interpretation
from retriever.personal_layer import PersonalLayer
from retriever.views import Views

PERSONAL_K = 12
GLOBAL_K = 16
MAX_CANDIDATES = 32
"""Work a request is bounded: the nearest are kept."""


@dataclass(slots=True)
class Candidate:
    """A text that might replace the query, with what each layer knows of it.

    `reading`: what the assistant is expected to make of it on this device; None where nobody knows.
    `agreement`: share of the turns that said it and were understood just so, NaN where nobody said it.
    `meaning`, `sound`: cosines to the query (-1 to 1; 0 where not computed). `personal_repair`, `global_repair`:
    cosine by sound of the query to the nearest query that this text repaired, 0 where there is none.
    `completion`, `composition`: how it was made from the query, where it was. `hypothesis`: the recogniser's own.
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
    is_query: bool = False

    @property
    def nearness(self) -> float:
        """How near the query by whichever way it was found; orders candidates when there are too many."""
        completed = 1.0 if self.completion else 0.0
        composed = 1.0 - self.composition.cost / MAX_COST if self.composition else 0.0
        heard = 0.9 if self.hypothesis else 0.0
        return max(self.meaning, self.sound, self.personal_repair, self.global_repair, completed, composed, heard)


def gather(
    query: str,
    views: Views,
    has_screen: bool,
    personal: PersonalLayer | None,
    shared: GlobalLayer | None,
    completions: Sequence[Completion] = (),
    compositions: Sequence[Composition] = (),
    hypotheses: Sequence[str] = (),
) -> list[Candidate]:
    """The query itself first (leaving it alone), then the candidates of both layers, nearest first, each text once.

    `query`: normal form, not empty. `views`: its vectors, one row; a missing meaning view (all zeros) finds by sound
    alone. `personal`, `shared`: None turns a layer off. `hypotheses`: what else the recogniser may have heard.
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
    found.pop(query, None)
    nearest = sorted(found.values(), key=lambda c: -c.nearness)[:MAX_CANDIDATES]
    leave = Candidate(query, meaning=1.0, sound=1.0, is_query=True)
    out = [leave, *nearest]
    if shared is not None:
        unknown = [c for c in out if c.shared is None]
        for c, known in zip(unknown, shared.find(c.text for c in unknown), strict=True):
            c.shared = known
    for c in out:
        if personal is not None:
            c.personal = personal.texts.get(c.text)
        c.reading, c.agreement = _reading(c, has_screen)
    return out


def _reading(c: Candidate, has_screen: bool) -> tuple[Interpretation | None, float]:
    """The user's own experience with the text, else everybody's, else what it was made to mean."""
    for known in (c.personal, c.shared):
        if known is not None and (reading := known.reading(has_screen)) is not None:
            return reading, known.agreement(has_screen)
    return c.completion.reading if c.completion else c.composition.reading if c.composition else None, math.nan
