"""From probabilities to a decision: threshold, margin, and the reason for every pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ranker.calibration import Calibration
from ranker.model import NEEDLESS, WIN
from retriever.candidates import Candidate

MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Bounds tried. Never below 0: a rewrite that is less likely right than leaving the query alone is no choice."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`best`: index of the best rewrite among the candidates, None without any. `probability`: that it wins, 0 to 1,
    calibrated. `runner_up`: the same of the best rewrite that means something else. `leave`: probability that the
    query serves as it is. `margin`: `probability` less the larger of the two."""

    best: int | None
    probability: float
    runner_up: float
    leave: float

    @property
    def margin(self) -> float:
        return self.probability - max(self.runner_up, self.leave)


def judge(candidates: Sequence[Candidate], outcome: np.ndarray, calibration: Calibration) -> Verdict:
    """`outcome`: (candidates, 3) from `RankerModel.predict`; `candidates[0]` is the query itself."""
    leave = float(outcome[0, NEEDLESS])
    if len(candidates) == 1:
        return Verdict(None, 0.0, 0.0, leave)
    win = calibration.apply(outcome[1:, WIN])
    # Raw scores order candidates where calibration has levelled them.
    best = int(np.lexsort((-outcome[1:, WIN], -win))[0]) + 1
    reading = candidates[best].reading
    rivals = [
        float(win[i - 1])
        for i in range(1, len(candidates))
        if i != best and (reading is None or candidates[i].reading != reading)
    ]
    return Verdict(best, float(win[best - 1]), max(rivals, default=0.0), leave)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to rewrite: `threshold` on the calibrated probability, `margin` over the best different option. Chosen by
    `choose` on held-out days."""

    threshold: float = 0.9
    margin: float = 0.0
    calibration: Calibration = field(default_factory=Calibration)

    def accepts(self, verdict: Verdict) -> bool:
        return verdict.best is not None and verdict.probability >= self.threshold and verdict.margin >= self.margin


@dataclass(frozen=True, slots=True)
class Trial:
    """A held-out request with its verdict and what a rewrite to the best candidate would have done: `win` + `loss` +
    `missed` + `needless` = 1 (shares, since a wish that nobody knows is counted by its probability)."""

    verdict: Verdict
    win: float
    loss: float
    missed: float
    needless: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Expected counts over trials when rewriting by a policy. `failed`: requests that failed as they were."""

    requests: int
    failed: float
    rewrites: int
    wins: float
    losses: float
    missed: float
    needless: float

    @property
    def ratio(self) -> float:
        """Wins to losses and missed."""
        return self.wins / max(1.0, self.losses + self.missed)

    @property
    def reduction(self) -> float:
        """Relative reduction of failures over all requests."""
        return (self.wins - self.losses) / self.failed if self.failed else 0.0


def tally(trials: Sequence[Trial], failed: float, policy: Policy) -> Tally:
    """What `policy` would have done on `trials`, of whose requests `failed` (expected) failed as they were."""
    taken = [t for t in trials if policy.accepts(t.verdict)]
    total = lambda name: float(sum(getattr(t, name) for t in taken))  # noqa: E731
    return Tally(len(trials), failed, len(taken), total("win"), total("loss"), total("missed"), total("needless"))


def choose(
    trials: Sequence[Trial],
    failed: float,
    calibration: Calibration,
    wins_per_harm: float,
    max_needless: float,
) -> Policy:
    """The policy with the most wins less losses on `trials` that keeps wins : (losses + missed) at `wins_per_harm` or
    better, and needless rewrites at `max_needless` (share of requests) or fewer. Where none does: one that never
    rewrites, since a wrong rewrite is worse than none."""
    best, best_gain = Policy(threshold=1.01, calibration=calibration), 0.0
    columns = np.array(
        [
            (t.verdict.probability, t.verdict.margin, t.win, t.loss, t.missed, t.needless)
            for t in trials
            if t.verdict.best is not None
        ],
        dtype=float,
    ).reshape(-1, 6)
    order = np.argsort(-columns[:, 0], kind="stable")
    columns = columns[order]
    for margin in MARGINS:
        kept = columns[columns[:, 1] >= margin]
        if not len(kept):
            continue
        win, loss, missed, needless = np.cumsum(kept[:, 2:], axis=0).T
        # A threshold takes all cases of equal probability or none.
        ends = np.append(np.flatnonzero(np.diff(kept[:, 0])), len(kept) - 1)
        allowed = (win >= wins_per_harm * np.maximum(1.0, loss + missed)) & (needless <= max_needless * len(trials))
        gain = np.where(allowed, win - loss, -1)[ends]
        if gain.max(initial=-1) > best_gain:
            end = ends[int(gain.argmax())]
            best_gain = float(gain.max())
            below = kept[end + 1, 0] if end + 1 < len(kept) else 0.0
            best = Policy(float((kept[end, 0] + below) / 2), margin, calibration)
    return best
