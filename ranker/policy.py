"""From probabilities to a decision: threshold, margin, and the reason for every pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from itertools import product

import numpy as np

from ranker.calibration import Calibration
from ranker.model import NEEDLESS, WIN, WRONG
from retriever.candidates import Candidate

MARGINS = (-1.0, 0.0, 0.2, 0.4)
LEAST_WINS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Bounds tried."""
_CALIBRATION_OFF = 0.11
"""By what share calibrated probabilities foretell too many harms or too few, one standard deviation."""
_CHANCE = 0.25
"""Variance beside that of the number they foretell, for each harm. A count that was seen has 1: what is foretold of few
harms weighs four times as much."""
_CAUTION = 1.0
"""Standard deviations by which the expected harms are taken to be too few."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`best`: index of the candidate likeliest to win, None without any. `probability`: that asking it helps rather
    than harms, 0 to 1, calibrated: wins to wins and harms, since a rewrite that changes nothing does neither. `win`:
    that it helps, harms or changes nothing: the share in which it helps, 0 to 1. `runner_up`: the same of the
    likeliest that means something else. `leave`: that the query serves as it is."""

    best: int | None
    probability: float
    win: float
    runner_up: float
    leave: float

    @property
    def margin(self) -> float:
        """How far the best is ahead of what means something else, -1 to 1."""
        return self.win - self.runner_up


_RIVALRY = 0.5
"""The model judges each candidate alone. Where two of different meaning both seem to win, one of them cannot: so much
of the rival's probability counts against the best (compared on held-out days of a log)."""


def helps(win: float, wrong: float, runner_up: float) -> float:
    """Wins to wins and harms, 0 to 1, not calibrated, from the best candidate's probabilities and its rival's of
    winning; 0 where it can do neither."""
    return win / (win + wrong + _RIVALRY * runner_up) if win > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Best:
    """The candidate likeliest to win, by its index, with its probabilities and its rival's."""

    index: int
    win: float
    wrong: float
    runner_up: float

    @property
    def score(self) -> float:
        return helps(self.win, self.wrong, self.runner_up)


_AS_GOOD = 0.9
"""Of texts that mean the same, one with so much of the best's probability is as good: what has worked goes before what
was put together just now, whose meaning is foretold."""


def _worked(candidate: Candidate) -> tuple[bool, bool]:
    """Whether the text has served this user, and whether it has served anybody; greater is better."""
    own = candidate.personal is not None and bool(candidate.personal.success_ms)
    return own, candidate.shared is not None and candidate.shared.people > 0


def best_of(candidates: Sequence[Candidate], outcome: np.ndarray) -> Best | None:
    """`outcome`: (candidates, 3) from `RankerModel.predict`; `candidates[0]` is the query itself. None without any."""
    if len(candidates) == 1:
        return None
    win = outcome[:, WIN]
    best = int(win[1:].argmax()) + 1
    reading = candidates[best].reading
    others = [i for i in range(1, len(candidates)) if i != best]
    alike = [i for i in others if reading is not None and candidates[i].reading == reading]
    rival = max((float(win[i]) for i in others if i not in alike), default=0.0)
    as_good = [best, *(i for i in alike if win[i] >= _AS_GOOD * win[best])]
    best = max(as_good, key=lambda i: (_worked(candidates[i]), win[i]))
    return Best(best, float(win[best]), float(outcome[best, WRONG]), rival)


