"""How likely a query is to fail as it stands: the features that need no candidates, the same in every row of a request.

Nothing is searched or encoded for them, so that they also tell whether a search is worth its time (`ranker.triage`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rapidfuzz import fuzz

from ranker.feature_input import FeatureInput
from retriever.candidates import Candidate
from retriever.completion import gap_values
from retriever.evidence import HOUR_MS, success_rate
from retriever.interaction import Channel, Request
from retriever.normalise import normalise, word_pairs
from retriever.personal_layer import Habit

NAN = float("nan")


def query_features(x: FeatureInput) -> np.ndarray:
    """float32 (query features,), in the order of `feature_names.QUERY_FEATURES`. Of the candidates only the query
    itself counts, the first."""
    alternatives = heard_besides(x)
    query, request, s = x.query, x.request, x.situation
    words = query.split()
    shared: list[float] = [NAN] * 7
    alternative_known = NAN
    if x.shared is not None:
        records = x.shared.records_of([query, *alternatives])
        attempts, successes, people = records[0].tolist()
        pair_counts = x.shared.log_word_pair_counts(word_pairs(query))
        word_counts = x.shared.word_counts(words)
        shared = [
            log1p(attempts),
            success_rate(successes, attempts),
            log1p(people),
            min(pair_counts),
            float(np.array(pair_counts, np.float32).sum() / len(pair_counts)),
            pair_counts.count(0.0) / len(pair_counts),
            word_counts.count(0.0) / len(word_counts),
        ]
        if alternatives:
            alternative_known = log1p(float(records[1:, 1].max()))
    own: list[float] = [NAN] * 5
    alternative_own = NAN
    if x.personal is not None:
        known = x.personal.texts.get(query)
        own = [
            log1p(known.attempts if known else 0),
            success_rate(known.successes, known.attempts) if known else 0.5,
            hours(request.timestamp_ms, known.last_success_ms) if known else NAN,
            log1p(sum(x.personal.repairs_of(query).values())),
            log1p(x.personal.successes),
        ]
        if alternatives:
            found = (x.personal.texts.get(a) for a in alternatives)
            alternative_own = max(log1p(e.successes) if e else 0.0 for e in found)
    name: tuple[float, ...] = (0, NAN, NAN, NAN, NAN, NAN, NAN)
    if x.name is not None:
        mine = (x.name.own_times, x.name.own_vain) if x.personal is not None else (NAN, NAN)
        served = success_rate(x.name.times, max(x.name.times, x.name.tries))
        name = (x.name.frames, *map(log1p, (x.name.people, x.name.times, x.name.tries)), served, *map(log1p, mine))
    habit = habit_of(x, x.candidates[0])
    ambient = situation_names(request)
    likeness = [fuzz.ratio(query, a) for a in alternatives]
    values = [
        len(words),
        len(query),
        float(request.channel is not Channel.VOICE),
        float(request.context.has_screen),
        NAN if request.asr_confidence is None else request.asr_confidence,
        len(alternatives),
        sum(likeness) / len(likeness) / 100 if likeness else NAN,
        alternative_known,
        alternative_own,
        *shared,
        *name,
        NAN if x.personal is None else log1p(habit.successes if habit else 0.0),
        *own[:4],
        x.candidates[0].agreement,
        in_situation(slot_values(x.candidates[0]), ambient),
        own[4],
        s.previous_gap_s,
        float(s.previous_failed),
        float(s.previous_rejected),
        fuzz.ratio(query, s.previous) / 100 if s.previous else NAN,
        s.streak,
        s.answered_gap_s,
        fuzz.ratio(query, s.answered_text) / 100 if s.answered_text else NAN,
    ]
    return np.array(values, dtype=np.float32)


def heard_besides(x: FeatureInput) -> list[str]:
    """The recogniser's further hypotheses, in normal form."""
    return [a for a in map(normalise, x.request.alternatives) if a]


def log1p(x: float) -> float:
    return math.log1p(0.0 if x < 0 else x)  # NaN stays NaN


def hours(now_ms: int, then_ms: int) -> float:
    return max(0.0, (now_ms - then_ms) / HOUR_MS) if then_ms else NAN


def slot_values(c: Candidate) -> list[str] | None:
    """The values of what the candidate is expected to mean, in normal form; None where nobody knows what that is."""
    return None if c.reading is None else [normalise(value) for _, value in c.reading.slots]


def situation_names(request: Request) -> list[str]:
    """Room, place, the device that is on: in normal form, with a space on either side."""
    return [f" {name} " for name in gap_values(request.context, None).values()]


def in_situation(values: Sequence[str] | None, names: Sequence[str]) -> float:
    """How many of the situation's names the values hold; NaN where the values are not known."""
    if values is None:
        return NAN
    held = f" {' | '.join(values)} "
    return float(sum(name in held for name in names))


def habit_of(x: FeatureInput, c: Candidate) -> Habit | None:
    return x.personal.readings.get(c.reading) if x.personal is not None and c.reading is not None else None
