"""A dialogue as numbers: what a model sees of a session's turns, and of each pair of an earlier and a later turn.

A dialogue is one session of a user, or a window of it where it is long. Of who the user is it tells nothing but how
often the same words followed each other in this user's earlier sessions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rapidfuzz import fuzz

from mining.rephrases import affinity, carries_on, fills_in, says_it_again
from mining.sessions import sessions
from retriever.interaction import Channel, Explicit, Interaction, Interpretation, Outcome
from retriever.normalise import normalise
from retriever.sound import sound_key

LONGEST = 16
"""Turns of a window at most."""
_BEFORE, _ASKED = 2, 8
"""Turns of a long session that a window has before those it asks about, and how many it asks about; so that each has at
least six later ones in sight."""
REACH = 6
"""So many turns later a text still counts as following another."""
_HEARD = 4
"""How many of the recogniser's further hypotheses are compared."""

TURN_FEATURES = (
    "answered", "no_match", "error", "said_yes", "said_no", "barge_in", "dwell_s", "dwell_known", "typed",
    "asr_confidence", "confidence_known", "pause_before_s", "pause_after_s", "words", "said_before",
    "understood_before",
)  # fmt: skip
PAIR_FEATURES = (
    "affinity", "letters", "words", "sound", "heard_before", "heard_after", "says_it_again", "same_reading",
    "same_intent", "fills_in", "states_slots", "carries_on", "cosine", "gap_s", "pause_s", "same_text",
    "followed_before", "followed_share", "typed_later", "distance", "words_lost", "words_new",
)  # fmt: skip

Encode = Callable[[Sequence[str]], np.ndarray]
"""Texts in normal form to unit vectors, float32 (n, 384)."""


class Window(NamedTuple):
    """Turns `start` to `stop` of a user's; `first` to `last` are those whose rephrase is asked for."""

    start: int
    stop: int
    first: int
    last: int


def _windows(span: range) -> Iterator[Window]:
    if 2 <= len(span) <= LONGEST:
        yield Window(span.start, span.stop, span.start, span.stop)
    elif len(span) > LONGEST:
        for first in range(span.start, span.stop, _ASKED):
            start = max(span.start, first - _BEFORE)
            yield Window(start, min(span.stop, start + LONGEST), first, min(span.stop, first + _ASKED))


@dataclass(slots=True)
class Habits:
    """What one user said in earlier sessions: how many held a text, how many followed it by another within `REACH`
    turns, how many had an answer. Earlier ones alone, so that a dialogue looks the same however much comes later."""

    texts: Counter[str] = field(default_factory=Counter)
    followed: Counter[tuple[str, str]] = field(default_factory=Counter)
    readings: Counter[Interpretation] = field(default_factory=Counter)

    def add(self, session: Sequence[Interaction]) -> None:
        said = [normalise(t.request.query) for t in session]
        self.texts.update(set(said))
        self.followed.update({(a, b) for i, a in enumerate(said) for b in said[i + 1 : i + 1 + REACH]})
        self.readings.update({t.interpretation for t in session if t.interpretation is not None})


def windows(turns: Sequence[Interaction]) -> Iterator[tuple[Window, Habits]]:
    """The windows over one user's turns, in time order, each with the habits as they were before its session (good
    until the next one is asked for); none for sessions of a single turn."""
    habits = Habits()
    for span in sessions(turns):
        for window in _windows(span):
            yield window, habits
        habits.add(turns[span.start : span.stop])


@dataclass(frozen=True, slots=True)
class Dialogue:
    """`texts`: in normal form. `turns`: float32 (turns, TURN_FEATURES). `pairs`: float32 (turns, turns, PAIR_FEATURES),
    of the earlier turn (row) and the later one (column), 0 elsewhere; the cosine is put in once vectors are known."""

    texts: tuple[str, ...]
    turns: np.ndarray
    pairs: np.ndarray


def dialogue(turns: Sequence[Interaction], habits: Habits) -> Dialogue:
    """One window's turns as numbers. `habits`: of the same user, before it."""
    n = len(turns)
    texts = tuple(normalise(t.request.query) for t in turns)
    x = np.zeros((n, len(TURN_FEATURES)), np.float32)
    pairs = np.zeros((n, n, len(PAIR_FEATURES)), np.float32)
    pauses = [_seconds(turns[i - 1], turns[i]) if i else 300.0 for i in range(n)] + [300.0]
    context: Interaction | None = None
    for i, turn in enumerate(turns):
        x[i] = _turn(turn, texts[i], pauses[i], pauses[i + 1], habits)
        for k in range(i + 1, n):
            pairs[i, k] = _pair(turn, turns[k], texts[i], texts[k], context, pauses[k], k - i, habits)
        if turn.interpretation is not None:
            context = turn
    return Dialogue(texts, x, pairs)


