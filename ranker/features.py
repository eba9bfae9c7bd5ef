"""The feature vector of every candidate of a request: one batched function, used online, in training and in replay.

Query features say how likely the query is to fail as it stands; they are the same in every row of a request. Candidate
features say how near a candidate is, how well it has worked, and how it fits the situation. NaN: not known (LightGBM
learns where to send it). `ranker.feature_names` says what each one is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

from ranker.feature_names import NAMES, QUERY_FEATURES
from ranker.situation import Situation
from retriever.candidates import Candidate
from retriever.completion import gap_values
from retriever.evidence import DAY_MS, HOUR_MS, success_rate
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Channel, Interpretation, Request
from retriever.normalise import normalise, word_pairs
from retriever.personal_layer import Habit, PersonalLayer
from retriever.pronunciation import pronounce
from retriever.sound import sound_classes, sound_key

NAN = float("nan")

_COLUMN = {name: i for i, name in enumerate(NAMES)}
_FIRST_CANDIDATE = len(QUERY_FEATURES)
_SHARPNESS = 0.5
_COSTS = {"heard_cost": 5.0, "heard_values_cost": 5.0}
"""Features of which less is better, and what counts as much."""


@dataclass(frozen=True, slots=True)
class NameInFrame:
    """What stands in the query's frame, if one fits: `frames`: how many kinds of name it may be; `people`, `times`: who
    named just that, and how often, with success, as the kind for which most is known; `own_times`: how often this user
    did; `own_vain`: how often this user said it, in whatever words, and was not served (expected)."""

    frames: int
    people: float
    times: float
    own_times: float = 0.0
    own_vain: float = 0.0


@dataclass(frozen=True, slots=True)
class FeatureInput:
    """All that a request's features are computed from. `query`: normal form, not empty. `candidates[0]` is the query
    itself. A layer turned off is None, and leaves no trace in any feature. `hearing`: part of the trained model."""

    request: Request
    query: str
    candidates: Sequence[Candidate]
    situation: Situation
    personal: PersonalLayer | None
    shared: GlobalLayer | None
    hearing: Hearing
    name: NameInFrame | None = None


def features(x: FeatureInput) -> np.ndarray:
    """float32 (candidates, features), columns as in `NAMES`."""
    out = np.empty((len(x.candidates), len(NAMES)), dtype=np.float32)
    alternatives = [a for a in map(normalise, x.request.alternatives) if a]
    out[:, :_FIRST_CANDIDATE] = _query_features(x, alternatives)
    out[:, _FIRST_CANDIDATE:] = _candidate_features(x, alternatives)
    _leads(out)
    return out


def _log1p(x: float) -> float:
    return math.log1p(0.0 if x < 0 else x)  # NaN stays NaN


def _hours(now_ms: int, then_ms: int) -> float:
    return max(0.0, (now_ms - then_ms) / HOUR_MS) if then_ms else NAN


def _query_features(x: FeatureInput, alternatives: list[str]) -> list[float]:
    query, request, s = x.query, x.request, x.situation
    words = query.split()
    shared: list[float] = [NAN] * 7
    alternative_known = NAN
    if x.shared is not None:
        records = x.shared.records_of([query, *alternatives])
        attempts, successes, people = records[0].tolist()
        pair_counts = np.log1p(x.shared.word_pair_counts(word_pairs(query)))
        word_counts = x.shared.word_counts(words)
        shared = [
            _log1p(attempts),
            success_rate(successes, attempts),
            _log1p(people),
            float(pair_counts.min()),
            float(pair_counts.mean()),
            float((pair_counts == 0).mean()),
            float((word_counts == 0).mean()),
        ]
        if alternatives:
            alternative_known = _log1p(float(records[1:, 1].max()))
    own: list[float] = [NAN] * 5
    alternative_own = NAN
    if x.personal is not None:
        known = x.personal.texts.get(query)
        own = [
            _log1p(known.attempts if known else 0),
            success_rate(known.successes, known.attempts) if known else 0.5,
            _hours(request.timestamp_ms, known.last_success_ms) if known else NAN,
            _log1p(sum(r.times for (source, _), r in x.personal.repairs.items() if source == query)),
            _log1p(x.personal.successes),
        ]
        if alternatives:
            found = (x.personal.texts.get(a) for a in alternatives)
            alternative_own = max(_log1p(e.successes) if e else 0.0 for e in found)
    name: tuple[float, ...] = (0, NAN, NAN, NAN, NAN)
    if x.name is not None:
        mine = (x.name.own_times, x.name.own_vain) if x.personal is not None else (NAN, NAN)
        name = (x.name.frames, *map(_log1p, (x.name.people, x.name.times)), *map(_log1p, mine))
    habit = _habit(x, x.candidates[0])
    ambient = gap_values(request.context, None).values()
    likeness = [fuzz.ratio(query, a) for a in alternatives]
    return [
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
        NAN if x.personal is None else _log1p(habit.successes if habit else 0.0),
        *own[:4],
        x.candidates[0].agreement,
        _in_situation(x.candidates[0].reading, ambient),
        own[4],
        s.previous_gap_s,
        float(s.previous_failed),
        float(s.previous_rejected),
        fuzz.ratio(query, s.previous) / 100 if s.previous else NAN,
        s.streak,
        s.answered_gap_s,
        fuzz.ratio(query, s.answered_text) / 100 if s.answered_text else NAN,
    ]


def _candidate_features(x: FeatureInput, alternatives: list[str]) -> np.ndarray:
    texts = [c.text for c in x.candidates]
    if x.shared is not None:
        repairs = x.shared.repaired(x.query, texts)
        repair_total = float(repairs[:, 0].sum())
    else:
        repairs, repair_total = np.zeros((len(texts), 2), np.float32), 0.0
    values = [[normalise(v) for _, v in c.reading.slots] if c.reading is not None else [] for c in x.candidates]
    flat = [v for vs in values for v in vs]
    value_counts = iter(x.shared.slot_value_counts(flat).tolist() if x.shared is not None else [NAN] * len(flat))
    answered = {normalise(v) for _, v in x.situation.answered.slots} if x.situation.answered else set()
    heard = set(values[0])
    meanings = _meanings(x)
    rarest = _rarest_pairs(x, texts)
    ambient = list(gap_values(x.request.context, None).values())
    query_words, query_sound = set(x.query.split()), sound_classes(x.query)
    sounds = [sound_classes(text) for text in texts]
    hearing = _hearing(x, texts, values)
    nearest = zip(
        _best_likeness(texts, alternatives),
        _best_likeness(sounds, [sound_classes(a) for a in alternatives]),
        strict=True,
    )
    query_reading = x.candidates[0].reading
    rows = []
    per_candidate = zip(x.candidates, sounds, values, repairs.tolist(), nearest, strict=True)
    for c, sound, vs, (repaired, repair_people), (near_alternative, near_alternative_sound) in per_candidate:
        counts = [next(value_counts) for _ in vs]
        words = c.text.split()
        new = [w for w in words if w not in query_words]
        lost = [w for w in x.query.split() if w not in words]
        personal, shared, made = c.personal, c.shared, c.composition
        rows.append(
            (
                c.is_query,
                personal is not None and personal.people > 0,
                shared is not None,
                c.completion is not None,
                fuzz.ratio(x.query, c.text) / 100,
                fuzz.token_set_ratio(x.query, c.text) / 100,
                fuzz.partial_ratio(x.query, c.text) / 100,
                fuzz.ratio(query_sound, sound) / 100,
                c.meaning or NAN,
                c.sound or NAN,
                near_alternative,
                near_alternative_sound,
                c.text in alternatives,
                len(words) - len(query_words),
                1 - len(lost) / max(1, len(query_words)),
                len(new) / max(1, len(words)),
                words[:1] == x.query.split(maxsplit=1)[:1],
                fuzz.ratio(sound_key(" ".join(lost)), sound_key(" ".join(new))) / 100 if lost and new else NAN,
                max(sum(map(len, lost)), sum(map(len, new))),
                *_own(x, c),
                _log1p(shared.successes) if shared else 0.0,
                success_rate(shared.successes, shared.attempts) if shared else NAN,
                _log1p(shared.people) if shared else 0.0,
                _log1p(repaired),
                _log1p(repair_people),
                repaired / repair_total if repair_total else NAN,
                c.global_repair,
                *next(meanings),
                *next(hearing),
                c.agreement,
                _in_situation(c.reading, ambient),
                next(rarest),
                query_reading is not None and c.reading == query_reading,
                c.reading is not None,
                len(vs),
                sum(v in x.personal.slot_values for v in vs) / len(vs) if vs and x.personal is not None else NAN,
                _log1p(min(counts)) if counts and x.shared is not None else NAN,
                sum(fuzz.partial_ratio(v, x.query) for v in vs) / len(vs) / 100 if vs else NAN,
                sum(fuzz.partial_ratio(sound_classes(v), query_sound) for v in vs) / len(vs) / 100 if vs else NAN,
                sum(v in heard for v in vs) / len(vs) if vs and query_reading is not None else NAN,
                sum(v in answered for v in vs) / len(vs) if vs else NAN,
                sum(f" {a} " in f" {c.text} " and f" {a} " not in f" {x.query} " for a in ambient),
                c.text == x.situation.previous,
                c.text in x.situation.failed_texts,
                c.text == x.situation.answered_text,
                x.situation.answered is not None and c.reading == x.situation.answered,
                _log1p(c.completion.support) if c.completion else 0.0,
                c.completion.precision if c.completion else NAN,
                c.completion.steps_back if c.completion else NAN,
                c.completion.heard_rank if c.completion else made.heard_rank if made else NAN,
                made is not None,
                made.cost if made else NAN,
                made.posterior if made else NAN,
                fuzz.ratio(made.rest, made.fragment.text) / 100 if made else NAN,
                _log1p(made.fragment.people) if made else 0.0,
                made is not None and made.own,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,  # filled by _leads, which needs all rows
                len(texts),
            )
        )
    return np.array(rows, dtype=np.float32)


def _best_likeness(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Of each text, the edit likeness to the nearest of the others; NaN without any."""
    if not others:
        return [NAN] * len(texts)
    return (process.cdist(texts, others, scorer=fuzz.ratio, dtype=np.float32).max(axis=1) / 100).tolist()