def judge(candidates: Sequence[Candidate], outcome: np.ndarray, calibration: Calibration) -> Verdict:
    """`outcome`: (candidates, 3) from `RankerModel.predict`; `candidates[0]` is the query itself."""
    leave = float(outcome[0, NEEDLESS])
    best = best_of(candidates, outcome)
    if best is None:
        return Verdict(None, 0.0, 0.0, 0.0, leave)
    return Verdict(best.index, float(calibration.apply(best.score)), best.win, best.runner_up, leave)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to rewrite: `threshold` on the probability that it helps rather than harms, `least_win` on the probability
    that it helps at all (what is needless otherwise), `margin` over the best different option. Chosen by `choose` on
    held-out days."""

    threshold: float = 0.9
    least_win: float = 0.5
    margin: float = -1.0
    calibration: Calibration = field(default_factory=Calibration)

    def accepts(self, verdict: Verdict) -> bool:
        return (
            verdict.best is not None
            and verdict.probability >= self.threshold
            and verdict.win >= self.least_win
            and verdict.margin >= self.margin
        )


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

    def __add__(self, other: Tally) -> Tally:
        """Of both, as of different requests."""
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

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

    def total(name: str) -> float:
        return float(sum(getattr(t, name) for t in taken))

    return Tally(len(trials), failed, len(taken), total("win"), total("loss"), total("missed"), total("needless"))


def expected_harms(seen: np.ndarray, foretold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many harms are to be expected among rewrites of which `seen` came to harm and the calibrated probabilities
    foretold `foretold`, with the standard deviation. All of one shape, 0 or more.

    A count is Poisson about its expectation, which has a gamma prior about what was foretold (the conjugate pair:
    Gelman et al., Bayesian Data Analysis, 2.6). Few harms say little beside what all scores say together, by the
    calibration; many overrule it."""
    rate = 1 / (_CALIBRATION_OFF**2 * foretold + _CHANCE)
    shape = rate * foretold + seen
    return shape / (rate + 1), np.sqrt(shape) / (rate + 1)


def choose(
    trials: Sequence[Trial],
    failed: float,
    calibration: Calibration,
    wins_per_harm: float,
    max_needless: float,
    fewest_wins: float = 0.0,
) -> Policy:
    """The policy with the most wins less losses on `trials` that keeps wins : (losses + missed) at `wins_per_harm` or
    better, here and in expectation, and needless rewrites at `max_needless` (share of requests) or fewer. Where none
    does: one that never rewrites, since a wrong rewrite is worse than none.

    Above a threshold there are some dozens of harms at the most, in a small log one or none, and the best of many
    thresholds is among those that were lucky with theirs. So what the probabilities foretell counts beside what came
    (`expected_harms`). `fewest_wins`: with fewer wins than these on `trials` nothing is rewritten either."""
    best, best_gain = Policy(threshold=1.01, calibration=calibration), 0.0
    columns = np.array(
        [
            (t.verdict.probability, t.verdict.win, t.verdict.margin, t.win, t.loss, t.missed, t.needless)
            for t in trials
            if t.verdict.best is not None
        ],
        dtype=float,
    ).reshape(-1, 7)
    columns = columns[np.argsort(-columns[:, 0], kind="stable")]
    for least_win, margin in product(LEAST_WINS, MARGINS):
        kept = columns[(columns[:, 1] >= least_win) & (columns[:, 2] >= margin)]
        if not len(kept):
            continue
        win, loss, missed, needless = np.cumsum(kept[:, 3:], axis=0).T
        # A threshold takes all cases of equal probability or none.
        ends = np.append(np.flatnonzero(np.diff(kept[:, 0])), len(kept) - 1)
        foretold = np.cumsum((1 - kept[:, 0]) * (1 - kept[:, 6]))
        harms, deviation = expected_harms(loss + missed, foretold)
        wins = win + loss + missed - harms
        expected = wins >= wins_per_harm * (harms + _CAUTION * deviation)
        here = win >= np.maximum(fewest_wins, wins_per_harm * (loss + missed))
        allowed = expected & here & (needless <= max_needless * len(trials))
        gain = np.where(allowed, win - loss, -1)[ends]
        if gain.max(initial=-1) > best_gain:
            end = ends[int(gain.argmax())]
            best_gain = float(gain.max())
            below = kept[end + 1, 0] if end + 1 < len(kept) else 0.0
            best = Policy(float((kept[end, 0] + below) / 2), least_win, margin, calibration)
    return best
