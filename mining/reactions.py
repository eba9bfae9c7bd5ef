"""How probable it is that an answered turn failed its user, from what was answered and how the user reacted: weighed
by the log itself.

A turn that got an answer is either right or wrong, and nobody says which. What is seen depends on it: whether the user
barged in, how soon the user turned away, what was said of the answer, whether the same wish came again. A mixture of
two classes in which these signals are independent given the class is fitted to the log by expectation-maximisation
(latent class analysis; Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm"). It starts from strengths as published for such signals, which also weigh as prior counts: a short log, or
one without some signal, stays with them.

How often answers fail differs: by what they do (intent) and by how sure the recogniser was. These shares are fitted
next, with the strengths of the signals as they are, each share drawn towards a coarser one: by intent and sureness, by
sureness, of all. Fitted together, shares and strengths confirm each other's errors (compared on a log's later days).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from operator import attrgetter
from typing import Any

import numpy as np

from mining.pursuit import UNSEEN, Pursuit
from retriever.interaction import Channel, Explicit, Feedback, Interaction, Request

DWELL_EDGES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_DWELLS = len(DWELL_EDGES_S) + 1
PRIOR_TURNS = 200.0
"""What the published strengths weigh, in turns."""
_ROUNDS, _SHARE_ROUNDS = 1000, 10
_CONVERGED = 1e-5
"""Ends the rounds: no share has changed by more. Some fifty are enough where most failures got no answer, hundreds are
needed where all were answered."""
SURENESSES = 13
"""Tenths of the recogniser's confidence (0 to 10), typed (11), not known (12)."""
_TYPED, _UNKNOWN = 11, 12
_DRAWN = 5.0
"""What the coarser share weighs, in turns."""
_MIN_TURNS = 50
"""An intent seen less often has no share of its own."""
_ANY = ""


class After(IntEnum):
    """What the user did next."""

    OTHER = 0
    REPEATED = 1  # the same words again at once
    REPAIRED = 2  # the same wish in other words, and that served


@dataclass(frozen=True, slots=True)
class Signals:
    """What was seen of one answered turn. `dwell`: bin of the seconds stayed with the answer, -1 where not known;
    `explicit`: 0 nothing said, 1 yes, 2 no; `intent`: of the answer; `sureness`: of the recogniser, a bin."""

    barge_in: bool
    dwell: int
    explicit: int
    after: After
    intent: str = _ANY
    sureness: int = _UNKNOWN

    @classmethod
    def of(
        cls, feedback: Feedback, after: After = After.OTHER, intent: str = _ANY, sureness: int = _UNKNOWN
    ) -> Signals:
        dwell = -1 if feedback.dwell_s is None else bisect_right(DWELL_EDGES_S, feedback.dwell_s)
        explicit = 0 if feedback.explicit is None else 1 if feedback.explicit is Explicit.YES else 2
        return cls(feedback.barge_in, dwell, explicit, after, intent, sureness)

    @classmethod
    def of_turn(cls, turn: Interaction, after: After) -> Signals:
        """Of a turn with an interpretation."""
        intent = turn.interpretation.intent if turn.interpretation else _ANY
        return cls.of(turn.feedback, after, intent, sureness(turn.request))


FIELDS = attrgetter(*(field.name for field in fields(Signals)))
"""The fields of `Signals`, as a tuple."""


def sureness(request: Request) -> int:
    """How sure the recogniser was, as a bin (see `SURENESSES`)."""
    if request.channel is not Channel.VOICE:
        return _TYPED
    return _UNKNOWN if request.asr_confidence is None else round(10 * min(1.0, max(0.0, request.asr_confidence)))


# Rows: served, failed. Orders of magnitude as published for such signals (e.g. Ponnusamy et al. 2019, "Feedback-based
# self-learning in large-scale conversational AI agents"); dwell says nothing until a log shows what it means.
_PRIOR_FAILED = 0.08
_PRIOR_BARGE = np.array([[0.95, 0.05], [0.6, 0.4]])
_PRIOR_EXPLICIT = np.array([[0.979, 0.02, 0.001], [0.896, 0.004, 0.1]])
_PRIOR_AFTER = np.array([[0.985, 0.01, 0.005], [0.35, 0.15, 0.5]])


