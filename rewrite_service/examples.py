"""Training examples from the log itself: requests replayed in time, and what each candidate would have done.

The days are cut into blocks. The requests of a block see the global layer made from the days before it, as a served
bundle would, and their user's own turns up to the moment. What each wanted is told by what came after
(`rewrite_service.goals`), and how sure that is by labels (`rewrite_service.sureness`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from mining.defects import TurnEvidence, assess, sign_of
from mining.heard_names import heard_names
from mining.known_rewrites import mine_known_rewrites
from mining.labels.turn_label import TurnLabel
from mining.mined import Mined, marks_of, mine_people, reactions_of
from mining.reactions import Reactions
from mining.rephrases import AFFINITY_AFTER_FAILURE, REPHRASE_WINDOW_MS, Marks, affinity
from ranker.feature_input import FeatureInput
from ranker.features import features
from ranker.model import NEEDLESS, WIN, WRONG
from retriever.candidates import Candidate
from retriever.fragments import Fragments
from retriever.frames import FrameTable
from retriever.global_layer import GlobalLayer
from retriever.interaction import Interaction, Interpretation
from retriever.known_rewrites import KnownRewrites
from retriever.normalise import normalise
from retriever.personal_layer import PersonalLayer
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge, PersonalHistory, assemble
from rewrite_service.goals import Goal, contradicted, goal_of, told
from rewrite_service.known_rewrite import may_be_served
from rewrite_service.sureness import Sureness, by_label

SOUND_CACHE_BYTES = 256 << 20


class Miner(StrEnum):
    """An offline miner that a build can do without, to see what it adds."""

    CHAINS = "chains"


_PERSONAL_OFF, _SHARED_OFF = 15, 5
"""Per cent of the training requests that see a layer turned off: new users exist, and layers can fail."""
MASKED_WEIGHT = 0.5


def learn_knowledge(
    people: Mapping[str, Sequence[Interaction]],
    meaning: CachedEncoder,
    min_people: int,
    without: Collection[Miner] = (),
    marks: Mapping[str, Marks] | None = None,
) -> Knowledge:
    """What is learned from the turns of `people` (by user, in time order). `without`: miners that are left out.
    `marks`: what a model takes for rephrases, by user, of these turns and perhaps later ones; None: the rules say."""
    return knowledge_of(mine_people(people, min_people, marks), meaning, min_people, without)


def knowledge_of(
    mined: Mined, meaning: CachedEncoder, min_people: int, without: Collection[Miner] = ()
) -> Knowledge:
    """What serving needs of all that was mined. `min_people`: what it was mined with."""
    tables = mined.tables
    shared = GlobalLayer.build(
        tables.texts,
        tables.repairs.values(),
        tables.words(),
        tables.word_pairs(),
        tables.slot_values,
        meaning,
        min_people,
    )
    known = (
        KnownRewrites.build({}, shared)
        if Miner.CHAINS in without
        else mine_known_rewrites(mined.chains, shared, min_people)
    )
    table = FrameTable(mined.frames)
    heard = heard_names(table, tables, min_people)
    composer = Fragments.build(table, mined.fragments, shared.sound, min_people, heard)
    return Knowledge.of(
        shared, known, mined.completer, composer, mined.reactions, mined.hearing, meaning, SOUND_CACHE_BYTES
    )


@dataclass(frozen=True, slots=True)
class Example:
    """One request as the ranker sees it, with its goal. `outcome`: int8 (candidates,), WRONG, NEEDLESS, WIN, or -1
    where nobody knows. `first`: not a repetition of a failure just before, so a request as it comes in service.
    `masked`: shown with less known than there was, for training alone; `weight`: in training, above 0. `known`: the
    row of the candidate that was computed ahead, where a lookup could have served it. `wish`: how probable it is that
    the goal is what was wanted, above 0 to 1. `sign`: the log odds that what was seen of the user adds to the query's
    having failed, whatever was to be expected of it: 0 where that tells nothing, infinite where there was no answer."""

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
    known: int | None = None
    wish: float = 1.0
    sign: float = 0.0


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


def _row_of_known(x: FeatureInput) -> int | None:
    """The row of the candidate that a lookup could have served."""
    return next((i for i, c in enumerate(x.candidates) if c.known is not None), None) if may_be_served(x) else None


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


@dataclass(frozen=True, slots=True)
class Replay:
    """The log's requests, ready to be asked again block by block; no block needs another, so they may be made side by
    side. `people`: by user, each in time order. `starts`: of the blocks, ms. `evidence`, `meant` (see `told`): by user.
    `mask`: give some requests again with less known (`Example.masked`), as training does: a fixed share with a layer
    turned off, and those that failed as they would be had their user never reached the goal before. `without`: miners
    that are left out. `marks`: see `learn_knowledge`. `labels`: of each user's turns, for how sure their goals are and
    what they are worth; of nobody, where all count the same."""

    people: Mapping[str, Sequence[Interaction]]
    meaning: CachedEncoder
    min_people: int
    mask: bool
    starts: Sequence[int]
    reactions: Reactions
    evidence: Mapping[str, Sequence[TurnEvidence]]
    meant: Mapping[str, Mapping[str, int]]
    meanings: Meanings
    without: Collection[Miner] = ()
    marks: Mapping[str, Marks] | None = None
    labels: Mapping[str, Sequence[TurnLabel]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        people: Mapping[str, Sequence[Interaction]],
        meaning: CachedEncoder,
        *,
        blocks: int,
        min_people: int,
        mask: bool = True,
        without: Collection[Miner] = (),
        marks: Mapping[str, Marks] | None = None,
        labels: Mapping[str, Sequence[TurnLabel]] | None = None,
    ) -> Replay:
        reactions = reactions_of(people, marks)
        evidence = {user: assess(turns, reactions, marks_of(marks, user)) for user, turns in people.items()}
        meanings: dict[str, set[Interpretation]] = {}
        for turn in (turn for turns in people.values() for turn in turns):
            if turn.interpretation is not None:
                meanings.setdefault(normalise(turn.request.query), set()).add(turn.interpretation)
        meant = {user: told(turns, evidence[user]) for user, turns in people.items()}
        starts = block_starts(people, blocks)
        labels = labels or {}
        return cls(
            people, meaning, min_people, mask, starts, reactions, evidence, meant, meanings, without, marks, labels
        )

    def block(self, number: int, progress: Callable[[int], None] = lambda n: None) -> Iterator[Example]:
        """Every request of a block, with what was known before it. `progress`: is told of each."""
        start, stop = [*self.starts, 1 << 62][number : number + 2]
        before = {u: [t for t in turns if t.request.timestamp_ms < start] for u, turns in self.people.items()}
        knowledge = learn_knowledge(before, self.meaning, self.min_people, self.without, self.marks)
        for user, turns in self.people.items():
            past: PersonalHistory | None = None
            for i, turn in enumerate(turns):
                if start <= turn.request.timestamp_ms < stop:
                    progress(1)
                    goal = goal_of(turns, self.evidence[user], i, knowledge.completer, self.meant[user])
                    goal, sure = by_label(goal, self._label(user, turns, i, knowledge))
                    if goal is not None:
                        past = knowledge.personal_history(turns[:i], past)
                        yield from self._shown(number, knowledge, user, i, past, goal, sure)

    def _shown(
        self, block: int, knowledge: Knowledge, user: str, i: int, past: PersonalHistory, goal: Goal, sure: Sureness
    ) -> Iterator[Example]:
        """One request, as it was and with less known. `past`: of the turns before it."""
        turns, evidence = self.people[user], self.evidence[user]
        turn, own = turns[i], past.layer
        shown: list[tuple[PersonalLayer | None, bool, float]] = [(own, True, 1.0)]
        chance = _chance(turn.request.interaction_id)
        if self.mask and chance < _PERSONAL_OFF:
            shown.append((None, True, MASKED_WEIGHT))
        elif self.mask and chance < _PERSONAL_OFF + _SHARED_OFF:
            shown.append((own, False, MASKED_WEIGHT))
        unreached = _unreached(turns[:i], goal) if self.mask else None
        if unreached is not None:
            shown.append((knowledge.personal_history(unreached, past).layer, True, MASKED_WEIGHT))
        for nth, (personal, use_shared, weight) in enumerate(shown):
            made = assemble(turn.request, turns[max(0, i - 8) : i], personal, knowledge, use_shared=use_shared)
            if made is not None:
                yield Example(
                    user=user,
                    block=block,
                    timestamp_ms=turn.request.timestamp_ms,
                    x=features(made),
                    candidates=tuple(made.candidates),
                    goal=goal,
                    outcome=label(made.candidates, goal, self.meanings),
                    first=is_first_attempt(turns, evidence, i),
                    masked=nth > 0,
                    weight=weight * sure.turn,
                    known=_row_of_known(made),
                    wish=sure.wish,
                    sign=sign_of(turn, evidence[i], self.reactions),
                )

    def _label(
        self, user: str, turns: Sequence[Interaction], i: int, knowledge: Knowledge
    ) -> TurnLabel | None:
        """Without a correction that a sure rule for follow-ups contradicts."""
        labels = self.labels.get(user)
        label = None if labels is None else labels[i]
        told = None if label is None else label.correction
        if label is not None and told is not None and contradicted(turns, i, told.turn, knowledge.completer):
            return replace(label, correction=None)
        return label


def examples(replay: Replay, progress: Callable[[int], None] = lambda n: None) -> Iterator[Example]:
    """Every request of the blocks, block by block."""
    for number in range(len(replay.starts)):
        yield from replay.block(number, progress)
