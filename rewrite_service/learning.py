"""Trains the ranker on examples, out of time, and chooses the policy on days that the model has not seen.

The last blocks are each predicted by a model that learned from the blocks before them alone. These predictions give the
calibration, the threshold and the held-out report. The model that is served then learns from all blocks.

What rewrites would have done is counted by what the log tells, as far as it can be relied on
(`rewrite_service.held_out_days`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ranker.feature_names import QUERY_FEATURES
from ranker.lookup import LookupPolicy, LookupTrial, choose_lookup, tally_lookup
from ranker.model import NEEDLESS, WIN, WRONG, RankerModel
from ranker.policy import Policy, Tally, Trial, choose, tally
from ranker.triage import Triage, TriageTrials
from retriever.known_rewrites import KnownRewrite
from rewrite_service.examples import Example
from rewrite_service.held_out_days import Calibrations, Judged, doubted, trial

HELD_OUT_BLOCKS = 4
MOST_WINS_LOST = 0.005
"""Share of the wins that may be lost by passing at once what looks fine."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A model, when to trust it, when to spare it, when to serve by the lookup, and a report on held-out days (plain
    figures, for the manifest)."""

    model: RankerModel
    policy: Policy
    triage: Triage
    lookup: LookupPolicy
    report: dict[str, Any]


_NEAREST_ROWS = 8
_THINNING = 4


def _chosen(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and their weights: all that can be right, the nearest wrong ones, and of the far wrong ones,
    which teach little and are most of all rows, every fourth with fourfold weight. That the query fails as it is is
    sure also where it is not what was wanted."""
    rows = np.flatnonzero(example.outcome >= 0)
    far = (rows > _NEAREST_ROWS) & (example.outcome[rows] == WRONG)
    keep = ~far | (rows % _THINNING == example.timestamp_ms // 1000 % _THINNING)
    weight = np.where(far, float(_THINNING), 1.0) * example.weight * np.where(rows == 0, 1.0, example.wish)
    return rows[keep], weight[keep].astype(np.float32)


def _rows(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stacked features, outcomes and weights."""
    chosen = [_chosen(e) for e in examples]
    x = np.concatenate([e.x[rows] for e, (rows, _) in zip(examples, chosen, strict=True)])
    y = np.concatenate([e.outcome[rows] for e, (rows, _) in zip(examples, chosen, strict=True)])
    return x, y, np.concatenate([weight for _, weight in chosen])


def can_fit(examples: Sequence[Example]) -> bool:
    """Whether there is anything to tell apart: a repair that won, and a turn that was fine."""
    return all(any((e.outcome == outcome).any() for e in examples) for outcome in (WIN, NEEDLESS))


def fit(examples: Sequence[Example]) -> RankerModel:
    """The ranker from examples. Raises ValueError where they hold no repaired turn to learn from."""
    if not can_fit(examples):
        raise ValueError("no repaired turn in the log has its repair among the candidates; a longer log is needed")
    x, y, weight = _rows(examples)
    return RankerModel.fit(x, y, weight)


def predict_out_of_time(
    examples: Sequence[Example], held_out: int, threads: int, progress: Callable[[int], None] = lambda n: None
) -> list[Judged]:
    """The unmasked first attempts of the last `held_out` blocks, each block predicted from those before it alone.

    `threads`: blocks under way at the same time, each on one core: a model this small loses more to threads waiting for
    each other than it gains from them, most of all on a machine that has other work.
    """
    blocks = sorted({e.block for e in examples})

    def predict(block: int) -> list[Judged]:
        later = [e for e in examples if e.block == block and not e.masked and e.first]
        earlier = [e for e in examples if e.block < block]
        if not later or not can_fit(earlier):
            progress(1)
            return []
        model = fit(earlier)
        p = model.predict(np.concatenate([e.x for e in later]))
        ends = np.cumsum([len(e.x) for e in later])
        progress(1)
        return [Judged.as_told(e, rows) for e, rows in zip(later, np.split(p, ends[:-1]), strict=True)]

    with ThreadPoolExecutor(threads) as pool:
        return [j for judged in pool.map(predict, blocks[max(1, len(blocks) - held_out) :]) for j in judged]


def learn(
    examples: Sequence[Example],
    *,
    wins_per_harm: float,
    max_needless: float,
    threads: int = 2,
    progress: Callable[[int], None] = lambda n: None,
) -> Learned:
    """Model, policy and held-out report from the examples of all blocks."""
    lookup = choose_lookup_policy(examples, wins_per_harm, max_needless)
    judged, calibrations = doubted(predict_out_of_time(examples, HELD_OUT_BLOCKS, threads, progress))
    # What reaches the ranker at all; in a log of next to nothing the lookup may serve all.
    left = [j for j in judged if not _looked_up(j.example, lookup)] or judged
    trials = [trial(j, calibrations) for j in left]
    policy = choose(trials, _failed(left), calibrations.all, wins_per_harm, max_needless)
    triage, spared = Triage.fit(_triage_trials(left, trials, policy), MOST_WINS_LOST)
    model = fit(examples)
    progress(1)
    told = report(judged, calibrations, policy, lookup, model, wins_per_harm)
    told |= {"triage": spared, "lookup": _lookup_figures(examples, lookup)}
    return Learned(model, policy, triage, lookup, told)


def _failed(judged: Sequence[Judged]) -> float:
    return sum(j.failed for j in judged)


def _lookup_trials(examples: Iterable[Example]) -> list[LookupTrial]:
    """Of the first attempts, unmasked, for which a rewrite was known from days before."""
    return [
        LookupTrial(_known(e), not e.goal.served, None if outcome < 0 else outcome in (WIN, NEEDLESS))
        for e in examples
        if e.known is not None and e.first and not e.masked
        for outcome in (int(e.outcome[e.known]),)
    ]


def choose_lookup_policy(examples: Sequence[Example], wins_per_harm: float, max_needless: float) -> LookupPolicy:
    """From all blocks, not the last alone: nothing is trained for the lookup, and what is known in a block was computed
    from the days before it."""
    requests = sum(e.first and not e.masked for e in examples)
    return choose_lookup(_lookup_trials(examples), requests, wins_per_harm, max_needless)


def _known(example: Example) -> KnownRewrite:
    assert example.known is not None
    known = example.candidates[example.known].known
    assert known is not None
    return known


def _looked_up(example: Example, lookup: LookupPolicy) -> bool:
    return example.known is not None and lookup.accepts(_known(example))


def _lookup_figures(examples: Sequence[Example], lookup: LookupPolicy) -> dict[str, Any]:
    """Of all blocks: the requests for which a rewrite was known, and what the lookup would have done."""
    trials = _lookup_trials(examples)
    return _figures(tally_lookup(trials, float(sum(t.failed for t in trials)), lookup))


def _triage_trials(judged: Sequence[Judged], trials: Sequence[Trial], policy: Policy) -> TriageTrials:
    return TriageTrials(
        x=np.stack([j.example.x[0, : len(QUERY_FEATURES)] for j in judged]),
        win=np.array([t.verdict.win for t in trials]),
        won=np.array([t.win if policy.accepts(t.verdict) else 0.0 for t in trials]),
        fold=np.array([j.example.block for j in judged]),
    )


def report(
    judged: Sequence[Judged],
    calibrations: Calibrations,
    policy: Policy,
    lookup: LookupPolicy,
    model: RankerModel,
    aim: float,
) -> dict[str, Any]:
    """The held-out figures for the manifest, of lookup and ranker together: counts expected where the wish is not
    known, shares 0 to 1."""

    def together(judged: Sequence[Judged]) -> Tally:
        left = [j for j in judged if not _looked_up(j.example, lookup)]
        ranked = tally([trial(j, calibrations) for j in left], _failed(left), policy)
        looked_up = _lookup_trials(j.example for j in judged if _looked_up(j.example, lookup))
        return ranked + tally_lookup(looked_up, float(sum(t.failed for t in looked_up)), lookup)

    total = together(judged)
    failing = [j for j in judged if not j.example.goal.served and j.example.goal.known]
    reachable = sum(bool((j.example.outcome == WIN).any()) for j in failing)
    blocks = sorted({j.example.block for j in judged})
    by_block = []
    for block in blocks:
        chosen = [j for j in judged if j.example.block == block]
        by_block.append({"from_ms": min(j.example.timestamp_ms for j in chosen), **_figures(together(chosen))})
    return {
        "aim_wins_per_harm": aim,
        **_figures(total),
        "goal_among_candidates": reachable / len(failing) if failing else 0.0,
        "blocks": by_block,
        "importance": {k: round(v, 4) for k, v in sorted(model.importance().items(), key=lambda kv: -kv[1])[:20]},
    }


def _figures(t: Any) -> dict[str, Any]:
    return {k: round(v, 4) for k, v in asdict(t).items()} | {
        "wins_per_harm": round(t.ratio, 3),
        "reduction": round(t.reduction, 4),
    }
