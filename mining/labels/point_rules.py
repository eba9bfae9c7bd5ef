"""Where a turn failed, by rules on what came next: weak labels, from which `mining.labels.failure_points` learns.

A repair tells what had been meant, and so which component lost it. The words of the failed turn were right if the
repair says them again, or all of them but such as say nothing; if a rule for follow-ups knows them; or if others say
just the same. They were misheard if what the repair says instead sounds like them, or stood among the recogniser's
other hypotheses. With the right words another slot value points to entity resolution, another intent or none to
understanding; and where words are never understood, it is no matter that they were misheard as well. The same
interpretation asked again after it had been rejected, and then kept, points to what was done; so do the same words
where they first led to an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from mining.defects import FAILED, TurnEvidence
from mining.labels.sights import Repaired, Sight, sights
from mining.labels.turn_label import FailurePoint
from mining.labels.usual import NOTHING, Usual, resemblance
from mining.rephrases import AFFINITY_AFTER_ANSWER, REPHRASE_WINDOW_MS, SOUNDS_ALIKE
from retriever.interaction import Explicit, Interaction, Outcome
from retriever.normalise import word_pairs

Weak = tuple[FailurePoint, float]
"""A failure point, and what it weighs as a label, above 0 to 1."""

UNSURE = 0.15
"""An answered turn that is likelier than this to be the other of right and wrong teaches nothing."""
MISHEARD_COST = 0.8
"""Nats a phoneme below which one text was heard for another, whatever its letters look like."""
SAME_TEXT = 0.9
SAYS_NOTHING = 4.6
"""Nats of rarity: a word that stands in one request of a hundred frames what is asked, and is not what is asked."""
SAID_BY_OTHERS = 3.0
"""Turns in which other people said just the same words."""
NEVER_SERVES_ASKED, NEVER_SERVES_SHARE = 20.0, 0.03
"""A word pair that is asked so often, and so seldom with success, belongs to what the assistant does not understand."""
IMPOSSIBLE_ASKED, IMPOSSIBLE_SHARE = 12.0, 0.2
"""What other people ask so often without an answer, and repair so much less than what else gets none, cannot be had."""
USUALLY = 0.5
"""Share of others' turns: words that serve at least so many were understood, also where an error came of them."""
_ONLY_UNUSUAL = 0.5
_TRIED_AGAIN = 4


def weak_points(
    turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], usual: Usual
) -> list[Weak | None]:
    """Of each of one user's turns, in time order with their evidence; None where nothing is known."""
    return weak_points_of(sights(turns, evidence, usual), usual)


def weak_points_of(seen: Sequence[Sight], usual: Usual) -> list[Weak | None]:
    """The same of what was seen of one user's turns."""
    return [_weak_point(seen, i, usual) for i in range(len(seen))]


def _weak_point(seen: Sequence[Sight], i: int, usual: Usual) -> Weak | None:
    sight = seen[i]
    turn, e = sight.turn, sight.evidence
    if sight.repaired is not None:
        return _of_repaired(sight, sight.repaired, usual)
    if turn.interpretation is None:
        return _of_silent(sight, usual)
    if turn.outcome is Outcome.ERROR:
        return FailurePoint.RESULT, 1.0
    if e.defect <= UNSURE:
        return FailurePoint.CORRECT, 1.0 - e.defect
    if e.failed and _rejected(turn) and _kept_at_last(seen, i):
        return FailurePoint.RESULT, e.defect
    return None


def _of_repaired(sight: Sight, by: Repaired, usual: Usual) -> Weak | None:
    right_words = FailurePoint.ENTITY_RESOLUTION if by.same_intent else FailurePoint.NLU
    if sight.turn.outcome is Outcome.ERROR and not by.lost and not by.new:
        return FailurePoint.RESULT, 1.0
    if not sight.spoken or not by.lost or sight.follow_up is not None:
        return right_words, 1.0
    answered = sight.turn.interpretation is not None
    if not answered and by.cost > MISHEARD_COST and _never_understood(sight, by, usual):
        return FailurePoint.NLU, 1.0
    if by.alternative >= SAME_TEXT or by.cost <= MISHEARD_COST:
        return FailurePoint.ASR, 1.0
    if by.values_kept == 1.0 or by.rarest_lost <= SAYS_NOTHING:
        return right_words, 1.0
    alike = by.alike >= SOUNDS_ALIKE
    if answered:
        return (FailurePoint.ASR, 1.0) if alike and by.affinity >= AFFINITY_AFTER_ANSWER else None
    if alike or sight.others.asked < SAID_BY_OTHERS:
        return FailurePoint.ASR, 1.0 if alike else _ONLY_UNUSUAL
    return FailurePoint.NLU, _ONLY_UNUSUAL


def _never_understood(sight: Sight, by: Repaired, usual: Usual) -> bool:
    """Whether also the words that were misheard would not have been understood: they sound like a follow-up, and the
    repair says what came before; or they hold words that many say, and that serve nobody."""
    if by.carries_on and sight.follow_up_cost <= MISHEARD_COST:
        return True
    known = [usual.pairs.get(pair, NOTHING) for pair in word_pairs(sight.text)]
    return any(r.asked >= NEVER_SERVES_ASKED and r.served <= NEVER_SERVES_SHARE * r.asked for r in known)


def _of_silent(sight: Sight, usual: Usual) -> Weak | None:
    """Of a turn without an interpretation that nobody repaired."""
    others, overheard = sight.others, usual.overheard
    if sight.turn.outcome is Outcome.ERROR:
        usually_served = others.asked >= SAID_BY_OTHERS and others.served >= USUALLY * others.asked
        return (FailurePoint.RESULT, 1.0) if usually_served else None
    if others.asked >= IMPOSSIBLE_ASKED and others.repaired <= IMPOSSIBLE_SHARE * overheard.repaired * others.asked:
        return FailurePoint.CORRECT, 1.0
    if not sight.spoken or sight.tried_again:
        return None
    probability = overheard.probability(resemblance(sight.text, usual.pairs))
    return (FailurePoint.FALSE_WAKE, probability) if probability >= FAILED else None


def _rejected(turn: Interaction) -> bool:
    return turn.feedback.explicit is Explicit.NO or turn.feedback.barge_in


def _kept_at_last(seen: Sequence[Sight], i: int) -> bool:
    """Whether the same interpretation was asked for again, and served."""
    for k in range(i + 1, min(seen[i].session.stop, i + 1 + _TRIED_AGAIN)):
        turn = seen[k].turn
        if turn.request.timestamp_ms - seen[k - 1].turn.request.timestamp_ms > REPHRASE_WINDOW_MS:
            return False
        if turn.interpretation == seen[i].turn.interpretation:
            return seen[k].evidence.defect <= UNSURE and not _rejected(turn)
    return False
