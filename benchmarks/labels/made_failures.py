"""Failures that HabitBench does not have, made and put between the turns of its people: overheard talk, and results
that were not what was asked for.

Overheard talk (false wakes) is of two kinds. PROSE: some running words of English prose (Python's own documentation,
which every installation has), as a recogniser of everyday language would write down people who talk to each other.
SALAD: words of other people's requests, drawn by how usual they are, as a recogniser would that knows requests alone;
these are much like requests that were misheard badly. Further hypotheses have other words in places; confidence is
drawn from that of the half of the unanswered turns that the recogniser was least sure of. Most get no answer, some an
answer by accident, which is then broken off. Nobody goes on from it.

A failed result: a turn that got an answer and served is first asked in the same words, gets the same interpretation,
and is broken off or rejected; then comes the turn as it was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pydoc_data.topics import topics

from mining.defects import TurnEvidence
from retriever.interaction import Channel, Explicit, Feedback, Interaction, Outcome, Request
from retriever.normalise import normalise

OVERHEARD, FAILED_RESULTS = 0.04, 0.01
"""So many of each for a turn that was there."""
_ANSWERED_BY_ACCIDENT = 0.15
_HALF_HOUR_MS = 30 * 60_000
_ALTERNATIVES, _OTHER_WORD = (1, 4), 0.5


class Kind(StrEnum):
    """How a made turn failed."""

    PROSE = "prose"
    SALAD = "salad"
    ANSWERED_PROSE = "prose, answered"
    ANSWERED_SALAD = "salad, answered"
    RESULT = "result"

    @property
    def overheard(self) -> bool:
        return self is not Kind.RESULT


@dataclass(frozen=True, slots=True)
class Made:
    """`people`: by user, their turns with the made ones among them, in time order. `kinds`: of the made ones, by
    interaction id."""

    people: Mapping[str, Sequence[Interaction]]
    kinds: Mapping[str, Kind]


Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]


def with_made_failures(people: Mapping[str, Person], seed: int = 11) -> Made:
    """`people`: turns in time order with their evidence, by user."""
    rng = random.Random(seed)
    talk = _Talk.of([turn for turns, _ in people.values() for turn in turns], rng)
    kinds: dict[str, Kind] = {}
    out = {}
    for user, (turns, evidence) in people.items():
        made = []
        for turn in turns:
            if rng.random() < OVERHEARD:
                kind, heard = talk.turn(turn, f"overheard-{len(kinds)}")
                kinds[heard.request.interaction_id] = kind
                made.append(heard)
        for i, (turn, e) in enumerate(zip(turns, evidence, strict=True)):
            if e.defect < 0.05 and turn.interpretation is not None and rng.random() < FAILED_RESULTS:
                pause_ms = rng.randint(4_000, 25_000)
                if i and turn.request.timestamp_ms - turns[i - 1].request.timestamp_ms <= pause_ms:
                    continue
                failed = _failed_result(turn, f"result-{len(kinds)}", pause_ms, rng)
                kinds[failed.request.interaction_id] = Kind.RESULT
                made.append(failed)
        out[user] = sorted([*turns, *made], key=lambda turn: turn.request.timestamp_ms)
    return Made(out, kinds)


def _failed_result(turn: Interaction, name: str, pause_ms: int, rng: random.Random) -> Interaction:
    request = replace(turn.request, interaction_id=name, timestamp_ms=turn.request.timestamp_ms - pause_ms)
    rejected = Explicit.NO if rng.random() < 0.3 else None
    return replace(turn, request=request, feedback=Feedback(rejected is None, rejected, pause_ms / 2000))


@dataclass(frozen=True)
class _Talk:
    """`prose`: running words. `words`: of requests, as often as they are said. `sure`: the recogniser's confidences,
    low ones. `served`: turns whose interpretations come by accident."""

    prose: Sequence[str]
    words: Sequence[str]
    sure: Sequence[float]
    served: Sequence[Interaction]
    rng: random.Random

    @classmethod
    def of(cls, turns: Iterable[Interaction], rng: random.Random) -> _Talk:
        turns = list(turns)
        silent = sorted(
            t.request.asr_confidence
            for t in turns
            if t.interpretation is None and t.request.asr_confidence is not None
        )
        return cls(
            _prose(),
            [word for t in turns if t.interpretation is not None for word in normalise(t.request.query).split()],
            silent[: max(1, len(silent) // 2)] or [0.2],
            [t for t in turns if t.interpretation is not None],
            rng,
        )

    def turn(self, host: Interaction, name: str) -> tuple[Kind, Interaction]:
        """Overheard by the device of `host`, within half an hour of it."""
        rng = self.rng
        prose = rng.random() < 0.5
        n = rng.randint(2, 9)
        if prose:
            start = rng.randrange(len(self.prose) - n)
            words = list(self.prose[start : start + n])
        else:
            words = [rng.choice(self.words) for _ in range(n)]
        vocabulary = self.prose if prose else self.words
        others = tuple(
            " ".join(rng.choice(vocabulary) if rng.random() < _OTHER_WORD else word for word in words)
            for _ in range(rng.randint(*_ALTERNATIVES))
        )
        request = Request(
            interaction_id=name,
            user_id=host.request.user_id,
            timestamp_ms=host.request.timestamp_ms + rng.randint(-_HALF_HOUR_MS, _HALF_HOUR_MS),
            query=" ".join(words),
            channel=Channel.VOICE,
            alternatives=others,
            asr_confidence=rng.choice(self.sure),
            context=host.request.context,
        )
        if rng.random() >= _ANSWERED_BY_ACCIDENT:
            return (Kind.PROSE if prose else Kind.SALAD), Interaction(request, None, Outcome.NO_MATCH)
        reading = rng.choice(self.served).interpretation
        feedback = Feedback(barge_in=True, dwell_s=rng.uniform(0.5, 6.0))
        kind = Kind.ANSWERED_PROSE if prose else Kind.ANSWERED_SALAD
        return kind, Interaction(request, reading, Outcome.OK, feedback)


def _prose() -> list[str]:
    """The words of lines that are plain English, as they follow each other."""
    lines = (line.strip() for topic in sorted(topics) for line in topics[topic].splitlines())
    return [word for line in lines if re.fullmatch(r"[A-Za-z][a-z' ,.;-]+", line) for word in normalise(line).split()]
