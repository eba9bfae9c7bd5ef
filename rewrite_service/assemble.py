"""Puts together what the ranker needs for one request. The same code online, in training and in replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mining.reactions import Reactions
from mining.tables import personal_tables
from ranker.feature_input import FeatureInput, NameInFrame
from ranker.situation import situation_of
from retriever import sound
from retriever.candidates import Candidate, gather, leave_alone
from retriever.completion import Completer
from retriever.composition import Heard, compose
from retriever.encoder import Encoder
from retriever.fragments import Fragments
from retriever.frames import Frame, foretold
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Interaction, Outcome, Request
from retriever.known_rewrites import KnownRewrites
from retriever.normalise import normalise
from retriever.personal_layer import PersonalLayer
from retriever.preferences import TaughtRewrite
from retriever.vector_cache import CachedEncoder
from retriever.views import Views
from rewrite_service.stages import StageClock

MAX_ALTERNATIVES = 3
MAX_COMPOSED_BESIDES = 4
FUTILE_ATTEMPTS = 2
"""Of how many further hypotheses rewrites are made as of the query itself, and how many names are tried for each."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was learned from the log up to some moment: everybody's layer, the rewrites computed ahead, the rules for
    follow-ups, what users do after right and wrong answers, what is heard for what, the encoders."""

    shared: GlobalLayer
    known: KnownRewrites
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
        known: KnownRewrites,
        completer: Completer,
        fragments: Fragments,
        reactions: Reactions,
        hearing: Hearing,
        meaning: CachedEncoder,
        sound_cache_bytes: int,
    ) -> Knowledge:
        """`meaning` may be shared by several; the sound of a text depends on the layer's own weights."""
        sounds = CachedEncoder(shared.sound, sound.DIMENSION, sound_cache_bytes)
        return cls(shared, known, completer, fragments, reactions, hearing, meaning, sounds)

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


def _best_hypotheses(request: Request, query: str) -> list[str]:
    """The recogniser's best other hypotheses, in normal form."""
    texts = dict.fromkeys(map(normalise, request.alternatives[:MAX_ALTERNATIVES]))
    return [text for text in texts if text and text != query]


def _keeps_failing(own: PersonalLayer, query: str) -> bool:
    """Whether this user has said just this before, in vain: then another hypothesis of the recogniser is worth a try
    even where nobody is known to have said it. Otherwise such candidates do more harm than good."""
    known = own.texts.get(query)
    return known is not None and known.attempts >= FUTILE_ATTEMPTS and known.successes < 0.5


def as_understood(turns: Sequence[Interaction], shared: GlobalLayer) -> list[Interaction]:
    """Turns that nobody recorded, as the assistant is expected to have understood those that it answered, where they do
    not say so themselves."""
    out = []
    for turn in turns:
        query = normalise(turn.request.query)
        if query and turn.interpretation is None and turn.outcome is Outcome.OK:
            usual = leave_alone(query, turn.request.context.has_screen, None, shared).reading
            turn = replace(turn, interpretation=usual)
        out.append(turn)
    return out


@dataclass(frozen=True, slots=True)
class Opening:
    """A request of which all is known but its candidates. `x`: holds the query itself alone. `fitting`: the frames that
    fit the query. `besides`: the recogniser's best other hypotheses, in normal form. `taught`: what the user's
    preferences make of the query."""

    x: FeatureInput
    fitting: Sequence[tuple[Frame, str]]
    besides: Sequence[str]
    taught: Sequence[TaughtRewrite] = ()


def open_request(
    request: Request,
    situation_turns: Sequence[Interaction],
    own: PersonalLayer | None,
    knowledge: Knowledge,
    use_shared: bool = True,
) -> Opening | None:
    """What is known of `request` without a search; None for a query in which nothing is spelled.

    `situation_turns`: this user's latest turns before the request, in time order. `own`: the user's layer, None to
    leave it off. `use_shared`: False leaves everybody's layer off, the mined rules included.
    """
    query = normalise(request.query)
    if not query:
        return None
    shared = knowledge.shared if use_shared else None
    fitting: Sequence[tuple[Frame, str]] = ()
    name = None
    if use_shared and (fitting := knowledge.fragments.table.fitting(query)):
        people, times, tries = knowledge.fragments.known(fitting).max(axis=0).tolist()
        rests = {rest for _, rest in fitting}
        mine = own.record_of(rests) if own else (0.0, 0.0)
        name = NameInFrame(len(fitting), people, times, tries, *mine)
    has_screen = request.context.has_screen
    leave = leave_alone(query, has_screen, own, shared)
    known = knowledge.known.find(query, has_screen) if use_shared else None
    situation = situation_of(situation_turns, request)
    x = FeatureInput(request, query, [leave], situation, own, shared, knowledge.hearing, name, known)
    return Opening(x, fitting, _best_hypotheses(request, query))


def find_candidates(
    opening: Opening, knowledge: Knowledge, clock: StageClock, unranked: list[Candidate] | None = None
) -> FeatureInput:
    """The request with its candidates of both layers. `unranked`: takes those left out, as of `gather`."""
    x, besides = opening.x, opening.besides
    query, request, own = x.query, x.request, x.personal
    known = query in knowledge.meaning
    left_out = not known and not clock.fits("meaning", "meaning", "retrieve", "features", "predict")
    with clock.stage("encode", None if known or left_out else "meaning"):
        meaning = np.zeros((1, Encoder.DIMENSION), np.float32) if left_out else knowledge.meaning.encode([query])
        views = Views(meaning, knowledge.sound.encode([query]))
    with clock.stage("retrieve"):
        completions, compositions = [], []
        fits: dict[str, Sequence[tuple[Frame, str]]] = {}
        if x.shared is not None:
            completions = knowledge.completer.complete(query, request, x.situation.readings)
            mine = own.names if own else {}
            heard = [Heard(query, opening.fitting, mine)]
            for rank, text in enumerate(besides, 1):
                completed = knowledge.completer.complete(text, request, x.situation.readings)
                completions += [replace(c, heard_rank=rank) for c in completed]
                fits[text] = knowledge.fragments.table.fitting(text)
                heard.append(Heard(text, fits[text], mine, MAX_COMPOSED_BESIDES, instead=True))
            made = compose(heard, knowledge.fragments, knowledge.sound, knowledge.hearing)
            compositions = [replace(c, heard_rank=rank) if rank else c for rank, cs in enumerate(made) for c in cs]
        has_screen = request.context.has_screen
        leave = x.candidates[0]
        tried = besides if own is not None and _keeps_failing(own, query) else ()
        unproven = {text: foretold(fits.get(text, ())) for text in tried}
        found = (completions, compositions, unproven, opening.taught, x.known)
        candidates = gather(leave, views, has_screen, own, x.shared, *found, unranked)
        unknown = [c for c in candidates if c.sound == 0.0]
        if unknown:
            # Found by a repair or a rule, not by its own nearness, which is cheap to add for the sound.
            near = knowledge.sound.encode([c.text for c in unknown]) @ views.sound[0]
            for c, value in zip(unknown, near.tolist(), strict=True):
                c.sound = value
    return replace(x, candidates=candidates)


def assemble(
    request: Request,
    situation_turns: Sequence[Interaction],
    own: PersonalLayer | None,
    knowledge: Knowledge,
    *,
    use_shared: bool = True,
    clock: StageClock | None = None,
) -> FeatureInput | None:
    """`open_request`, then `find_candidates`."""
    opening = open_request(request, situation_turns, own, knowledge, use_shared)
    return None if opening is None else find_candidates(opening, knowledge, clock or StageClock())
