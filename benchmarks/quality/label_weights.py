"""What it is worth that labels weigh the ranker's training (`rewrite_service.sureness`): the ranker learned from the
same examples with their weights, and with all counting alike.

Judged on the log's last blocks, out of time, all counting alike; then on the dev days with the truth. The threshold is
chosen each time on the log, for the same wins to a harm. The trees are grown with more than one seed, since another
seed alone moves the reduction by a point or two.

usage: python -m benchmarks.quality.label_weights BUNDLE   (of HABITBENCH's log; some ten minutes on 2 cores)
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.quality.ablations import Bench
from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import Asked, decide, figures
from ranker import model as ranker_model
from ranker.boosting import train
from ranker.feature_names import NAMES
from ranker.model import RankerModel
from ranker.policy import Policy, choose, tally
from retriever.encoder import Encoder
from rewrite_service import learning
from rewrite_service.bundle import open_bundle
from rewrite_service.examples import MASKED_WEIGHT, Example
from rewrite_service.held_out_days import Judged, doubted, trial
from rewrite_service.learning import HELD_OUT_BLOCKS

SEEDS = (7, 8)


def alike(e: Example) -> Example:
    return replace(e, wish=1.0, weight=MASKED_WEIGHT if e.masked else 1.0)


def fit(some: Sequence[Example], seed: int) -> RankerModel:
    parameters = ranker_model._PARAMETERS | {"seed": seed}
    return RankerModel(train(parameters, ranker_model.ROUNDS, NAMES, *learning._rows(some)))


def out_of_time(some: Sequence[Example], seed: int) -> dict[int, RankerModel]:
    """Of each of the last blocks, a model of those before it."""
    blocks = sorted({e.block for e in some})[-HELD_OUT_BLOCKS:]
    return {block: fit([e for e in some if e.block < block], seed) for block in blocks}


def judged(models: Mapping[int, RankerModel], some: Sequence[Example]) -> list[Judged]:
    """The first attempts of those blocks."""
    those = (e for e in some if e.block in models and e.first and not e.masked)
    return [Judged.as_told(e, models[e.block].predict(e.x)) for e in those]


def policy_of(some: Sequence[Judged], bench: Bench) -> tuple[Policy, float, float]:
    """The policy, and what it comes to there: reduction and wins to a harm."""
    (weighed, calibrations), s = doubted(some), bench.settings
    trials = [trial(j, calibrations) for j in weighed]
    failed = sum(j.failed for j in weighed)
    policy = choose(trials, failed, calibrations.all, s.wins_per_harm, s.max_needless)
    found = tally(trials, failed, policy)
    return policy, found.reduction, found.ratio


def log_loss(some: Sequence[Judged]) -> float:
    """Nats a candidate of which it is known what it would have done."""
    each = []
    for j in some:
        known = np.flatnonzero(j.example.outcome >= 0)
        each.append(-np.log(np.maximum(j.probabilities[known, j.example.outcome[known]], 1e-9)))
    return float(np.concatenate(each).mean())


def one(
    bench: Bench, some: Sequence[Example], by: Sequence[Example], asked: Sequence[Asked], seed: int
) -> dict[str, float]:
    """Figures of a ranker of `some`; its threshold is chosen as in a build, by the examples that it is from."""
    models = out_of_time(some, seed)
    told = judged(models, by)
    _, reduction, ratio = policy_of(told, bench)
    policy, _, _ = policy_of(judged(models, some), bench)
    dev = figures(decide(asked, fit(some, seed), policy))
    return {
        "held_out_reduction": round(reduction, 4),
        "held_out_wins_per_harm": round(ratio, 2),
        "held_out_log_loss": round(log_loss(told), 5),
        "dev_reduction": round(dev.reduction, 4),
        "dev_wins": dev.wins,
        "dev_losses": dev.losses,
        "dev_missed": dev.missed,
        "dev_needless": dev.needless,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    given = parser.parse_args()
    bench = Bench()
    weighed = bench.examples(bench.turns)
    ways = {"count alike": list(map(alike, weighed)), "weighed by labels": weighed}
    asked = bench.truth.ask(open_bundle(given.bundle, Encoder(), 1 << 30))
    found: list[dict[str, float | str]] = []
    for seed in SEEDS:
        for way, some in ways.items():
            found.append({"way": way, "seed": seed} | one(bench, some, ways["count alike"], asked, seed))
            print(found[-1], flush=True)
    rows = []
    for way in ways:
        own = [f for f in found if f["way"] == way]
        of = {name: np.array([f[name] for f in own]) for name in own[0] if name not in ("way", "seed")}
        harms = float((of["dev_losses"] + of["dev_missed"]).mean())
        rows.append(
            (
                way,
                percent(of["held_out_reduction"].mean()),
                f"{of['held_out_log_loss'].mean():.5f}",
                percent(of["dev_reduction"].mean()),
                f"{percent(of['dev_reduction'].min())} to {percent(of['dev_reduction'].max())}",
                f"{float(of['dev_wins'].mean()) / max(1.0, harms):.1f}",
                f"{of['dev_needless'].mean():.0f}",
            )
        )
    columns = ("examples", "held out", "log loss", "dev", "over seeds", "wins : harms", "needless")
    show(f"what labels' weights are worth, mean of {len(SEEDS)} seeds", columns, rows)
    keep("label-weights", {"results": found})


if __name__ == "__main__":
    main()