def _seconds(a: Interaction, b: Interaction) -> float:
    return max(0.0, (b.request.timestamp_ms - a.request.timestamp_ms) / 1000)


def _small(seconds: float) -> float:
    """Seconds, from 0 to some minutes, as about 0 to 1."""
    return math.log1p(min(seconds, 3600.0)) / 6


def _turn(turn: Interaction, text: str, before_s: float, after_s: float, habits: Habits) -> tuple[float, ...]:
    request, feedback = turn.request, turn.feedback
    understood = habits.readings[turn.interpretation] if turn.interpretation else 0
    return (
        turn.interpretation is not None,
        turn.outcome is Outcome.NO_MATCH,
        turn.outcome is Outcome.ERROR,
        feedback.explicit is Explicit.YES,
        feedback.explicit is Explicit.NO,
        feedback.barge_in,
        _small(feedback.dwell_s or 0.0),
        feedback.dwell_s is not None,
        request.channel is not Channel.VOICE,
        request.asr_confidence or 0.0,
        request.asr_confidence is not None,
        _small(before_s),
        _small(after_s),
        len(text.split()) / 10,
        math.log1p(habits.texts[text]) / 3,
        math.log1p(understood) / 3,
    )


def _pair(
    a: Interaction,
    b: Interaction,
    said: str,
    later: str,
    context: Interaction | None,
    pause_s: float,
    distance: int,
    habits: Habits,
) -> tuple[float, ...]:
    first, second = said.split(), later.split()
    reading, reached = a.interpretation, b.interpretation
    followed = habits.followed[said, later]
    values = [normalise(v) for _, v in reached.slots] if reached else []
    return (
        affinity(said, later),
        fuzz.ratio(said, later) / 100,
        fuzz.token_set_ratio(said, later) / 100,
        fuzz.ratio(sound_key(said), sound_key(later)) / 100,
        max((fuzz.ratio(normalise(h), later) for h in a.request.alternatives[:_HEARD]), default=0.0) / 100,
        max((fuzz.ratio(said, normalise(h)) for h in b.request.alternatives[:_HEARD]), default=0.0) / 100,
        says_it_again(said, later),
        reading is not None and reading == reached,
        reading is not None and reached is not None and reading.intent == reached.intent,
        fills_in(a, b),
        sum(f" {v} " in f" {said} " for v in values) / len(values) if values else 0.0,
        carries_on(context, b),
        0.0,  # the cosine, once vectors are known
        _small(_seconds(a, b)),
        _small(pause_s),
        said == later,
        math.log1p(followed) / 2,
        followed / (habits.texts[said] + 1),
        b.request.channel is not Channel.VOICE and a.request.channel is Channel.VOICE,
        min(distance, 8) / 4,
        sum(w not in second for w in first) / max(1, len(first)),
        sum(w not in first for w in second) / max(1, len(second)),
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Dialogues of up to so many turns, side by side. `vectors`: float32 (n, turns, 384). `turns`, `pairs`: see
    `Dialogue`, filled up with 0. `there`: float32 (n, turns), 1 where there is a turn."""

    vectors: np.ndarray
    turns: np.ndarray
    pairs: np.ndarray
    there: np.ndarray


def batch(dialogues: Sequence[Dialogue], vectors: Mapping[str, np.ndarray]) -> Batch:
    """`vectors`: of every text of the dialogues."""
    n, longest = len(dialogues), max(len(d.texts) for d in dialogues)
    width = len(next(iter(vectors.values())))
    out = Batch(
        np.zeros((n, longest, width), np.float32),
        np.zeros((n, longest, len(TURN_FEATURES)), np.float32),
        np.zeros((n, longest, longest, len(PAIR_FEATURES)), np.float32),
        np.zeros((n, longest), np.float32),
    )
    cosine = PAIR_FEATURES.index("cosine")
    for row, d in enumerate(dialogues):
        t = len(d.texts)
        own = np.stack([vectors[text] for text in d.texts])
        out.vectors[row, :t], out.turns[row, :t], out.pairs[row, :t, :t] = own, d.turns, d.pairs
        out.pairs[row, :t, :t, cosine] = np.triu(own @ own.T, 1)
        out.there[row, :t] = 1
    return out
