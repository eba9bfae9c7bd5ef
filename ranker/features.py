"""The feature vector of every candidate of a request: one batched function, used online, in training and in replay.

Query features say how likely the query is to fail as it stands; they are the same in every row of a request. Candidate
features say how near a candidate is, how well it has worked, and how it fits the situation. NaN: not known (LightGBM
learns where to send it). `ranker.feature_names` says what each one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np
from rapidfuzz import fuzz

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
from retriever.completion import Completion
from retriever.composition import Composition
from retriever.evidence import DAY_MS, HOUR_MS, success_rate
from retriever.global_layer import GlobalText
from retriever.normalise import normalise
from retriever.pronunciation import pronounce
from retriever.sound import sound_classes, word_key

_FIRST_CANDIDATE = len(QUERY_FEATURES)
_SHARPNESS = 0.5


def features(x: FeatureInput, of_query: np.ndarray | None = None) -> np.ndarray:
    """float32 (candidates, features), columns as in `NAMES`. `of_query`: its `query_features`, where they are known."""
    out = np.empty((len(x.candidates), len(NAMES)), dtype=np.float32)
    out[:, :_FIRST_CANDIDATE] = query_features(x) if of_query is None else of_query
    rows = _candidate_features(x, heard_besides(x))
    width = len(NAMES) - _FIRST_CANDIDATE
    flat = np.fromiter(chain.from_iterable(rows), np.float32, len(rows) * width)
    out[:, _FIRST_CANDIDATE:] = flat.reshape(len(rows), width)
    _leads(out)
    return out


def _candidate_features(x: FeatureInput, alternatives: list[str]) -> list[tuple[float, ...]]:
    """A row for each candidate: each kind of feature for all candidates, side by side."""
    texts = [c.text for c in x.candidates]
    values = [slot_values(c) for c in x.candidates]
    sounds = [sound_classes(text) for text in texts]
    kinds = zip(
        x.candidates,
        _likenesses(x.query, texts, sounds),
        _to_alternatives(texts, sounds, alternatives),
        _repairs(x, texts),
        _meanings(x),
        _hearing(x, texts, values),
        _rarest_pairs(x, texts),
        _values(x, values),
        _in_situation(x, values),
        strict=True,
    )
    query_reading, several = x.candidates[0].reading, len(texts)
    words_of_query = x.query.split()
    distinct = set(words_of_query)
    return [
        (
            c.is_query,
            c.personal is not None and c.personal.people > 0,
            c.shared is not None,
            c.completion is not None,
            *likenesses,
            c.meaning or NAN,
            c.sound or NAN,
            *to_alternatives,
            *_words(words_of_query, distinct, c.text.split()),
            *_own(x, c),
            *_shared(c.shared),
            *repairs,
            c.global_repair,
            *_chain(c),
            *meaning,
            *hearing,
            c.agreement,
            situation[0],
            rarest_pair,
            query_reading is not None and c.reading == query_reading,
            c.reading is not None,
            *of_values,
            *situation[1:],
            *_completed(c.completion),
            _made_from(c),
            *_composed(c.composition),
            *_LEADS_TO_COME,
            several,
        )
        for c, likenesses, to_alternatives, repairs, meaning, hearing, rarest_pair, of_values, situation in kinds
    ]


def _likenesses(query: str, texts: Sequence[str], sounds: Sequence[str]) -> list[tuple[float, ...]]:
    """Of each candidate: edit likeness to the query as a whole, by words, of the shorter to its best place in the
    longer, by phonetic classes."""
    scorers = (fuzz.ratio, fuzz.token_set_ratio, fuzz.partial_ratio)
    columns = [_of_hundred(query, texts, scorer) for scorer in scorers]
    return list(zip(*columns, _of_hundred(sound_classes(query), sounds, fuzz.ratio), strict=True))


def _of_hundred(one: str, others: Sequence[str], scorer: Callable[..., float]) -> list[float]:
    """Likeness of one text to each of the others, 0 to 1."""
    return [scorer(one, other) / 100 for other in others]


def _to_alternatives(
    texts: Sequence[str], sounds: Sequence[str], alternatives: Sequence[str]
) -> Iterator[tuple[float, float, bool]]:
    """Of each candidate: best likeness to the recogniser's further hypotheses, by letters and by phonetic classes, and
    whether it is one of them."""
    if not alternatives:
        return repeat((NAN, NAN, False), len(texts))
    nearest = [_greatest(texts, alternatives), _greatest(sounds, [sound_classes(a) for a in alternatives])]
    by_letters, by_sound = (np.array(nearest, np.float32) / 100).tolist()
    return zip(by_letters, by_sound, [text in alternatives for text in texts], strict=True)


def _greatest(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Of each text, the edit likeness to the nearest of the others, 0 to 100."""
    return [max([fuzz.ratio(text, other) for other in others]) for text in texts]


