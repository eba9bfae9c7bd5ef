"""Puts together what the ranker needs for one request. The same code online, in training and in replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mining.reactions import Reactions
from mining.tables import personal_tables
from ranker.features import FeatureInput, NameInFrame
from ranker.situation import situation_of
from retriever import sound
from retriever.candidates import gather
from retriever.completion import Completer
from retriever.encoder import Encoder
from retriever.fragments import Fragments
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Interaction, Request
from retriever.normalise import normalise
from retriever.personal_layer import PersonalLayer
from retriever.vector_cache import CachedEncoder
from retriever.views import Views
from rewrite_service.stages import StageClock

MAX_ALTERNATIVES = 3
MAX_COMPOSED_BESIDES = 4
FUTILE_ATTEMPTS = 2
"""Of how many further hypotheses rewrites are made as of the query itself, and how many names are tried for each."""
MEANING_COST_S = 0.003
"""About what encoding one uncached query takes at worst; without that much time left, retrieval goes by sound alone."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was learned from the log up to some moment: everybody's layer, the rules for follow-ups, what users
    do after right and wrong answers, what is heard for what, the encoders."""

    shared: GlobalLayer
    completer: Completer
    fragments: Fragments
    reactions: Reactions
    hearing: Hearing
    meaning: CachedEncoder
    sound: CachedEncoder

    @classmethod
    def of(
        cls,
        shared: GlobalLayer,
        completer: Completer,
        fragments: Fragments,
        reactions: Reactions,
        hearing: Hearing,
        meaning: CachedEncoder,
        sound_cache_bytes: int,
    ) -> Knowledge:
        """`meaning` may be shared by several; the sound of a text depends on the layer's own weights."""
        sounds = CachedEncoder(shared.sound, sound.DIMENSION, sound_cache_bytes)
        return cls(shared, completer, fragments, reactions, hearing, meaning, sounds)

    def personal_layer(self, turns: Sequence[Interaction]) -> PersonalLayer:
        """One user's layer from their turns, in time order."""
        tables, _ = personal_tables(turns, self.reactions)
        served = [(text, r) for text, e in tables.texts.items() for r in (e.readings[0] | e.readings[1])]
        return PersonalLayer(
            tables.texts,
            tables.repairs.values(),
            tables.slot_values,
            self.fragments.of_person(served),
            self.meaning,
            self.sound,
        )


def _heard_besides(request: Request, query: str) -> list[str]:
    """The recogniser's best other hypotheses, in normal form."""
    texts = dict.fromkeys(map(normalise, request.alternatives[:MAX_ALTERNATIVES]))
    return [text for text in texts if text and text != query]


def _keeps_failing(own: PersonalLayer, query: str) -> bool:
    """Whether this user has said just this before, in vain: then another hypothesis of the recogniser is worth a try
    even where nobody is known to have said it. Otherwise such candidates do more harm than good."""
    known = own.texts.get(query)
    return known is not None and known.attempts >= FUTILE_ATTEMPTS and known.successes < 0.5


def assemble(
    request: Request,
    situation_turns: Sequence[Interaction],
    own: PersonalLayer | None,
    knowledge: Knowledge,
    *,
    use_shared: bool = True,
    clock: StageClock | None = None,
) -> FeatureInput | None:
    """Retrieves the candidates of `request`; None for a query in which nothing is spelled.

    `situation_turns`: this user's latest turns before the request, in time order. `own`: the user's layer, None to
    leave it off. `use_shared`: False leaves everybody's layer off, the mined rules included.
    """
    clock = clock or StageClock()
    query = normalise(request.query)
    if not query:
        return None
    situation = situation_of(situation_turns, request)
    with clock.stage("encode"):
        if query in knowledge.meaning or clock.fits("meaning", MEANING_COST_S):
            meaning = knowledge.meaning.encode([query])
        else:
            meaning = np.zeros((1, Encoder.DIMENSION), np.float32)
        views = Views(meaning, knowledge.sound.encode([query]))
    shared = knowledge.shared if use_shared else None
    with clock.stage("retrieve"):
        completions, compositions, name = [], [], None
        besides = _heard_besides(request, query)
        unproven = besides if own is not None and _keeps_failing(own, query) else []
        if use_shared:
            named = own.fragments if own else ()
            fitting = knowledge.fragments.fitting(query)
            completions = knowledge.completer.complete(query, request, situation.readings)
            compositions = knowledge.fragments.compose(query, fitting, knowledge.sound, knowledge.hearing, named)
            for rank, text in enumerate(besides, 1):
                completed = knowledge.completer.complete(text, request, situation.readings)
                completions += [replace(c, heard_rank=rank) for c in completed]
                also = knowledge.fragments.fitting(text)
                made = knowledge.fragments.compose(
                    text, also, knowledge.sound, knowledge.hearing, (), MAX_COMPOSED_BESIDES
                )
                compositions += [replace(c, heard_rank=rank) for c in made]
            if fitting:
                people, times = knowledge.fragments.known(fitting).max(axis=0).tolist()
                rests = {rest for _, rest in fitting}
                mine = own.record_of(rests) if own else (0.0, 0.0)
                name = NameInFrame(len(fitting), people, times, *mine)
        candidates = gather(query, views, request.context.has_screen, own, shared, completions, compositions, unproven)
        unknown = [c for c in candidates if c.sound == 0.0]
        if unknown:
            # Found by a repair or a rule, not by its own nearness, which is cheap to add for the sound.
            near = knowledge.sound.encode([c.text for c in unknown]) @ views.sound[0]
            for c, value in zip(unknown, near.tolist(), strict=True):
                c.sound = value
    return FeatureInput(request, query, candidates, situation, own, shared, knowledge.hearing, name)
