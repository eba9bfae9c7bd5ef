"""Training examples from the log itself: requests replayed in time, and what each candidate would have done.

The days are cut into blocks. The requests of a block see the global layer made from the days before it, as a served
bundle would, and their user's own turns up to the moment. What a failed turn wanted is known from the turn that
repaired it; a turn that was fine wanted what it got.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mining.completions import answered_before, mine_completions
from mining.defects import FAILED, TurnEvidence, assess, learn_reactions
from mining.frames import mine_frames
from mining.mishearings import learn_hearing
from mining.rephrases import AFFINITY_AFTER_FAILURE, REPHRASE_WINDOW_MS, affinity
from mining.tables import collect_shared
from ranker.features import features
from ranker.model import NEEDLESS, WIN, WRONG
from retriever.candidates import Candidate
from retriever.completion import Completer
from retriever.fragments import Fragments
from retriever.global_layer import GlobalLayer
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise
from retriever.personal_layer import PersonalLayer
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge, assemble

SOUND_CACHE_BYTES = 256 << 20
_PERSONAL_OFF, _SHARED_OFF = 15, 5
"""Per cent of the training requests that see a layer turned off: new users exist, and layers can fail."""
_MASKED_WEIGHT = 0.5


def learn_knowledge(people: Mapping[str, Sequence[Interaction]], meaning: CachedEncoder, min_people: int) -> Knowledge:
    """The global layer and the completion rules from the turns of `people` (by user, in time order)."""
    reactions = learn_reactions(list(people.values()))
    assessed = [(turns, assess(turns, reactions)) for turns in people.values() if turns]
    tables = collect_shared(assessed)
    shared = GlobalLayer.build(
        tables.texts,
        tables.repairs.values(),
        tables.words(),
        tables.word_pairs(),
        tables.slot_values,
        meaning,
        min_people,
    )
    frames, fragments = mine_frames(assessed, min_people)
    composer = Fragments.build(frames, fragments, shared.sound, min_people)
    rules = mine_completions(assessed, min_people)
    return Knowledge.of(shared, rules, composer, reactions, learn_hearing(assessed), meaning, SOUND_CACHE_BYTES)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a turn's user wanted, as far as the log tells. `served`: the turn as it was gave it. `known`: whether the
    wish is known; if not, only that the turn failed."""

    served: bool
    known: bool
    text: str = ""
    reading: Interpretation | None = None

    def met_by(self, candidate: Candidate) -> bool:
        """Whether asking `candidate` instead would have given it."""
        return candidate.text == self.text or (self.reading is not None and candidate.reading == self.reading)


def goal_of(
    turns: Sequence[Interaction],
    evidence: Sequence[TurnEvidence],
    i: int,
    completer: Completer,
    meant_by: Mapping[str, int],
) -> Goal | None:
    """The goal of turn `i`; None where the signals contradict each other and the turn teaches nothing.

    `completer`: rules for follow-ups; where a sure rule fires, a supposed repair that it contradicts was another wish.
    `meant_by`: what this user means by words that were given up this time (see `told`).
    """
    e, turn = evidence[i], turns[i]
    if e.goal is not None and not _contradicted(turns, i, e.goal, completer):
        reached = turns[e.goal]
        return Goal(False, True, normalise(reached.request.query), reached.interpretation)
    if turn.interpretation is None:
        other = meant_by.get(normalise(turn.request.query))
        if other is not None and not _contradicted(turns, i, other, completer):
            reached = turns[other]
            return Goal(False, True, normalise(reached.request.query), reached.interpretation)
        return Goal(False, False)
    if min(e.defect, 1 - e.defect) > UNSURE:
        return None
    if e.defect >= FAILED:
        return Goal(False, False)
    return Goal(True, True, normalise(turn.request.query), turn.interpretation)


UNSURE = 0.15
"""A turn that is likelier than this to be the other of right and wrong teaches nothing."""
SURE_SUPPORT, SURE_PRECISION = 5, 0.7
"""A rule for follow-ups that so many people are behind, and that is right so often, outweighs a single mined repair."""