def _words(of_query: list[str], distinct: set[str], words: list[str]) -> tuple[float, ...]:
    """How the words differ. `of_query`: the query's words, each once in `distinct`."""
    new = [w for w in words if w not in distinct]
    lost = [w for w in of_query if w not in words]
    count = len(distinct)
    return (
        len(words) - count,
        1 - len(lost) / max(1, count),
        len(new) / max(1, len(words)),
        words[:1] == of_query[:1],
        fuzz.ratio("".join(map(word_key, lost)), "".join(map(word_key, new))) / 100 if lost and new else NAN,
        max(sum(map(len, lost)), sum(map(len, new))),
    )


def _shared(text: GlobalText | None) -> tuple[float, ...]:
    """Everybody's record with a candidate."""
    if text is None:
        return (0.0, NAN, 0.0)
    return log1p(text.successes), success_rate(text.successes, text.attempts), log1p(text.people)


def _repairs(x: FeatureInput, texts: Sequence[str]) -> Iterator[tuple[float, float, float]]:
    """Of each candidate: how often it repaired just this query, for how many people, its share of these repairs."""
    if x.shared is None:
        return repeat((0.0, 0.0, NAN), len(texts))
    repairs = x.shared.repaired(x.query, texts)
    total = float(repairs[:, 0].sum())
    if not total:
        return repeat((0.0, 0.0, NAN), len(texts))
    return ((log1p(times), log1p(people), times / total) for times, people in repairs.tolist())


def _chain(c: Candidate) -> tuple[float, float, float]:
    """What the chains tell of a candidate as the query's rewrite."""
    known = c.known
    return (NAN, NAN, 0.0) if known is None else (known.goes, known.goes - known.stays, log1p(known.people))


def _meanings(x: FeatureInput) -> Iterator[tuple[float, float]]:
    """For each candidate, log1p of how often its meaning served anybody, and in how many texts."""
    if x.shared is None:
        return repeat((NAN, NAN), len(x.candidates))
    counts = x.shared.log_reading_counts
    return ((NAN, NAN) if c.reading is None else counts(c.reading) for c in x.candidates)


def _hearing(x: FeatureInput, texts: Sequence[str], values: Sequence[list[str] | None]) -> Iterator[tuple[float, ...]]:
    """For each candidate, the cost of hearing the query for all of it, and for the values in its words alone, wherever
    they stand, in nats a phoneme; the former in nats; and its share of all candidates' probabilities by it."""
    heard = pronounce(x.query)
    whole = [pronounce(text) for text in texts]
    said = [[pronounce(v) for v in vs or () if f" {v} " in f" {text} "] for text, vs in zip(texts, values, strict=True)]
    places = list({s: None for ss in said for s in ss})
    costs, parts = x.hearing.compare(heard, whole, places)
    cost_of = dict(zip(places, parts.tolist(), strict=True))
    likely = np.exp(-_SHARPNESS * costs)
    likely[0] = 0.0  # the query itself costs nothing, and is no rival
    share = likely / max(float(likely.sum()), 1e-12)
    for cost, portion, sounds, ss in zip(costs.tolist(), share.tolist(), whole, said, strict=True):
        total = sum([cost_of[s] for s in ss])
        length = sum(map(len, ss))
        yield cost / max(1, len(heard), len(sounds)), total / length if length else NAN, cost, portion


def _rarest_pairs(x: FeatureInput, texts: Sequence[str]) -> Iterable[float]:
    """For each candidate, log1p of how often its rarest pair of words stood in a request that worked; NaN unknown."""
    return repeat(NAN, len(texts)) if x.shared is None else x.shared.rarest_word_pairs(texts)


def _values(x: FeatureInput, values: Sequence[list[str] | None]) -> Iterator[tuple[float, ...]]:
    """Of each candidate: number of slot values; share that this user has named; log1p count of the rarest; mean
    likeness to the query, by letters and by phonetic classes; share that the query's reading has, and the last answered
    turn's. `values`: as `slot_values` gives them. What is asked of a value is asked once."""
    distinct = list(dict.fromkeys(v for vs in values if vs for v in vs))
    own = x.personal.slot_values if x.personal is not None else None
    counts = x.shared.slot_value_counts(distinct) if x.shared is not None else [NAN] * len(distinct)
    of_query = values[0] or () if x.candidates[0].reading is not None else None
    answered = {normalise(v) for _, v in x.situation.answered.slots} if x.situation.answered else ()
    sound = sound_classes(x.query)
    of = {
        v: (
            NAN if own is None else v in own,
            count,
            fuzz.partial_ratio(v, x.query),
            fuzz.partial_ratio(sound_classes(v), sound),
            NAN if of_query is None else v in of_query,
            v in answered,
        )
        for v, count in zip(distinct, counts, strict=True)
    }
    for vs in values:
        if not vs:
            yield _NO_VALUES
            continue
        n = len(vs)
        named, count, likeness, alike, asked, again = zip(*[of[v] for v in vs], strict=True)
        yield (
            n, sum(named) / n, log1p(min(count)), sum(likeness) / n / 100, sum(alike) / n / 100, sum(asked) / n,
            sum(again) / n,
        )  # fmt: skip