def _meanings(x: FeatureInput) -> Iterator[tuple[float, float]]:
    """For each candidate, log1p of how often its meaning served anybody, and in how many texts."""
    known = [c.reading for c in x.candidates if c.reading is not None]
    counts = iter(np.log1p(x.shared.reading_counts(known)).tolist() if x.shared is not None else [])
    for c in x.candidates:
        if x.shared is None or c.reading is None:
            yield (NAN, NAN)
        else:
            yield tuple(next(counts))


def _in_situation(reading: Interpretation | None, ambient: Iterable[str]) -> float:
    """How many of the situation's names (room, place, device that is on) the reading's values hold; NaN unknown."""
    if reading is None:
        return NAN
    values = [f" {normalise(v)} " for _, v in reading.slots]
    return float(sum(any(f" {a} " in v for v in values) for a in ambient))


def _hearing(x: FeatureInput, texts: Sequence[str], values: Sequence[Sequence[str]]) -> Iterator[tuple[float, ...]]:
    """For each candidate, the cost of hearing the query for all of it, and for the values in its words alone, wherever
    they stand, in nats a phoneme; the former in nats; and its share of all candidates' probabilities by it."""
    heard = pronounce(x.query)
    whole = [pronounce(text) for text in texts]
    said = [[pronounce(v) for v in vs if f" {v} " in f" {text} "] for text, vs in zip(texts, values, strict=True)]
    costs, parts = x.hearing.compare(heard, whole, [s for ss in said for s in ss])
    part = iter(parts.tolist())
    likely = np.exp(-_SHARPNESS * costs)
    likely[0] = 0.0  # the query itself costs nothing, and is no rival
    share = likely / max(float(likely.sum()), 1e-12)
    for cost, portion, sounds, ss in zip(costs.tolist(), share.tolist(), whole, said, strict=True):
        total = sum(next(part) for _ in ss)
        length = sum(map(len, ss))
        yield cost / max(1, len(heard), len(sounds)), total / length if length else NAN, cost, portion


