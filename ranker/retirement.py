"""The best rewrite that is not known to do harm.

A pair that probably does harm is retired, and with it what means the same and was never served: the next best candidate
of another meaning takes its place if it reaches the bounds by itself. It can come back: evidence fades, and some
requests try it all the same, as often as it is still likely to be the better way and never more than `TRIALS` (Thompson
1933, "On the likelihood that one unknown probability exceeds another"; Chapelle and Li 2011, "An empirical evaluation
of Thompson sampling").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from ranker.policy import Policy, Verdict, judge
from ranker.posterior import HARMFUL, Foretold
from retriever.candidates import Candidate

TRIALS = 0.02
"""Of the requests of a retired pair, at most this share tries it again."""

Harm = Callable[[Candidate, Foretold], float]
"""The probability that asking a candidate does harm, by what came of it so far."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`verdict`: on the best candidate that is left, or where none reaches the bounds, on the best of all. `accepted`:
    whether to ask it. `retired`: texts passed over, though they reach the bounds. `trial`: one that is asked is
    retired, and tried again."""

    verdict: Verdict
    accepted: bool
    retired: tuple[str, ...] = ()
    trial: bool = False


def draw(interaction_id: str, query: str, rewrite: str) -> str:
    """Names a request and a pair, for `is_tried`."""
    return f"{interaction_id}\0{query}\0{rewrite}"


def is_tried(draw: str, harm: float) -> bool:
    """Whether a request tries a retired pair. `draw`: names request and pair; the same one is answered the same way
    again."""
    at = int.from_bytes(blake2b(draw.encode("utf-8", "surrogatepass"), digest_size=8).digest()) / 2**64
    return at < min(TRIALS, 1 - harm)


def harm_of(candidate: Candidate, candidates: Sequence[Candidate], harm: Harm, foretold: Foretold) -> float:
    """The probability that asking `candidate` does harm: by what came of it, or where it was never served, of those
    among `candidates` that are understood alike, which would do the same harm in other words."""
    return harm(candidate, foretold) or max(
        (harm(other, foretold) for other in candidates if _alike(candidate, other)), default=0.0
    )


def _alike(one: Candidate, other: Candidate) -> bool:
    return one is not other and not other.is_query and one.reading is not None and one.reading == other.reading


def choose(
    candidates: Sequence[Candidate], outcome: np.ndarray, policy: Policy, harm: Harm, interaction_id: str
) -> Choice:
    """`outcome`: (candidates, 3) from `RankerModel.predict`; `candidates[0]` is the query itself."""
    first = verdict = judge(candidates, outcome, policy.calibration)
    left = list(range(len(candidates)))
    retired: list[str] = []
    while policy.accepts(verdict):
        assert verdict.best is not None
        best = candidates[verdict.best]
        harmful = harm_of(best, candidates, harm, Foretold(verdict.probability, verdict.leave))
        if harmful <= HARMFUL:
            return Choice(verdict, True, tuple(retired))
        if is_tried(draw(interaction_id, candidates[0].text, best.text), harmful):
            return Choice(verdict, True, tuple(retired), trial=True)
        retired.append(best.text)
        left = [i for i in left if i != verdict.best and not _alike(best, candidates[i])]
        verdict = judge([candidates[i] for i in left], outcome[left], policy.calibration)
        if verdict.best is not None:
            verdict = replace(verdict, best=left[verdict.best])
    return Choice(first, False, tuple(retired))