_NO_VALUES = (0, NAN, NAN, NAN, NAN, NAN, NAN)


def _in_situation(x: FeatureInput, values: Sequence[list[str] | None]) -> Iterator[tuple[float, ...]]:
    """Of each candidate: the situation's names among its values, and those that its text alone holds; whether it is the
    turn before, one without an answer, the last answered one, one of that meaning."""
    ambient, s = situation_names(x.request), x.situation
    padded = f" {x.query} "
    unsaid = [name for name in ambient if name not in padded]
    answered = s.answered
    for c, vs in zip(x.candidates, values, strict=True):
        held = f" {c.text} "
        yield (
            in_situation(vs, ambient),
            sum([name in held for name in unsaid]),
            c.text == s.previous,
            c.text in s.failed_texts,
            c.text == s.answered_text,
            answered is not None and c.reading == answered,
        )


def _completed(made: Completion | None) -> tuple[float, ...]:
    """What is known of the rule that made it."""
    return (0.0, NAN, NAN) if made is None else (log1p(made.support), made.precision, made.steps_back)


def _made_from(c: Candidate) -> float:
    made = c.completion or c.composition
    return NAN if made is None else made.heard_rank


def _composed(made: Composition | None) -> tuple[float, ...]:
    """What is known of the name put into a frame."""
    if made is None:
        return _NOT_COMPOSED
    likeness = fuzz.ratio(made.rest, made.fragment.text) / 100
    return True, made.cost, made.posterior, likeness, log1p(made.fragment.people), made.own, log1p(made.repaired)


_NOT_COMPOSED = (False, NAN, NAN, NAN, 0.0, False, 0.0)


def _share_at_this_hour(now_ms: int, times_ms: Sequence[int]) -> float:
    """Share of the times within two hours of this time of day; NaN without any."""
    if not times_ms:
        return NAN
    ahead = now_ms + DAY_MS // 2
    near = sum([abs((ahead - t) % DAY_MS - DAY_MS // 2) <= 2 * HOUR_MS for t in times_ms])
    return near / len(times_ms)


def _own(x: FeatureInput, c: Candidate) -> tuple[float, ...]:
    """This user's own record with a candidate; NaN throughout where the personal layer is off."""
    if x.personal is None:
        return (NAN,) * 11
    now, all_successes = x.request.timestamp_ms, x.personal.successes or 1.0
    e, habit = c.personal, habit_of(x, c)
    if e is None and habit is None:
        return (*_NEVER_SAID, log1p(x.personal.repaired(x.query, c.text)), c.personal_repair)
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


_NEVER_SAID = (0.0, NAN, NAN, 0.0, NAN, 0.0, NAN, 0.0, NAN)

_LEADS = (
    ("likeness_lead", "likeness"),
    ("sound_lead", "likeness_sound"),
    ("meaning_lead", "cosine_meaning"),
    ("success_lead", "own_successes_of"),
    ("heard_lead", "heard_cost"),
    ("heard_values_lead", "heard_values_cost"),
)
_LEADS_TO_COME = (0.0,) * len(_LEADS)
_COSTS = {"heard_cost": 5.0, "heard_values_cost": 5.0}
"""Features of which less is better, and what counts as much where it is not known."""
_LEAD_COLUMNS = np.array([NAMES.index(lead) for lead, _ in _LEADS])
_LED_COLUMNS = np.array([NAMES.index(of) for _, of in _LEADS])
_UNKNOWN = [_COSTS.get(of, 0.0) for _, of in _LEADS]
_SIGN = [-1.0 if of in _COSTS else 1.0 for _, of in _LEADS]


def _leads(out: np.ndarray) -> None:
    """How far each rewrite is ahead of the best other one; the query itself stands outside the contest (NaN)."""
    out[0, _LEAD_COLUMNS] = NAN
    if len(out) == 1:
        return
    # In lists, since there are few numbers: of two of float32, a difference in float64 rounds to the same float32.
    columns = zip(out[1:, _LED_COLUMNS].T.tolist(), _UNKNOWN, _SIGN, strict=True)
    leads = [_lead([sign * (unknown if v != v else v) for v in column]) for column, unknown, sign in columns]
    out[1:, _LEAD_COLUMNS] = np.array(leads, np.float32).T


def _lead(values: list[float]) -> list[float]:
    """Of each, how far it is ahead of the greatest other."""
    if len(values) == 1:
        return values
    second, best = sorted(values)[-2:]
    return [v - (second if v == best else best) for v in values]
