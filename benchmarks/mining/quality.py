"""What the offline miners add on HabitBench's dev days: a bundle of its log without them, with each, and with both.

Each bundle chooses its thresholds on its own log alone, for the same wins to a harm (20); dev days and truth judge.
There are 2635 dev requests: a point or two of reduction is noise, so what two bundles decide differently is told by
request, and with it what the lookup served.

Decisions are kept in var/mining, so that variants can be judged one by one.

usage: python -m benchmarks.mining.quality [VARIANT ...]
       (HABITBENCH: its folder; some five busy minutes a variant on 2 cores; without a name: all)
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mining.results import write_figures
from benchmarks.quality.tables import percent, show, span
from benchmarks.quality.truth import Outcome, Truth, figures, folder, intervals
from ranker.model import NEEDLESS, WIN, WRONG
from rewrite_service.build import BuildSettings, build
from rewrite_service.decision import Layer, Reason
from rewrite_service.examples import Miner
from rewrite_service.progress import Progress
from rewrite_service.replay import replay

KEPT = Path("var/mining")


@dataclass(frozen=True, slots=True)
class Variant:
    """`chains`: whether they are mined. `rephrase`: whether a model, trained on the same log, says what repaired what
    in place of the rules."""

    chains: bool
    rephrase: bool


VARIANTS = {
    "online": Variant(chains=False, rephrase=False),
    "with_chains": Variant(chains=True, rephrase=False),
    "with_rephrase": Variant(chains=False, rephrase=True),
    "with_both": Variant(chains=True, rephrase=True),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A variant's decisions: by interaction id, what is asked instead, whether the lookup said so, and the outcome."""

    decided: dict[str, tuple[str | None, bool, Outcome]]

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, _, outcome in self.decided.values()]


def rephrase_model() -> Path:
    """Trained on the log the first time it is asked for."""
    place = KEPT / "rephrase-model"
    if not place.exists():
        from mining.training.train import TrainSettings  # with torch
        from rewrite_service.rephrase_training import train_rephrase

        train_rephrase([folder() / "log.jsonl.gz"], place, TrainSettings(), Progress())
    return place


def decide(variant: Variant, decisions: Path) -> None:
    """Builds, and replays the dev days into the file `decisions`."""
    decisions.parent.mkdir(parents=True, exist_ok=True)
    settings = BuildSettings(
        without=() if variant.chains else (Miner.CHAINS,),
        rephrase_model=rephrase_model() if variant.rephrase else None,
    )
    with tempfile.TemporaryDirectory(prefix="query-rewrite-mining-") as place:
        bundle, history = Path(place) / "bundle", [folder() / "dev_log.jsonl.gz"]
        build([folder() / "log.jsonl.gz"], bundle, settings, Progress())
        replay(bundle, folder() / "dev_requests.jsonl.gz", decisions, history, frozenset(Layer))


def judge(truth: Truth, decisions: Path) -> Judged:
    """The decisions, compared with the truth."""
    lines = {line["interaction_id"]: line for line in map(json.loads, decisions.read_text().splitlines())}
    decided = {}
    for request in truth.requests:
        line = lines[request.interaction_id]
        text, failed = line["rewrite"], not truth.right(request, request.query)
        result = -1
        if text is not None:
            result = WRONG if not truth.right(request, text) else WIN if failed else NEEDLESS
        by_lookup = line["reason"] == Reason.KNOWN_REWRITE.value
        decided[request.interaction_id] = text, by_lookup, (request.user_id, failed, result)
    return Judged(decided)


def _counted(name: str, judged: Judged, online: Judged | None) -> dict[str, object]:
    """A variant's figures, under names that no other variant has."""
    total = figures(judged.outcomes)
    served = figures([outcome for _, by_lookup, outcome in judged.decided.values() if by_lookup])
    out: dict[str, object] = {
        f"reduction_{name}": round(total.reduction, 4),
        f"quality_{name}": asdict(total)
        | {"wins_per_harm": round(total.ratio, 2), "intervals": intervals(judged.outcomes)}
        | {"served_by_lookup": asdict(served) if served.requests else None},
    }
    if online is not None:
        changed = [i for i in judged.decided if judged.decided[i][0] != online.decided[i][0]]
        tell = lambda of: asdict(figures([of.decided[i][2] for i in changed]))  # noqa: E731
        out[f"decided_otherwise_{name}"] = {"before": tell(online), "after": tell(judged)} if changed else None
    return out


def main() -> None:
    names = sys.argv[1:] or list(VARIANTS)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise SystemExit(f"{unknown[0]}: name some of {', '.join(VARIANTS)}")
    truth, judged, rows = Truth(), {}, []
    for name in names:
        decide(VARIANTS[name], KEPT / f"{name}.jsonl")
        judged[name] = judge(truth, KEPT / f"{name}.jsonl")
        print(f"{name:20} {figures(judged[name].outcomes)}", flush=True)
        online = judge(truth, KEPT / "online.jsonl") if name != "online" and (KEPT / "online.jsonl").exists() else None
        found = _counted(name, judged[name], online)
        write_figures(f"quality {name}", "make bench-mining", found)
    for name, of in judged.items():
        total, spans = figures(of.outcomes), intervals(of.outcomes)
        lookups = sum(by_lookup for _, by_lookup, _ in of.decided.values())
        bound = "" if total.ratio >= BuildSettings().wins_per_harm else "below the bound"
        reduced = percent(total.reduction), span(spans["reduction"], as_percent=True)
        rows.append((name, *reduced, f"{total.ratio:.1f}", lookups, bound))
    columns = ("", "reduction", "95 %", "wins : harms", "by lookup", "")
    show("what the miners add, HabitBench's dev days", columns, rows)


if __name__ == "__main__":
    main()
