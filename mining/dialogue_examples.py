"""Dialogues to learn from, without annotators: the log's own verdicts on who repaired what, and dialogues made of them.

The verdicts (`mining.defects`) know a repair best where it follows at once. So each dialogue is also shown otherwise:
with turns of other people's dialogues in between, so that the rephrase comes later and after a change of subject; and
with another's turn in the place of the rephrase, as of somebody who gave up and went on. In both the truth is known
from how the dialogue was made, not from the rules (after Wang et al. 2021, "Contextual rephrase detection for reducing
friction in dialogue systems", who train on weak labels and augmented dialogues).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mining.defects import TurnEvidence
from mining.dialogue import LONGEST, Dialogue, Habits, Window, dialogue, windows
from mining.rephrases import REPHRASE_WINDOW_MS
from mining.sessions import by_user, sessions
from retriever.interaction import Interaction
from retriever.normalise import normalise

UNSURE = 0.15
"""An answered turn that is likelier than this to be the other of right and wrong teaches nothing."""
GIVEN_UP = 0.5
"""What it weighs that a failed turn has no rephrase: some have one that the verdicts do not see."""
MOST_BETWEEN = 3
_OWN = 0.5
NONE = -1
_END = 1 << 62


@dataclass(frozen=True, slots=True)
class Example:
    """A dialogue. Of each turn, `goal`: the later turn that reached its goal, or `NONE`; `weight`: >= 0."""

    dialogue: Dialogue
    goal: tuple[int, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Turns with what is known of them, still to be put into numbers."""

    turns: tuple[Interaction, ...]
    goal: tuple[int, ...]
    weight: tuple[float, ...]

    @property
    def reached(self) -> bool:
        """Whether it holds a rephrase."""
        return any(goal != NONE for goal in self.goal)

    def example(self, habits: Habits) -> Example:
        return Example(dialogue(self.turns, habits), self.goal, self.weight)


Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]


def examples(people: Mapping[str, Person], seed: int, shown: int = 2, until_ms: int = _END) -> list[Example]:
    """The log's dialogues that end before `until_ms`, `shown` further ones made of each that holds a rephrase, one of
    each other. `people`: turns in time order with their evidence, by user. The same seed gives the same examples."""
    out = []
    for told, habits, user, strangers, rng in _dialogues(people, seed, 0, until_ms):
        out.append(told.example(habits))
        for _ in range(shown if told.reached else 1):
            out.append(_interrupted(told, user, strangers, rng).example(habits))
        if told.reached:
            out.append(_given_up(told, user, strangers, rng).example(habits))
    return out


def held_out(people: Mapping[str, Person], seed: int, from_ms: int) -> Iterator[tuple[Told, Example, Told, Example]]:
    """The dialogues that begin at `from_ms` or later, each as it is and interrupted, to judge by."""
    for told, habits, user, strangers, rng in _dialogues(people, seed, from_ms, _END):
        other = _interrupted(told, user, strangers, rng)
        yield told, told.example(habits), other, other.example(habits)


def _dialogues(
    people: Mapping[str, Person], seed: int, from_ms: int, until_ms: int
) -> Iterator[tuple[Told, Habits, str, Strangers, random.Random]]:
    rng = random.Random(seed)
    strangers = Strangers.of(
        {u: [t for t in turns if from_ms <= t.request.timestamp_ms < until_ms] for u, (turns, _) in people.items()}
    )
    for user, (turns, evidence) in people.items():
        for window, habits in windows(turns):
            first, last = turns[window.start].request.timestamp_ms, turns[window.stop - 1].request.timestamp_ms
            if from_ms <= first and last < until_ms:
                told = _told(turns, evidence, window)
                if any(told.weight):
                    yield told, habits, user, strangers, rng


def _told(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], window: Window) -> Told:
    start, stop, first, last = window
    goal, weight = [], []
    for i in range(start, stop):
        e = evidence[i]
        known = e.goal is not None and e.goal < stop
        goal.append(e.goal - start if known else NONE)  # type: ignore[operator]
        asked = first <= i < last and i < stop - 1
        if not asked or (e.goal is not None and not known):
            weight.append(0.0)
        elif known:
            weight.append(1.0)
        elif turns[i].interpretation is not None and min(e.defect, 1 - e.defect) > UNSURE:
            weight.append(0.0)
        else:
            weight.append(GIVEN_UP if e.failed else 1.0)
    return Told(tuple(turns[start:stop]), tuple(goal), tuple(weight))


