"""Puts together what the ranker needs for one request. The same code online, in training and in replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from mining.reactions import Reactions
from mining.tables import PersonalRecord, personal_record
from ranker.feature_input import FeatureInput, NameInFrame
from ranker.situation import situation_of
from retriever import sound
from retriever.candidates import Candidate, gather, leave_alone
from retriever.completion import Completer, Completion
from retriever.composition import Composition, Heard, compose
from retriever.encoder import Encoder
from retriever.evidence import TextEvidence
from retriever.fragments import Fragment, Fragments, of_person
from retriever.frames import Frame, foretold
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Interaction, Outcome, Request
from retriever.known_rewrites import KnownRewrites
from retriever.normalise import normalise
from retriever.personal_layer import PersonalLayer
from retriever.places import MAX_PLACE_COST, Places, with_places
from retriever.preferences import TaughtRewrite
from retriever.vector_cache import CachedEncoder
from retriever.views import Views
from rewrite_service.stages import StageClock

MAX_ALTERNATIVES = 3
MAX_COMPOSED_BESIDES = 4
FUTILE_ATTEMPTS = 2
"""Of how many further hypotheses rewrites are made as of the query itself, and how many names are tried for each."""


@dataclass(frozen=True, slots=True)
class PersonalHistory:
    """One user's layer, and what it was made from: the record of their turns, and by text what each of their requests
    names."""

    record: PersonalRecord
    names: Mapping[str, tuple[TextEvidence, Sequence[Fragment]]]
    layer: PersonalLayer


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was learned from the log up to some moment: everybody's layer, the rewrites computed ahead, the rules for
    follow-ups, names and what they stand in, where a place's own name may be one of them, what users do after right and
    wrong answers, what is heard for what, the encoders."""

    shared: GlobalLayer
    known: KnownRewrites
    completer: Completer
    fragments: Fragments
    places: Places
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
        places = Places(completer.rules, fragments.patterns)
        return cls(shared, known, completer, fragments, places, reactions, hearing, meaning, sounds)

    def personal_layer(self, turns: Sequence[Interaction]) -> PersonalLayer:
        """One user's layer from their turns, in time order."""
        return self.personal_history(turns).layer

    def personal_history(
        self, turns: Sequence[Interaction], before: PersonalHistory | None = None
    ) -> PersonalHistory:
        """The same with what a later one may take over. `before`: the same user's, by this knowledge, before some turns
        came, went or changed: what is the same object as then is not looked at anew. The layer is the same with and
        without."""
        record = personal_record(turns, self.reactions, before.record if before else None)
        tables = record.tables
        names = {}
        for text, e in tables.texts.items():
            known = before.names.get(text) if before else None
            names[text] = known if known is not None and known[0] is e else (e, self._names_in(e))
        layer = PersonalLayer(
            tables.texts,
            tables.repairs.values(),
            tables.slot_values,
            of_person(chain.from_iterable(named for _, named in names.values())),
            self.meaning,
            self.sound,
            before.layer if before else None,
        )
        return PersonalHistory(record, names, layer)

    def _names_in(self, e: TextEvidence) -> list[Fragment]:
        return [name for reading in e.readings[0] | e.readings[1] for name in self.fragments.names_in(e.text, reading)]


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


@dataclass(frozen=True, slots=True)
class _Made:
    """What rules and frames make of a query and of the recogniser's other hypotheses, best first of each. `fits`: the
    frames of each hypothesis."""

    completions: list[Completion]
    compositions: list[Composition]
    fits: dict[str, Sequence[tuple[Frame, str]]]


def _made(opening: Opening, knowledge: Knowledge) -> _Made:
    x = opening.x
    completer, request = knowledge.completer, x.request
    places = knowledge.places.names(request.context)
    names = with_places(x.personal.names if x.personal else {}, places)
    made = _Made(completer.complete(x.query, request, x.situation.readings), [], {})
    heard = [Heard(x.query, [*opening.fitting, *knowledge.places.fitting(x.query)], names)]
    for rank, text in enumerate(opening.besides, 1):
        completed = completer.complete(text, request, x.situation.readings)
        made.completions.extend(replace(c, heard_rank=rank) for c in completed)
        made.fits[text] = knowledge.fragments.table.fitting(text)
        heard.append(Heard(text, made.fits[text], names, MAX_COMPOSED_BESIDES, instead=True))
    composed = compose(heard, knowledge.fragments, knowledge.sound, knowledge.hearing)
    for c in (replace(c, heard_rank=rank) if rank else c for rank, theirs in enumerate(composed) for c in theirs):
        here = c.fragment.text in places.get(c.fragment.gaps, ())
        if here and c.cost > MAX_PLACE_COST:
            continue
        if c.fragment.slots:  # else of words that are no request by themselves
            made.compositions.append(c)
        if here:
            # Made whole like a query in which the place was heard right.
            whole = [w for w in completer.complete(c.text, request, ()) if not w.rest]
            made.completions.extend(replace(w, heard_rank=c.heard_rank) for w in whole)
            made.compositions.extend(replace(c, text=w.text, reading=w.reading) for w in whole)
    return made


def find_candidates(
    opening: Opening, knowledge: Knowledge, clock: StageClock, unranked: list[Candidate] | None = None
) -> FeatureInput:
    """The request with its candidates of both layers. `unranked`: takes those left out, as of `gather`."""
    x, query, own = opening.x, opening.x.query, opening.x.personal
    known = query in knowledge.meaning
    left_out = not known and not clock.fits("meaning", "meaning", "retrieve", "features", "predict")
    with clock.stage("encode", None if known or left_out else "meaning"):
        meaning = np.zeros((1, Encoder.DIMENSION), np.float32) if left_out else knowledge.meaning.encode([query])
        views = Views(meaning, knowledge.sound.encode([query]))
    with clock.stage("retrieve"):
        made = _made(opening, knowledge) if x.shared is not None else _Made([], [], {})
        tried = opening.besides if own is not None and _keeps_failing(own, query) else ()
        unproven = {text: foretold(made.fits.get(text, ())) for text in tried}
        found = (made.completions, made.compositions, unproven, opening.taught, x.known)
        has_screen = x.request.context.has_screen
        candidates = gather(x.candidates[0], views, has_screen, own, x.shared, *found, unranked)
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
