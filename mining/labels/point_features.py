"""A turn as numbers, for telling where it failed: what it shows by itself and after what came before it; and apart from
that what came after it, so that this can be hidden.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
from rapidfuzz import fuzz

from mining.defects import Signal
from mining.labels.point_words import WORD_FEATURES, PointWords, Said
from mining.labels.sights import Sight
from mining.labels.usual import NOTHING, Record, Usual
from mining.reactions import After, Signals
from mining.rephrases import REPHRASE_WINDOW_MS, affinity
from retriever.interaction import Explicit, Outcome
from retriever.normalise import normalise, word_pairs

ITSELF = (
    "answered", "error", "feedback", "barge_in", "dwell_s", "spoken", "confidence", "words", "failed_alone", "expected",
    "alternatives", "alternatives_alike", "alternatives_agree",
    "asked", "served", "repaired", "best_asked", "best_served", "best_repaired", "best_is_heard",
    "pairs_asked", "pairs_served", "pairs_least_asked", "pairs_least_served", "pairs_unknown", "pairs_never_served",
    "best_pairs_asked", "best_pairs_unknown", "follow_up_cost", "stated",
)  # fmt: skip
BEFORE = (
    "follow_up", "follow_up_support", "follow_up_heard", "own_asked", "own_failed", "own_repaired",
    "position", "pause_s", "before_answered", "before_rejected", "before_affinity", "before_same_intent",
)  # fmt: skip
AFTER = (
    "failed", "repaired_at", "repaired_typed", "lost", "new", "rarest_lost", "alike", "affinity", "cost", "alternative",
    "values_kept", "same_intent", "slots_kept", "fills_in", "carries_on", "repeated", "next_pause_s", "next_affinity",
    "next_failed", "next_same_reading",
)  # fmt: skip
NAMES = (*WORD_FEATURES, *ITSELF, *BEFORE, *AFTER)
_NAN = math.nan
_NO_REPAIR = (0.0, *[_NAN] * (AFTER.index("repeated") - 2))
_FEEDBACK = {None: 0.0, Explicit.YES: 1.0, Explicit.NO: -1.0}
_USUAL_ASKED, _SELDOM = 8.0, 0.1


def features(seen: Sequence[Sight], usual: Usual, words: PointWords, own: Said) -> np.ndarray:
    """float32 (turns, NAMES) of what was seen of one user's turns; NaN where there is nothing to tell. `own`: what this
    user's turns have told of words (`mining.labels.point_words.said`). What came after is told of turns that got an
    answer, and of those that were repaired; whoever goes on from no answer to something else tells nothing of it."""
    out = np.empty((len(seen), len(NAMES)), np.float32)
    out[:, : len(WORD_FEATURES)] = words.features(seen, own)
    everywhere = _own(seen, range(len(seen)))
    pairs: dict[str, tuple[float, ...]] = {}
    for i, sight in enumerate(seen):
        session = sight.session
        if i == session.start:
            here = _own(seen, session)
        out[i, len(WORD_FEATURES) :] = (
            *_itself(sight, usual, pairs),
            *_follow_up(sight),
            *_elsewhere(everywhere, here, sight.text),
            *_position(seen, i),
            *_after(seen, i),
        )
    return out


def hidden(x: np.ndarray) -> np.ndarray:
    """The same without what came after, as of turns that nobody has repaired yet."""
    out = x.copy()
    out[:, -len(AFTER) :] = np.nan
    return out


Own = Counter[tuple[str, str]]
"""Of one user's turns: by what came of it and text, how many."""


def _own(seen: Sequence[Sight], at: range) -> Own:
    out: Own = Counter()
    for i in at:
        text, e = seen[i].text, seen[i].evidence
        out["asked", text] += 1
        out["failed", text] += e.failed
        out["repaired", text] += e.goal is not None
    return out


def _elsewhere(everywhere: Own, here: Own, text: str) -> tuple[float, ...]:
    """What came of the same words in this user's other sessions."""
    counts = [everywhere[what, text] - here[what, text] for what in ("asked", "failed", "repaired")]
    asked = counts[0]
    return (math.log1p(asked), *((n / asked if asked else _NAN) for n in counts[1:]))


def _shares(record: Record) -> tuple[float, float, float]:
    if record.asked <= 0:
        return 0.0, _NAN, _NAN
    return math.log1p(record.asked), record.served / record.asked, record.repaired / record.asked