@dataclass(frozen=True, slots=True)
class Reactions:
    """Log odds of having failed: `expected`, by intent ("" any) and sureness, before anything was seen of the user, and
    what each signal adds. `reaction`: (2, bins + 1) by barge-in and dwell, last column for an unknown dwell;
    `explicit`, `after`: (3,). `pursuit`: what the next turn looks like that pursues the same wish."""

    expected: Mapping[str, tuple[float, ...]]
    reaction: tuple[tuple[float, ...], ...]
    explicit: tuple[float, ...]
    after: tuple[float, ...]
    pursuit: Pursuit = UNSEEN

    def expects(self, intent: str, sureness: int) -> float:
        """Probability, 0 to 1, that such an answer fails, whatever the user then does."""
        return _probability(self._expected_odds(intent, sureness))

    def _expected_odds(self, intent: str, sureness: int) -> float:
        return self.expected.get(intent, self.expected[_ANY])[sureness]

    def failed(self, s: Signals, expected: float | None = None) -> float:
        """Probability, 0 to 1, that the turn failed its user. `expected`: where more is known beforehand than intent
        and sureness tell, the probability by that."""
        odds = self._expected_odds(s.intent, s.sureness) if expected is None else _log_odds(expected)
        return _probability(odds + self.adds(s))

    def adds(self, s: Signals) -> float:
        """Log odds that what was seen of the user adds to the turn's having failed, whatever was to be expected."""
        return self.reaction[s.barge_in][s.dwell] + self.explicit[s.explicit] + self.after[s.after]

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Reactions:
        """From its fields, as a JSON object."""
        reaction = tuple(tuple(row) for row in record["reaction"])
        if len(reaction) != 2 or any(len(row) != _DWELLS + 1 for row in reaction):
            raise ValueError("reactions: not of this version's signals")
        expected = {intent: tuple(row) for intent, row in record["expected"].items()}
        if _ANY not in expected or any(len(row) != SURENESSES for row in expected.values()):
            raise ValueError("reactions: expected shares not of this version's kinds")
        explicit, after = tuple(record["explicit"]), tuple(record["after"])
        return cls(expected, reaction, explicit, after, Pursuit.of_record(record["pursuit"]))

    @classmethod
    def fit(cls, seen: Iterable[Signals]) -> Reactions:
        """From all answered turns of a log; with none, the published strengths."""
        return cls.fit_counts(Counter(seen))

    @classmethod
    def fit_counts(cls, counts: Mapping[Signals, float]) -> Reactions:
        """The same from how many turns showed what; whatever the order, to the last bit."""
        kinds = sorted(counts, key=FIELDS)
        return _fit(kinds, np.array([counts[kind] for kind in kinds], dtype=float))


