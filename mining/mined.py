"""All that is mined of a log: what the global layer, its rules and the judging of turns are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mining.chains import Chains
from mining.completions import mine_completions
from mining.defects import assess, learn_reactions
from mining.frames import mine_frames
from mining.known_rewrites import count_chains
from mining.mishearings import learn_hearing
from mining.reactions import Reactions
from mining.rephrases import Marks
from mining.tables import Tables, collect_shared
from retriever.completion import Completer
from retriever.fragments import Fragment
from retriever.frames import Frame
from retriever.hearing import Hearing
from retriever.interaction import Interaction


@dataclass(frozen=True, slots=True)
class Mined:
    """Evidence of everybody's turns. `frames`, `fragments`, `completer`: of enough people."""

    reactions: Reactions
    tables: Tables
    chains: Chains
    frames: Sequence[Frame]
    fragments: Sequence[Fragment]
    completer: Completer
    hearing: Hearing


MarksByUser = Mapping[str, Marks] | None
"""What a model takes for rephrases; None: the rules say."""


def reactions_of(people: Mapping[str, Sequence[Interaction]], marks: MarksByUser) -> Reactions:
    return learn_reactions(list(people.values()), None if marks is None else [marks[user] for user in people])


def marks_of(marks: MarksByUser, user: str) -> Marks | None:
    return None if marks is None else marks[user]


def mine_people(
    people: Mapping[str, Sequence[Interaction]], min_people: int, marks: MarksByUser = None
) -> Mined:
    """From turns in memory, by user, each one's in time order. The plain twin of `mining.engines.run.mine`."""
    reactions = reactions_of(people, marks)
    assessed = [(turns, assess(turns, reactions, marks_of(marks, user))) for user, turns in people.items() if turns]
    frames, fragments = mine_frames(assessed, min_people)
    return Mined(
        reactions=reactions,
        tables=collect_shared(assessed),
        chains=count_chains(assessed),
        frames=frames,
        fragments=fragments,
        completer=mine_completions(assessed, min_people),
        hearing=learn_hearing(assessed),
    )