class Strangers:
    """Turns that stand alone in their sessions, and pauses as they are within sessions: what is put between the turns
    of a dialogue that has nothing to do with it. Half are the same user's, from other days, so that a turn does not
    give itself away by what this user never says."""

    def __init__(self, alone: Sequence[Interaction], pauses_ms: Sequence[int]) -> None:
        self._alone, self._pauses_ms = alone, pauses_ms or [30_000]
        self._own = by_user(alone)

    @classmethod
    def of(cls, people: Mapping[str, Sequence[Interaction]]) -> Strangers:
        """From everybody's turns."""
        alone, pauses = [], []
        for turns in people.values():
            for span in sessions(turns):
                if len(span) == 1:
                    alone.append(turns[span.start])
                stamps = [turns[i].request.timestamp_ms for i in span]
                pauses += [b - a for a, b in pairwise(stamps) if b - a <= REPHRASE_WINDOW_MS]
        return cls(alone, pauses)

    def pause_ms(self, rng: random.Random) -> int:
        return rng.choice(self._pauses_ms)

    def turn(self, user: str, about: Sequence[Interaction], rng: random.Random) -> Interaction | None:
        """A turn that means nothing of what `about`, turns of `user`, does; None where none is found."""
        readings = {t.interpretation for t in about if t.interpretation is not None}
        texts = {normalise(t.request.query) for t in about}
        for _ in range(20 if self._alone else 0):
            own = self._own.get(user) if rng.random() < _OWN else None
            found = rng.choice(own or self._alone)
            if found.interpretation not in readings and normalise(found.request.query) not in texts:
                return found
        return None


def put_between(
    turns: Sequence[Interaction], after: int, user: str, strangers: Strangers, rng: random.Random, most: int
) -> tuple[list[Interaction], int]:
    """The turns with 1 to `most` strangers' turns behind turn `after`, all that follows moved to later; and how many
    were put there."""
    between = [s for _ in range(rng.randint(1, most)) if (s := strangers.turn(user, turns, rng)) is not None]
    now = turns[after].request.timestamp_ms
    moved = []
    for stranger in between:
        now += strangers.pause_ms(rng)
        moved.append(as_turn_of(stranger, turns[after], now))
    delay = now - turns[after].request.timestamp_ms
    later = [at(t, t.request.timestamp_ms + delay) for t in turns[after + 1 :]]
    return [*turns[: after + 1], *moved, *later], len(moved)


def at(turn: Interaction, timestamp_ms: int) -> Interaction:
    return replace(turn, request=replace(turn.request, timestamp_ms=timestamp_ms))


def as_turn_of(stranger: Interaction, host: Interaction, timestamp_ms: int) -> Interaction:
    """The stranger's turn as if the host's user had said it, at the host's device, at that moment."""
    request = replace(
        stranger.request,
        user_id=host.request.user_id,
        timestamp_ms=timestamp_ms,
        context=host.request.context,
        interaction_id=f"{stranger.request.interaction_id}@{host.request.interaction_id}",
    )
    return replace(stranger, request=request)


def _interrupted(told: Told, user: str, strangers: Strangers, rng: random.Random) -> Told:
    room = LONGEST - len(told.turns)
    if not room:
        return told
    failed = [i for i, goal in enumerate(told.goal) if goal != NONE]
    i = rng.choice(failed) if failed else rng.randrange(len(told.turns) - 1)
    after = rng.randrange(i, told.goal[i]) if failed else i
    turns, n = put_between(told.turns, after, user, strangers, rng, min(MOST_BETWEEN, room))
    goal = [g + n if g > after else g for g in told.goal]
    goal[after + 1 : after + 1] = [NONE] * n
    weight = [*told.weight[: after + 1], *[1.0] * n, *told.weight[after + 1 :]]
    return Told(tuple(turns), tuple(goal), tuple(weight))


def _given_up(told: Told, user: str, strangers: Strangers, rng: random.Random) -> Told:
    """The dialogue with a stranger's turn where a rephrase was, and without what followed."""
    reached = rng.choice(sorted({goal for goal in told.goal if goal != NONE}))
    stranger = strangers.turn(user, told.turns, rng)
    if stranger is None:
        return told
    kept = told.turns[:reached]
    turns = (*kept, as_turn_of(stranger, kept[-1], told.turns[reached].request.timestamp_ms))
    goal = tuple(g if g < reached else NONE for g in told.goal[:reached])
    return Told(turns, (*goal, NONE), (*told.weight[:reached], 0.0))