def _probability(odds: float) -> float:
    """Of log odds."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))


def _log_odds(p: float) -> float:
    p = min(1 - 1e-6, max(1e-6, p))
    return math.log(p / (1 - p))


def _fit(kinds: Sequence[Signals], turns: np.ndarray) -> Reactions:
    barge = np.array([s.barge_in for s in kinds], dtype=int)
    dwell = np.array([s.dwell for s in kinds], dtype=int)
    explicit = np.array([s.explicit for s in kinds], dtype=int)
    after = np.array([s.after for s in kinds], dtype=int)
    sure = np.array([s.sureness for s in kinds], dtype=int)
    usual: Counter[str] = Counter()
    for s, n in zip(kinds, turns.tolist(), strict=True):
        usual[s.intent] += n
    intents = [_ANY, *sorted(i for i, n in usual.items() if n >= _MIN_TURNS and i != _ANY)]
    row = {intent: k for k, intent in enumerate(intents)}
    intent = np.array([row.get(s.intent, 0) for s in kinds], dtype=int)
    known = dwell >= 0
    prior_share = np.array([1 - _PRIOR_FAILED, _PRIOR_FAILED])
    share = prior_share
    p_barge, p_explicit, p_after = _PRIOR_BARGE, _PRIOR_EXPLICIT, _PRIOR_AFTER
    p_dwell = np.full((2, 2, _DWELLS), 1.0 / _DWELLS)  # class, barged in, bin
    for _ in range(_ROUNDS if len(kinds) else 0):
        likelihood = share[:, None] * p_barge[:, barge] * p_explicit[:, explicit] * p_after[:, after]
        likelihood = likelihood * np.where(known, p_dwell[:, barge, dwell], 1.0)
        before = share, p_barge, p_explicit, p_after, p_dwell
        weight = turns * likelihood / likelihood.sum(axis=0)
        prior_counts = PRIOR_TURNS * prior_share
        share = (weight.sum(axis=1) + prior_counts) / (turns.sum() + PRIOR_TURNS)
        p_barge = _shares(weight, barge, _PRIOR_BARGE, prior_counts)
        p_explicit = _shares(weight, explicit, _PRIOR_EXPLICIT, prior_counts)
        p_after = _shares(weight, after, _PRIOR_AFTER, prior_counts)
        p_dwell = np.stack(
            [
                _shares(weight * (known & (barge == b)), dwell, np.full((2, _DWELLS), 1 / _DWELLS), np.full(2, 10.0))
                for b in (0, 1)
            ],
            axis=1,
        )
        now = share, p_barge, p_explicit, p_after, p_dwell
        if max(float(np.abs(a - b).max()) for a, b in zip(before, now, strict=True)) < _CONVERGED:
            break
    expected = np.full((len(intents), SURENESSES), share[1])
    seen = p_barge[:, barge] * p_explicit[:, explicit] * p_after[:, after]
    seen = seen * np.where(known, p_dwell[:, barge, dwell], 1.0)
    for _ in range(_SHARE_ROUNDS if len(kinds) else 0):
        p = expected[intent, sure]
        expected = _expected(turns, turns * p * seen[1] / (p * seen[1] + (1 - p) * seen[0]), intent, sure, len(intents))

    def odds(p: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(p[1] / p[0]))

    reaction = np.concatenate([odds(p_dwell), np.zeros((2, 1))], axis=1) + odds(p_barge)[:, None]
    return Reactions(
        expected={i: tuple(np.log(p / (1 - p)).tolist()) for i, p in zip(intents, expected, strict=True)},
        reaction=tuple(tuple(row) for row in reaction.tolist()),
        explicit=tuple(odds(p_explicit).tolist()),
        after=tuple(odds(p_after).tolist()),
    )


def _expected(turns: np.ndarray, failed: np.ndarray, intent: np.ndarray, sure: np.ndarray, intents: int) -> np.ndarray:
    """(intents, SURENESSES): shares that failed, each drawn towards the share of its sureness over all intents, and
    these towards that of all turns. Row 0, any intent, has the shares over all intents."""
    of_all = (failed.sum() + PRIOR_TURNS * _PRIOR_FAILED) / (turns.sum() + PRIOR_TURNS)

    def count(n: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
        return np.bincount(at, weights=n, minlength=size)

    by_sureness = count(failed, sure, SURENESSES) + _DRAWN * of_all
    by_sureness /= count(turns, sure, SURENESSES) + _DRAWN
    both, size = intent * SURENESSES + sure, intents * SURENESSES
    by_both = count(failed, both, size).reshape(-1, SURENESSES) + _DRAWN * by_sureness
    by_both /= count(turns, both, size).reshape(-1, SURENESSES) + _DRAWN
    by_both[0] = by_sureness
    return np.asarray(by_both)


def _shares(weight: np.ndarray, value: np.ndarray, prior: np.ndarray, prior_counts: np.ndarray) -> np.ndarray:
    """(2, values): of each class, the share of each value, with the prior's counts added."""
    size = prior.shape[1]
    ok = value >= 0
    counts = np.stack([np.bincount(value[ok], weights=w[ok], minlength=size) for w in weight])
    counts = counts + prior * prior_counts[:, None]
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


PUBLISHED = Reactions.fit(())
"""The strengths before any log was seen."""