def _itself(sight: Sight, usual: Usual, pairs: dict[str, tuple[float, ...]]) -> tuple[float, ...]:
    """`pairs`: of texts that were looked up before."""
    turn, text, heard = sight.turn, sight.text, sight.heard
    request, feedback, reading = turn.request, turn.feedback, turn.interpretation
    answered = reading is not None and turn.outcome is Outcome.OK
    signals = Signals.of_turn(turn, After.OTHER)
    others = [(sight.others, text), *((usual.texts.get(t, NOTHING), t) for t in heard)]
    best, best_text = max(others, key=lambda known: (known[0].asked, known[1] == text))
    for t in (text, *heard):
        if t not in pairs:
            pairs[t] = _pairs(t, usual)
    by_pairs = [pairs[t] for t in (text, *heard)]
    values = [normalise(value) for _, value in reading.slots] if reading else []
    return (
        float(reading is not None),
        float(turn.outcome is Outcome.ERROR),
        _FEEDBACK[feedback.explicit],
        float(feedback.barge_in),
        _NAN if feedback.dwell_s is None else feedback.dwell_s,
        float(sight.spoken),
        _NAN if request.asr_confidence is None else request.asr_confidence,
        float(len(text.split())),
        usual.reactions.failed(signals) if answered else 1.0,
        usual.reactions.expects(signals.intent, signals.sureness) if answered else 1.0,
        float(len(heard)),
        fmean(fuzz.ratio(text, t) for t in heard) / 100 if heard else _NAN,
        fmean(fuzz.ratio(a, b) for a, b in pairwise(heard)) / 100 if len(heard) > 1 else _NAN,
        *_shares(sight.others),
        *_shares(best),
        float(best_text == text),
        *by_pairs[0],
        max(p[0] for p in by_pairs),
        min(p[4] for p in by_pairs),
        sight.follow_up_cost,
        fmean(f" {value} " in f" {text} " for value in values) if values else _NAN,
    )


def _pairs(text: str, usual: Usual) -> tuple[float, ...]:
    """How usual the pairs of neighbouring words are: mean logarithm of how often they were asked and of how often they
    served; the least of both; the share that is unknown; the share of the usual ones that next to never served."""
    known = [usual.pairs.get(pair, NOTHING) for pair in word_pairs(text)]
    asked, served = [math.log1p(r.asked) for r in known], [math.log1p(r.served) for r in known]
    usually = [r for r in known if r.asked >= _USUAL_ASKED]
    return (
        fmean(asked),
        fmean(served),
        min(asked),
        min(served),
        sum(not r.asked for r in known) / len(known),
        sum(r.served < _SELDOM * r.asked for r in usually) / len(usually) if usually else 0.0,
    )


def _follow_up(sight: Sight) -> tuple[float, float, float]:
    made = sight.follow_up
    if made is None:
        return 0.0, 0.0, float(sight.follow_up_heard)
    return made.precision, math.log1p(made.support), 0.0


def _position(seen: Sequence[Sight], i: int) -> tuple[float, ...]:
    here, start = seen[i], seen[i].session.start
    if i == start:
        return 0.0, _NAN, _NAN, _NAN, _NAN, _NAN
    before = seen[i - 1]
    was, now = before.turn.interpretation, here.turn.interpretation
    return (
        float(i - start),
        _seconds(before, here),
        float(was is not None),
        float(before.turn.feedback.explicit is Explicit.NO or before.turn.feedback.barge_in),
        affinity(before.text, here.text),
        float(was is not None and now is not None and was.intent == now.intent),
    )


def _seconds(before: Sight, after: Sight) -> float:
    return (after.turn.request.timestamp_ms - before.turn.request.timestamp_ms) / 1000


def _after(seen: Sequence[Sight], i: int) -> tuple[float, ...]:
    here, by = seen[i], seen[i].repaired
    reading, e = here.turn.interpretation, here.evidence
    if reading is None and by is None:
        return (_NAN,) * len(AFTER)
    repair = _NO_REPAIR
    if by is not None and e.goal is not None:
        repair = (
            float(e.goal - i), float(by.typed), by.lost, by.new, by.rarest_lost, by.alike, by.affinity, by.cost,
            by.alternative, by.values_kept, float(by.same_intent), by.slots_kept, float(by.fills_in),
            float(by.carries_on),
        )  # fmt: skip
    following: tuple[float, ...] = (_NAN, 0.0, _NAN, 0.0)
    if i + 1 < here.session.stop and _seconds(here, seen[i + 1]) * 1000 <= REPHRASE_WINDOW_MS:
        later = seen[i + 1]
        following = (
            _seconds(here, later),
            affinity(here.text, later.text),
            later.evidence.defect,
            float(reading is not None and reading == later.turn.interpretation),
        )
    return (e.defect, *repair, float(Signal.REPEATED in e.signals), *following)
