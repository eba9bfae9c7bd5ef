"""The slow, obvious twin of `ranker.features`: one candidate after the other, everything asked anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rapidfuzz import fuzz, process

from ranker.feature_input import FeatureInput
from ranker.feature_names import NAMES, QUERY_FEATURES
from ranker.query_features import (
    NAN,
    habit_of,
    heard_besides,
    hours,
    in_situation,
    log1p,
    query_features,
    situation_names,
    slot_values,
)
from retriever.candidates import Candidate
from retriever.evidence import DAY_MS, HOUR_MS, success_rate
from retriever.normalise import normalise, word_pairs
from retriever.packed import key_hash
from retriever.pronunciation import pronounce
from retriever.sound import sound_classes, sound_key

_COLUMN = {name: i for i, name in enumerate(NAMES)}
_FIRST_CANDIDATE = len(QUERY_FEATURES)
_SHARPNESS = 0.5
_COSTS = {"heard_cost": 5.0, "heard_values_cost": 5.0}
"""Features of which less is better, and what counts as much."""


def features(x: FeatureInput, of_query: np.ndarray | None = None) -> np.ndarray:
    """float32 (candidates, features), columns as in `NAMES`. `of_query`: its `query_features`, where they are known."""
    out = np.empty((len(x.candidates), len(NAMES)), dtype=np.float32)
    out[:, :_FIRST_CANDIDATE] = query_features(x) if of_query is None else of_query
    out[:, _FIRST_CANDIDATE:] = _candidate_features(x, heard_besides(x))
    _leads(out)
    return out


def _candidate_features(x: FeatureInput, alternatives: list[str]) -> np.ndarray:
    texts = [c.text for c in x.candidates]
    if x.shared is not None:
        repairs = x.shared.repaired(x.query, texts)
        repair_total = float(repairs[:, 0].sum())
    else:
        repairs, repair_total = np.zeros((len(texts), 2), np.float32), 0.0
    known_values = [slot_values(c) for c in x.candidates]
    values = [vs or [] for vs in known_values]
    flat = [v for vs in values for v in vs]
    value_counts = iter(x.shared.slot_value_counts(flat) if x.shared is not None else [NAN] * len(flat))
    answered = {normalise(v) for _, v in x.situation.answered.slots} if x.situation.answered else set()
    heard = set(values[0])
    meanings = _meanings(x)
    rarest = _rarest_pairs(x, texts)
    ambient = situation_names(x.request)
    unsaid = [name for name in ambient if name not in f" {x.query} "]
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
    per_candidate = zip(x.candidates, sounds, known_values, values, repairs.tolist(), nearest, strict=True)
    for c, sound, known, vs, (repaired, repair_people), (near_alternative, near_alternative_sound) in per_candidate:
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
                log1p(shared.successes) if shared else 0.0,
                success_rate(shared.successes, shared.attempts) if shared else NAN,
                log1p(shared.people) if shared else 0.0,
                log1p(repaired),
                log1p(repair_people),
                repaired / repair_total if repair_total else NAN,
                c.global_repair,
                c.known.goes if c.known else NAN,
                c.known.goes - c.known.stays if c.known else NAN,
                log1p(c.known.people) if c.known else 0.0,
                *next(meanings),
                *next(hearing),
                c.agreement,
                in_situation(known, ambient),
                next(rarest),
                query_reading is not None and c.reading == query_reading,
                c.reading is not None,
                len(vs),
                sum(v in x.personal.slot_values for v in vs) / len(vs) if vs and x.personal is not None else NAN,
                log1p(min(counts)) if counts and x.shared is not None else NAN,
                sum(fuzz.partial_ratio(v, x.query) for v in vs) / len(vs) / 100 if vs else NAN,
                sum(fuzz.partial_ratio(sound_classes(v), query_sound) for v in vs) / len(vs) / 100 if vs else NAN,
                sum(v in heard for v in vs) / len(vs) if vs and query_reading is not None else NAN,
                sum(v in answered for v in vs) / len(vs) if vs else NAN,
                sum(name in f" {c.text} " for name in unsaid),
                c.text == x.situation.previous,
                c.text in x.situation.failed_texts,
                c.text == x.situation.answered_text,
                x.situation.answered is not None and c.reading == x.situation.answered,
                log1p(c.completion.support) if c.completion else 0.0,
                c.completion.precision if c.completion else NAN,
                c.completion.steps_back if c.completion else NAN,
                c.completion.heard_rank if c.completion else made.heard_rank if made else NAN,
                made is not None,
                made.cost if made else NAN,
                made.posterior if made else NAN,
                fuzz.ratio(made.rest, made.fragment.text) / 100 if made else NAN,
                log1p(made.fragment.people) if made else 0.0,
                made is not None and made.own,
                log1p(made.repaired) if made else 0.0,
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
    keys = [key_hash(r.intent, *(part for slot in r.slots for part in slot)) for r in known]
    counts = iter(np.log1p(x.shared._readings_of.get_many(keys)).tolist() if x.shared is not None else [])
    for c in x.candidates:
        if x.shared is None or c.reading is None:
            yield (NAN, NAN)
        else:
            yield tuple(next(counts))


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
    e, habit = c.personal, habit_of(x, c)
    text: tuple[float, ...] = (0.0, NAN, NAN, 0.0, NAN)
    if e is not None:
        text = (
            log1p(e.successes),
            success_rate(e.successes, e.attempts),
            hours(now, e.last_success_ms),
            e.successes / all_successes,
            _share_at_this_hour(now, e.success_ms),
        )
    meaning: tuple[float, ...] = (0.0, NAN, 0.0, NAN)
    if habit is not None:
        meaning = (
            log1p(habit.successes),
            hours(now, max(habit.times_ms, default=0)),
            habit.successes / all_successes,
            _share_at_this_hour(now, habit.times_ms),
        )
    return (*text, *meaning, log1p(x.personal.repaired(x.query, c.text)), c.personal_repair)


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
