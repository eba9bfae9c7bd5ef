"""Estimates from a later log what a bundle would have done, by the log's own signals: no truth is needed.

The log is replayed as in service. Each first attempt's goal is read from what followed (`rewrite_service.examples`);
where a user gave up and nobody knows the wish, a rewrite counts as a win by its probability and as missed otherwise.
Signals are noisy: users who stay silent on a wrong answer make a good rewrite look like a loss, so that the estimate
of wins : (losses + missed) is rather too low than too high.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss

from mining.defects import assess
from mining.reader import read_log
from mining.sessions import by_user
from retriever.candidates import Candidate
from retriever.encoder import Encoder
from rewrite_service.bundle import open_bundle
from rewrite_service.decision import Decision, Layer
from rewrite_service.examples import Goal, goal_of, is_first_attempt
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore

_CACHE_BYTES = 1 << 30


def _worth(goal: Goal, decision: Decision, candidate: Candidate | None) -> dict[str, float]:
    """Shares of win, loss, missed and needless of one rewrite; they sum to 1."""
    if not goal.known:
        return {"wins": decision.probability, "missed": 1 - decision.probability}
    met = candidate is not None and goal.met_by(candidate)
    if goal.served:
        return {"needless": 1.0} if met else {"losses": 1.0}
    return {"wins": 1.0} if met else {"missed": 1.0}


def evaluate(
    bundle: Path, logs: list[Path], layers: frozenset[Layer], progress: Callable[[int], None] = lambda n: None
) -> dict[str, Any]:
    """Expected counts over the first attempts of the logs. Raises LogError, BundleError, StoreError."""
    reading = read_log(logs)
    people = by_user(reading.turns)
    faiss.omp_set_num_threads(1)
    opened = open_bundle(bundle, Encoder(), _CACHE_BYTES)
    goals: dict[tuple[str, str], Goal] = {}
    for user, turns in people.items():
        evidence = assess(turns)
        for i, turn in enumerate(turns):
            goal = goal_of(turns, evidence, i, opened.knowledge.completer)
            if goal is not None and is_first_attempt(turns, evidence, i):
                goals[user, turn.request.interaction_id] = goal
    counts = dict.fromkeys(("requests", "failed", "rewrites", "wins", "losses", "missed", "needless"), 0.0)
    with tempfile.TemporaryDirectory(prefix="query-rewrite-evaluate-") as state:
        pipeline = Pipeline(opened, EmbeddedStore(Path(state)), _CACHE_BYTES)
        try:
            for turn in reading.turns:
                goal = goals.get((turn.request.user_id, turn.request.interaction_id))
                if goal is not None:
                    _count(counts, goal, *pipeline.decide(turn.request, layers=layers))
                pipeline.record([turn])
                progress(1)
        finally:
            pipeline.close()
    harm = max(1.0, counts["losses"] + counts["missed"])
    reduction = (counts["wins"] - counts["losses"]) / counts["failed"] if counts["failed"] else 0.0
    return {k: round(v, 2) for k, v in counts.items()} | {
        "wins_per_harm": round(counts["wins"] / harm, 3),
        "reduction": round(reduction, 4),
    }


def _count(counts: dict[str, float], goal: Goal, decision: Decision, candidate: Candidate | None) -> None:
    counts["requests"] += 1
    counts["failed"] += not goal.served
    if decision.is_rewrite:
        counts["rewrites"] += 1
        for name, share in _worth(goal, decision, candidate).items():
            counts[name] += share