def _rarest_pairs(x: FeatureInput, texts: Sequence[str]) -> Iterator[float]:
    """For each candidate, log1p of how often its rarest pair of words stood in a request that worked; NaN unknown."""
    pairs = [word_pairs(text) for text in texts]
    if x.shared is None:
        yield from [NAN] * len(texts)
        return
    counts = np.log1p(x.shared.word_pair_counts([pair for ps in pairs for pair in ps])).tolist()
    at = 0
    for ps in pairs:
        yield min(counts[at : at + len(ps)])
        at += len(ps)


def _habit(x: FeatureInput, c: Candidate) -> Habit | None:
    return x.personal.readings.get(c.reading) if x.personal is not None and c.reading is not None else None


def _share_at_this_hour(now_ms: int, times_ms: Sequence[int]) -> float:
    """Share of the times within two hours of this time of day; NaN without any."""
    if not times_ms:
        return NAN
    near = sum(abs((now_ms - t + DAY_MS // 2) % DAY_MS - DAY_MS // 2) <= 2 * HOUR_MS for t in times_ms)
    return near / len(times_ms)


def _own(x: FeatureInput, c: Candidate) -> tuple[float, ...]:
    """This user's own record with a candidate; NaN throughout where the personal layer is off."""
    if x.personal is None:
        return (NAN,) * 11
    now, all_successes = x.request.timestamp_ms, x.personal.successes or 1.0
    e, habit = c.personal, _habit(x, c)
    text: tuple[float, ...] = (0.0, NAN, NAN, 0.0, NAN)
    if e is not None:
        text = (
            _log1p(e.successes),
            success_rate(e.successes, e.attempts),
            _hours(now, e.last_success_ms),
            e.successes / all_successes,
            _share_at_this_hour(now, e.success_ms),
        )
    meaning: tuple[float, ...] = (0.0, NAN, 0.0, NAN)
    if habit is not None:
        meaning = (
            _log1p(habit.successes),
            _hours(now, max(habit.times_ms, default=0)),
            habit.successes / all_successes,
            _share_at_this_hour(now, habit.times_ms),
        )
    return (*text, *meaning, _log1p(x.personal.repaired(x.query, c.text)), c.personal_repair)


def _leads(out: np.ndarray) -> None:
    """How far each rewrite is ahead of the best other one; the query itself stands outside the contest (NaN)."""
    for lead, of in (
        ("likeness_lead", "likeness"),
        ("sound_lead", "likeness_sound"),
        ("meaning_lead", "cosine_meaning"),
        ("success_lead", "own_successes_of"),
        ("heard_lead", "heard_cost"),
        ("heard_values_lead", "heard_values_cost"),
    ):
        column = np.nan_to_num(out[1:, _COLUMN[of]], nan=0.0)
        if of in _COSTS:
            column = -np.nan_to_num(out[1:, _COLUMN[of]], nan=_COSTS[of])
        out[0, _COLUMN[lead]] = NAN
        if len(column) == 1:
            out[1, _COLUMN[lead]] = column[0]
        elif len(column) > 1:
            second, best = np.partition(column, -2)[-2:]
            out[1:, _COLUMN[lead]] = column - np.where(column == best, second, best)
