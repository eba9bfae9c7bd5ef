"""Estimates from a later log what a bundle would have done, by the log's own signals: no truth is needed.

The log is replayed as in service. Each first attempt's goal is read from what followed (`rewrite_service.examples`);
where a user gave up and nobody knows the wish, a rewrite counts as a win as often as those of the same probability did
for requests that are known to have failed, and as missed otherwise.
Signals are noisy: users who stay silent on a wrong answer make a good rewrite look like a loss, so that the estimate
of wins : (losses + missed) is rather too low than too high.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mining.defects import assess
from mining.reader import read_log
from mining.sessions import by_user
from ranker.calibration import Calibration
from ranker.policy import Policy, Trial, Verdict, choose
from retriever.candidates import Candidate
from retriever.interaction import Interaction
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.decision import Decision, Layer, ScoredCandidate
from rewrite_service.examples import is_first_attempt
from rewrite_service.goals import Goal, goal_of, told
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore

_CACHE_BYTES = 1 << 30
_DRAWS = 300
OUTCOMES = ("wins", "losses", "missed", "needless")


@dataclass(frozen=True, slots=True)
class Case:
    """A first attempt with what its best candidate would have done, whether it was chosen or not.

    `kind`: the intent that was wanted, "" where nobody knows. `best`: text of the best candidate, "" without any.
    `shares`: (4,) as in `OUTCOMES`, summing to 1; zeros without a candidate. `explained`: the query and the candidate
    with their features, where it was chosen and did harm.
    """

    user: str
    timestamp_ms: int
    kind: str
    failed: bool
    known: bool
    query: str
    wanted: str
    best: str
    decision: Decision
    shares: tuple[float, float, float, float]
    explained: tuple[ScoredCandidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The cases of a log in time order, and the bundle that was asked."""

    cases: Sequence[Case]
    manifest: dict[str, Any]


def _shares(goal: Goal, decision: Decision, candidate: Candidate | None) -> tuple[float, float, float, float]:
    if candidate is None:
        return 0.0, 0.0, 0.0, 0.0
    if not goal.known:
        return decision.probability, 0.0, 1 - decision.probability, 0.0
    met = goal.met_by(candidate)
    if goal.served:
        return (0.0, 0.0, 0.0, 1.0) if met else (0.0, 1.0, 0.0, 0.0)
    return (1.0, 0.0, 0.0, 0.0) if met else (0.0, 0.0, 1.0, 0.0)


def goals_of(turns_by_user: dict[str, list[Interaction]], bundle: Bundle) -> dict[tuple[str, str], Goal]:
    """The goals of the first attempts, by (user, interaction id)."""
    goals: dict[tuple[str, str], Goal] = {}
    for user, turns in turns_by_user.items():
        evidence = assess(turns, bundle.knowledge.reactions)
        meant = told(turns, evidence)
        for i, turn in enumerate(turns):
            goal = goal_of(turns, evidence, i, bundle.knowledge.completer, meant)
            if goal is not None and is_first_attempt(turns, evidence, i):
                goals[user, turn.request.interaction_id] = goal
    return goals


def evaluate(
    bundle: Path, logs: list[Path], layers: frozenset[Layer], progress: Callable[[int], None] = lambda n: None
) -> Evaluation:
    """The cases of the logs. Raises LogError, BundleError, StoreError."""
    reading = read_log(logs)
    faiss.omp_set_num_threads(1)
    opened = open_bundle(bundle, encoder_of(bundle), _CACHE_BYTES)
    goals = goals_of(by_user(reading.turns), opened)
    cases = []
    with tempfile.TemporaryDirectory(prefix="query-rewrite-evaluate-") as state:
        pipeline = Pipeline(opened, EmbeddedStore(Path(state)), _CACHE_BYTES)
        try:
            for turn in reading.turns:
                goal = goals.get((turn.request.user_id, turn.request.interaction_id))
                if goal is not None:
                    cases.append(_case(pipeline, turn, goal, layers))
                pipeline.record([turn])
                progress(1)
        finally:
            pipeline.close()
    return Evaluation(like_other_failures(cases), dict(opened.manifest))


