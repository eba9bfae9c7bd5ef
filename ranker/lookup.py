"""When a rewrite computed ahead is served by the lookup alone, without a ranker: chosen on requests of later days than
those it was computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ranker.policy import Tally
from retriever.known_rewrites import KnownRewrite


@dataclass(frozen=True, slots=True)
class LookupTrial:
    """A request for which a rewrite was known. `failed`: as it was. `met`: whether the rewrite would have given what
    was wanted; None where nobody knows that."""

    known: KnownRewrite
    failed: bool
    met: bool | None


@dataclass(frozen=True, slots=True)
class LookupPolicy:
    """Which known rewrites are served: those whose score is `threshold` or more (infinite: none), and which by the
    chain's own figures serve `wins_per_harm` times as many as are served in their own words, and so would lose by it.
    `probability`: that what is served helps rather than harms, 0 to 1."""

    threshold: float = math.inf
    wins_per_harm: float = 0.0
    probability: float = 0.0

    def accepts(self, known: KnownRewrite) -> bool:
        return known.score >= self.threshold and known.goes >= self.wins_per_harm * known.stays


NEVER = LookupPolicy()


def choose_lookup(
    trials: Sequence[LookupTrial], requests: int, wins_per_harm: float, max_needless: float
) -> LookupPolicy:
    """The policy with the most wins less losses on `trials` that keeps wins : (losses + missed) at `wins_per_harm` or
    better, and needless rewrites at `max_needless` (share of all `requests`) or fewer: the bounds of `policy.choose`,
    by counts alone, as the chain's own figures have to keep the ratio too. `NEVER` where none does."""
    best, best_gain = NEVER, 0.0
    eligible = LookupPolicy(-math.inf, wins_per_harm)
    ordered = sorted((t for t in trials if eligible.accepts(t.known)), key=lambda t: -t.known.score)
    for end in range(1, len(ordered) + 1):
        last = ordered[end - 1].known.score
        below = ordered[end].known.score if end < len(ordered) else 0.0
        if end < len(ordered) and below == last:
            continue  # a threshold takes all of equal score, or none
        win, loss, missed, needless = _outcomes(ordered[:end])
        allowed = win >= wins_per_harm * max(1.0, loss + missed) and needless <= max_needless * requests
        if allowed and win - loss > best_gain:
            probability = (win + 1) / (win + loss + missed + 2)
            best, best_gain = LookupPolicy((last + below) / 2, wins_per_harm, probability), win - loss
    return best


def tally_lookup(trials: Sequence[LookupTrial], failed: float, policy: LookupPolicy) -> Tally:
    """What `policy` would have done on `trials`, of whose requests `failed` failed as they were."""
    taken = [t for t in trials if policy.accepts(t.known)]
    return Tally(len(trials), failed, len(taken), *_outcomes(taken))


def _outcomes(taken: Sequence[LookupTrial]) -> tuple[float, float, float, float]:
    """Wins, losses, missed and needless of these, expected: where the user gave up and nobody knows the wish, a win by
    the chain's own forecast, and missed otherwise."""
    win = missed = loss = needless = 0.0
    for t in taken:
        met = t.known.share * t.known.goes if t.met is None else float(t.met)
        if t.failed:
            win, missed = win + met, missed + 1 - met
        else:
            needless, loss = needless + met, loss + 1 - met
    return win, loss, missed, needless