def told(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> dict[str, int]:
    """What one user means by words that got no answer, by the user's own repairs of them: text to a turn that reached
    it. Only where all repairs of a text agree, and what they say is not unlike it."""
    goals: dict[str, list[int]] = {}
    for turn, e in zip(turns, evidence, strict=True):
        if e.goal is not None and turn.interpretation is None:
            goals.setdefault(normalise(turn.request.query), []).append(e.goal)
    return {
        text: found[-1]
        for text, found in goals.items()
        if len({turns[goal].interpretation for goal in found}) == 1
        and affinity(text, normalise(turns[found[-1]].request.query)) >= AFFINITY_AFTER_FAILURE
    }


def _contradicted(turns: Sequence[Interaction], i: int, goal: int, completer: Completer) -> bool:
    """Whether sure rules say what turn `i` meant, and `goal` is nothing of that. "Play it again", then after a minute
    another song, is a user who gave up and went on."""
    turn, reached = turns[i], turns[goal]
    before = answered_before(turns, i, turn.request.timestamp_ms)
    made = completer.complete(normalise(turn.request.query), turn.request, before)
    sure = [c for c in made if c.support >= SURE_SUPPORT and c.precision >= SURE_PRECISION]
    if not sure:
        return False
    for heard in turn.request.alternatives:  # "switch it on" may have been "off"
        made += completer.complete(normalise(heard), turn.request, before)
    text = normalise(reached.request.query)
    return not any(c.text == text or (c.reading and c.reading == reached.interpretation) for c in made)


@dataclass(frozen=True, slots=True)
class Example:
    """One request as the ranker sees it, with its goal. `outcome`: int8 (candidates,), WRONG, NEEDLESS, WIN, or -1
    where nobody knows. `first`: not a repetition of a failure just before, so a request as it comes in service.
    `masked`: shown with less known than there was, for training alone; `weight`: in training, above 0."""

    user: str
    block: int
    timestamp_ms: int
    x: np.ndarray
    candidates: Sequence[Candidate]
    goal: Goal
    outcome: np.ndarray
    first: bool
    masked: bool
    weight: float


Meanings = Mapping[str, Collection[Interpretation]]
"""What each text was ever understood as, by anybody: for labels alone, which may know more than a candidate tells."""


def label(candidates: Sequence[Candidate], goal: Goal, meanings: Meanings) -> np.ndarray:
    """int8 (candidates,): what each would have done; the first is the query itself. `meanings`: for candidates of which
    the serving side may not know what they mean."""
    if not goal.known:
        return np.array([WRONG] + [-1] * (len(candidates) - 1), dtype=np.int8)
    met = NEEDLESS if goal.served else WIN
    out = [NEEDLESS if goal.served else WRONG]
    out += [
        met if goal.met_by(c) or (c.reading is None and goal.reading in meanings.get(c.text, ())) else WRONG
        for c in candidates[1:]
    ]
    return np.array(out, dtype=np.int8)


def block_starts(people: Mapping[str, Sequence[Interaction]], blocks: int, warm_up: float = 0.25) -> list[int]:
    """Start times (ms) of `blocks` spans that hold about as many turns each, after the first `warm_up` share of all."""
    stamps = np.sort([t.request.timestamp_ms for turns in people.values() for t in turns])
    at = np.linspace(warm_up, 1.0, blocks + 1)[:-1] * len(stamps)
    return [int(stamps[int(a)]) for a in at]


def is_first_attempt(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], i: int) -> bool:
    """Whether turn `i` is not a repetition of a failure just before: a request as it comes in service, where a good
    rewrite would have spared the user the repetition."""
    if i == 0 or not evidence[i - 1].failed:
        return True
    before, now = turns[i - 1].request, turns[i].request
    if now.timestamp_ms - before.timestamp_ms > REPHRASE_WINDOW_MS:
        return True
    if evidence[i - 1].goal == i:
        return False
    return affinity(normalise(before.query), normalise(now.query)) < AFFINITY_AFTER_FAILURE


def _unreached(past: Sequence[Interaction], goal: Goal) -> list[Interaction] | None:
    """A user's past as if the goal of a failed turn had never been reached; None where it never was. Users who find no
    way to say a thing leave no labels: this is how their requests would look, with the answer known."""
    if goal.served or not goal.known:
        return None
    kept = [t for t in past if t.interpretation != goal.reading and normalise(t.request.query) != goal.text]
    return kept if len(kept) < len(past) else None


def _chance(key: str) -> int:
    """0 to 99, the same for the same key: so that a build can be repeated exactly."""
    return zlib.crc32(key.encode("utf-8", "replace")) % 100


def examples(
    people: Mapping[str, Sequence[Interaction]],
    meaning: CachedEncoder,
    *,
    blocks: int,
    min_people: int,
    mask: bool = True,
    progress: Callable[[int], None] = lambda n: None,
) -> Iterator[Example]:
    """Every request of the blocks, block by block. `people`: by user, each in time order. `mask`: give some requests
    again with less known (`Example.masked`), as training does: a fixed share with a layer turned off, and those that
    failed as they would be had their user never reached the goal before."""
    reactions = learn_reactions(list(people.values()))
    evidence = {user: assess(turns, reactions) for user, turns in people.items()}
    meanings: dict[str, set[Interpretation]] = {}
    for turn in (turn for turns in people.values() for turn in turns):
        if turn.interpretation is not None:
            meanings.setdefault(normalise(turn.request.query), set()).add(turn.interpretation)
    meant = {user: told(turns, evidence[user]) for user, turns in people.items()}
    starts = block_starts(people, blocks)
    for block, (start, stop) in enumerate(zip(starts, [*starts[1:], 1 << 62], strict=True)):
        before = {u: [t for t in turns if t.request.timestamp_ms < start] for u, turns in people.items()}
        knowledge = learn_knowledge(before, meaning, min_people)
        for user, turns in people.items():
            for i, turn in enumerate(turns):
                if not start <= turn.request.timestamp_ms < stop:
                    continue
                progress(1)
                goal = goal_of(turns, evidence[user], i, knowledge.completer, meant[user])
                if goal is None:
                    continue
                own = knowledge.personal_layer(turns[:i])
                shown: list[tuple[PersonalLayer | None, bool, float]] = [(own, True, 1.0)]
                chance = _chance(turn.request.interaction_id)
                if mask and chance < _PERSONAL_OFF:
                    shown.append((None, True, _MASKED_WEIGHT))
                elif mask and chance < _PERSONAL_OFF + _SHARED_OFF:
                    shown.append((own, False, _MASKED_WEIGHT))
                unreached = _unreached(turns[:i], goal) if mask else None
                if unreached is not None:
                    shown.append((knowledge.personal_layer(unreached), True, _MASKED_WEIGHT))
                for nth, (personal, use_shared, weight) in enumerate(shown):
                    made = assemble(
                        turn.request,
                        turns[max(0, i - 8) : i],
                        personal,
                        knowledge,
                        use_shared=use_shared,
                    )
                    if made is not None:
                        first = is_first_attempt(turns, evidence[user], i)
                        yield Example(
                            user=user,
                            block=block,
                            timestamp_ms=turn.request.timestamp_ms,
                            x=features(made),
                            candidates=tuple(made.candidates),
                            goal=goal,
                            outcome=label(made.candidates, goal, meanings),
                            first=first,
                            masked=nth > 0,
                            weight=weight,
                        )