def like_other_failures(cases: Sequence[Case]) -> list[Case]:
    """The cases, those whose wish nobody knows with the wins that others of their probability had which failed too. The
    probability itself speaks of requests that served as well, which a rewrite can break. With fewer than 50 known
    failures it is taken as it is."""
    failed = [c for c in cases if c.failed and c.known and c.best]
    probabilities = np.array([c.decision.probability for c in failed])
    won = Calibration.fit(probabilities, np.array([c.shares[0] for c in failed]), np.ones(len(failed)))

    def expected(case: Case) -> Case:
        if case.known or not case.best:
            return case
        win = float(won.apply(case.decision.probability))
        return replace(case, shares=(win, 0.0, 1 - win, 0.0))

    return [expected(case) for case in cases]


def _case(pipeline: Pipeline, turn: Interaction, goal: Goal, layers: frozenset[Layer]) -> Case:
    decision, candidate = pipeline.decide(turn.request, layers=layers)
    shares = _shares(goal, decision, candidate)
    explained: tuple[ScoredCandidate, ...] = ()
    if decision.is_rewrite and shares[1] + shares[2] == 1.0:
        candidates = pipeline.rewrite(turn.request, explain=True, layers=layers).candidates
        explained = tuple(c for c in candidates if c.layer is None or c.text == decision.text)
    return Case(
        user=turn.request.user_id,
        timestamp_ms=turn.request.timestamp_ms,
        kind=goal.reading.intent if goal.reading else "",
        failed=not goal.served,
        known=goal.known,
        query=turn.request.query,
        wanted=goal.text,
        best=candidate.text if candidate else "",
        decision=decision,
        shares=shares,
        explained=explained,
    )


def summary(cases: Sequence[Case], taken: Sequence[bool] | None = None) -> dict[str, float]:
    """Expected counts when the best candidates of some cases are asked (default: those that were chosen)."""
    chosen = [c.decision.is_rewrite for c in cases] if taken is None else taken
    sums = np.array([c.shares for c, t in zip(cases, chosen, strict=True) if t]).reshape(-1, 4).sum(axis=0).tolist()
    wins, losses, missed, needless = sums
    failed = sum(c.failed for c in cases)
    return {
        "requests": len(cases),
        "failed": failed,
        "rewrites": sum(chosen),
        "wins": round(wins, 2),
        "losses": round(losses, 2),
        "missed": round(missed, 2),
        "needless": round(needless, 2),
        "wins_per_harm": round(wins / max(1.0, losses + missed), 3),
        "reduction": round((wins - losses) / failed, 4) if failed else 0.0,
    }


def intervals(cases: Sequence[Case], taken: Sequence[bool] | None = None) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of reduction and wins_per_harm, people drawn with replacement."""
    chosen = [c.decision.is_rewrite for c in cases] if taken is None else taken
    users = sorted({c.user for c in cases})
    if not users:
        return {"reduction": (0.0, 0.0), "wins_per_harm": (0.0, 0.0)}
    row = {user: i for i, user in enumerate(users)}
    sums = np.zeros((len(users), 5))  # failed, wins, losses, missed, needless
    for c, t in zip(cases, chosen, strict=True):
        sums[row[c.user], 0] += c.failed
        if t:
            sums[row[c.user], 1:] += c.shares
    rng = np.random.default_rng(0)
    drawn = np.stack([sums[rng.integers(0, len(users), len(users))].sum(axis=0) for _ in range(_DRAWS)])
    failed, wins, losses, missed = drawn[:, 0], drawn[:, 1], drawn[:, 2], drawn[:, 3]

    def span(values: np.ndarray) -> tuple[float, float]:
        low, high = np.quantile(values, (0.025, 0.975)).round(4).tolist()
        return low, high

    return {
        "reduction": span((wins - losses) / np.maximum(1, failed)),
        "wins_per_harm": span(wins / np.maximum(1.0, losses + missed)),
    }


def accepted(cases: Sequence[Case], policy: Policy) -> list[bool]:
    """Which cases would be rewritten by `policy`."""
    return [policy.accepts(_verdict(c)) for c in cases]


def policy_for(cases: Sequence[Case], wins_per_harm: float, max_needless: float) -> Policy:
    """The policy with the most wins less losses on the cases that keeps the ratio and the share of needless rewrites,
    as `build` chooses it; one that accepts nothing where none does. The ratio is also kept as `summary` tells it, which
    reckons with one harm at the least."""
    trials = [Trial(_verdict(c), *c.shares) for c in cases]
    failed = float(sum(c.failed for c in cases))
    return choose(trials, failed, Calibration(), wins_per_harm, max_needless, fewest_wins=wins_per_harm)


def _verdict(c: Case) -> Verdict:
    d = c.decision
    return Verdict(1 if c.best else None, d.probability, d.win, d.win - d.margin, 0.0)
