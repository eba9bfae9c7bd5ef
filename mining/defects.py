"""An implicit defect signal for every turn, and for the turns that failed the turn that repaired them.

The signals follow what large assistants use where nobody annotates (no match, barge-in, explicit no, rephrase, moving
to the app; e.g. Ponnusamy et al. 2019, "Feedback-based self-learning in large-scale conversational AI agents").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from mining.rephrases import REPHRASE_WINDOW_MS, same_goal
from mining.sessions import sessions
from retriever.interaction import Channel, Explicit, Interaction, Outcome
from retriever.normalise import normalise


class Signal(StrEnum):
    """What speaks for or against a turn's having served its user."""

    NO_MATCH = "no_match"
    ERROR = "error"
    EXPLICIT_NO = "explicit_no"
    EXPLICIT_YES = "explicit_yes"
    REPHRASED = "rephrased"  # a later turn repaired it
    APP_FOLLOW_UP = "app_follow_up"  # repaired, or tried again, by typing
    REPEATED = "repeated"  # the same words again at once
    BARGE_IN = "barge_in"


# The probability that a turn with this signal failed, strongest signal first; the first one present decides.
# Orders of magnitude as published for such signals, not fitted to any log: they only need to be on the right side.
_STRENGTH: tuple[tuple[Signal, float], ...] = (
    (Signal.NO_MATCH, 1.0),
    (Signal.ERROR, 1.0),
    (Signal.REPHRASED, 0.95),
    (Signal.EXPLICIT_NO, 0.9),
    (Signal.EXPLICIT_YES, 0.02),
    (Signal.APP_FOLLOW_UP, 0.8),
    (Signal.REPEATED, 0.7),
    (Signal.BARGE_IN, 0.4),
)
_QUIET = 0.05
FAILED = 0.5
"""From this probability on a turn counts as failed."""


HABITUAL = 2
"""Times that one user must follow a failure by the same words for them to be its repair, however unlike they are."""


@dataclass(frozen=True, slots=True)
class TurnEvidence:
    """What the turns around a turn say of it. `defect`: probability 0 to 1 that it failed its user.

    `goal`: index (in the user's turns) of the later turn that reached its goal; None where it did not fail, or nobody
    knows what was wanted.
    """

    signals: frozenset[Signal]
    defect: float
    goal: int | None = None

    @property
    def failed(self) -> bool:
        return self.defect >= FAILED


def _own_signals(turn: Interaction) -> set[Signal]:
    out: set[Signal] = set()
    if turn.outcome is Outcome.NO_MATCH or (turn.outcome is Outcome.OK and turn.interpretation is None):
        out.add(Signal.NO_MATCH)
    elif turn.outcome is Outcome.ERROR:
        out.add(Signal.ERROR)
    if turn.feedback.explicit is Explicit.NO:
        out.add(Signal.EXPLICIT_NO)
    elif turn.feedback.explicit is Explicit.YES:
        out.add(Signal.EXPLICIT_YES)
    if turn.feedback.barge_in:
        out.add(Signal.BARGE_IN)
    return out


def _probability(signals: set[Signal]) -> float:
    return next((p for signal, p in _STRENGTH if signal in signals), _QUIET)


def _gap_ms(a: Interaction, b: Interaction) -> int:
    return b.request.timestamp_ms - a.request.timestamp_ms


def assess(turns: Sequence[Interaction]) -> list[TurnEvidence]:
    """Evidence for each of one user's turns, in time order; from these turns alone, so online it grows as they come."""
    out: list[TurnEvidence | None] = [None] * len(turns)
    habits = _habitual_repairs(turns)
    for span in sessions(turns):
        for i in reversed(span):  # backwards, so that a repair is judged before what it repairs
            out[i] = _assess_one(turns, out, i, span, habits)
    return [e for e in out if e is not None]


def _habitual_repairs(turns: Sequence[Interaction]) -> set[tuple[str, str]]:
    """(unanswered text, answered text) where this user follows the one by the other again and again: at least twice,
    and most of the times that anything follows the first. Such a pair is one wish, however little the texts share."""
    followed: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for before, after in pairwise(turns):
        if before.interpretation is None and _gap_ms(before, after) <= REPHRASE_WINDOW_MS:
            text = normalise(before.request.query)
            followed[text] += 1
            if after.interpretation is not None:
                pairs[text, normalise(after.request.query)] += 1
    return {pair for pair, times in pairs.items() if times >= HABITUAL and 2 * times > followed[pair[0]]}


def _assess_one(
    turns: Sequence[Interaction],
    done: Sequence[TurnEvidence | None],
    i: int,
    span: range,
    habits: set[tuple[str, str]],
) -> TurnEvidence:
    turn = turns[i]
    signals = _own_signals(turn)
    context = next((turns[k] for k in range(i - 1, span.start - 1, -1) if turns[k].interpretation is not None), None)
    goal = None
    for k in range(i + 1, min(span.stop, i + 6)):
        if _gap_ms(turns[k - 1], turns[k]) > REPHRASE_WINDOW_MS:
            break
        later = done[k]
        assert later is not None
        texts = normalise(turn.request.query), normalise(turns[k].request.query)
        again = texts[0] == texts[1]
        if k == i + 1 and again and turns[k].interpretation == turn.interpretation:
            signals.add(Signal.REPEATED)
        if not later.failed and (texts in habits or same_goal(turn, turns[k], context)):
            goal = k
            break
        if again and later.goal is not None:  # the same words, repaired further on
            goal = later.goal
            break
    if goal is not None and Signal.EXPLICIT_YES not in signals:
        signals.add(Signal.REPHRASED)
        if turns[goal].request.channel is not Channel.VOICE and turn.request.channel is Channel.VOICE:
            signals.add(Signal.APP_FOLLOW_UP)
    defect = _probability(signals)
    return TurnEvidence(frozenset(signals), defect, goal if defect >= FAILED else None)
