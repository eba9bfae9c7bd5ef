"""Which turns pursue one goal, whether and where it was reached, and what failed turns should have been: how right this
is told on HabitBench's dev days, where the truth is known (`benchmarks.labels.goal_truth`), by LightGBM on pairs of
turns, and by rules. All is learned from the log alone, the threshold too; the truth only judges.
`benchmarks.labels.transformer` adds a third way.

usage: python -m benchmarks.labels.goals   (HABITBENCH: its folder)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.labels.goal_truth import Counts, GoalTruth
from benchmarks.labels.results import write_figures
from benchmarks.mining.dev_dialogues import DevDialogues, People
from benchmarks.quality.tables import percent, show
from benchmarks.quality.truth import Truth, folder
from mining.defects import assess
from mining.labels.confidence import Threshold, lowest
from mining.labels.goal_model import Links
from mining.labels.goals import links_of_repairs
from mining.labels.label_stage import ASR, NLU, failed_at, uses
from mining.labels.labelling import Labeller, learn_labeller
from mining.labels.turn_label import TurnLabel
from mining.mined import Mined, mine_people
from mining.reactions import Reactions
from mining.reader import read_log
from mining.sessions import by_user, sessions
from retriever.global_layer import MIN_PEOPLE
from retriever.interaction import Interaction
from retriever.normalise import normalise

COMMAND = "python -m benchmarks.labels.goals"
PRECISION = 0.98
PRECISIONS = (0.95, 0.97, PRECISION, 0.99)
BANDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
DRAWS = 400
SHOWN = (
    "goal_segmentation_f1", "goal_segmentation_f1_all_turns", "goal_evaluation_accuracy", "label_precision",
    "label_coverage", "labels",
)  # fmt: skip


@dataclass(frozen=True)
class RuleLinks:
    """The rules' verdicts as links."""

    reactions: Reactions

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        return links_of_repairs(assess(turns, self.reactions))


@dataclass(frozen=True, slots=True)
class Given:
    """A label that was given to a first attempt: what it is sure of, whether text and interpretation are right, whether
    the attempt had failed; and whether the words that it trains with are what was said, word by word: of a pair for a
    recogniser `transcript`, of words with their meaning `words` (None: it is none)."""

    probability: float
    text: bool
    meaning: bool
    failed: bool
    transcript: bool | None
    words: bool | None

    @property
    def right(self) -> bool:
        return self.text and self.meaning and self.failed


@dataclass
class Judged:
    """What a way comes to for one user, or for several summed."""

    strict: Counts
    everything: Counts
    goals: int = 0
    told: int = 0
    wanted: int = 0
    labels: tuple[Given, ...] = ()

    @classmethod
    def summed(cls, of: Iterable[Judged]) -> Judged:
        out = cls(Counts(), Counts())
        for one in of:
            out.strict, out.everything = out.strict + one.strict, out.everything + one.everything
            out.goals, out.told, out.wanted = out.goals + one.goals, out.told + one.told, out.wanted + one.wanted
            out.labels += one.labels
        return out

    @property
    def evaluation(self) -> float:
        return self.told / max(1, self.goals)

    def precision(self, least: float) -> tuple[float, float, int]:
        """Of the labels from a probability on: the share that are right, coverage, and how many."""
        chosen = [g for g in self.labels if g.probability >= least]
        right = sum(g.right for g in chosen)
        return right / max(1, len(chosen)), right / max(1, self.wanted), len(chosen)


def judged(truth: GoalTruth, turns: Sequence[Interaction], labels: Sequence[TurnLabel]) -> Judged:
    """One user's labels against the truth."""
    out = Judged(truth.segmentation(turns, labels, False), truth.segmentation(turns, labels, True))
    given = []
    for span in sessions(turns):
        for i in span:
            if not truth.dev.asked(turns[i]):
                continue
            reached = truth.reached(turns, i, span)
            out.goals += 1
            out.told += labels[i].reached == reached
            out.wanted += reached is not None and reached != i
            correction = labels[i].correction
            if correction is not None:
                text, meaning = truth.right(turns, i, correction)
                use = uses(turns[i].request.query, correction.text, failed_at(labels[i])[0])
                said, heard = truth.said(turns[i]), normalise(turns[i].request.query)
                transcript = said == correction.text if ASR in use else None
                words = said == heard if NLU in use else None
                given.append(Given(correction.probability, text, meaning, reached != i, transcript, words))
    out.labels = tuple(given)
    return out


Way = Callable[[Sequence[Interaction]], Sequence[TurnLabel]]
Judgements = Mapping[str, Judged]
"""By user."""


def by_users(truth: GoalTruth, people: People, way: Way) -> dict[str, Judged]:
    return {user: judged(truth, turns, way(turns)) for user, turns in people.items()}


def interval(of: Mapping[str, Judged], figure: Callable[[Judged], float]) -> list[float]:
    """95 % of `DRAWS` samples of users, drawn with replacement."""
    rng, users = np.random.default_rng(0), sorted(of)
    drawn = [
        figure(Judged.summed(of[users[i]] for i in rng.integers(0, len(users), len(users)))) for _ in range(DRAWS)
    ]
    return [round(float(v), 4) for v in np.quantile(drawn, (0.025, 0.975))]


def figures_of(name: str, of: Mapping[str, Judged]) -> dict[str, Any]:
    whole = Judged.summed(of.values())
    return {
        f"goal_segmentation_f1{name}": round(whole.strict.f1, 4),
        f"goal_segmentation_f1{name}_95": interval(of, lambda j: j.strict.f1),
        f"goal_segmentation_f1_all_turns{name}": round(whole.everything.f1, 4),
        f"goal_segmentation_turns_left_out{name}": whole.strict.unknown,
        f"goal_evaluation_accuracy{name}": round(whole.evaluation, 4),
        f"goal_evaluation_accuracy{name}_95": interval(of, lambda j: j.evaluation),
        f"goal_evaluation_goals{name}": whole.goals,
    }


def labels_of(name: str, of: Mapping[str, Judged], chosen: Threshold | None) -> dict[str, Any]:
    """Labels at the threshold that was chosen; all of them without one."""
    whole, least = Judged.summed(of.values()), 0.0 if chosen is None else chosen.least
    precision, coverage, count = whole.precision(least)
    out: dict[str, Any] = {
        f"label_precision{name}": round(precision, 4),
        f"label_precision{name}_95": interval(of, lambda j: j.precision(least)[0]),
        f"label_coverage{name}": round(coverage, 4),
        f"label_coverage{name}_95": interval(of, lambda j: j.precision(least)[1]),
        f"labels{name}": count,
        f"labels_wanted{name}": whole.wanted,
    }
    if chosen is not None:
        out[f"label_precision_estimated{name}"] = round(chosen.precision, 4)
        out[f"label_precision_at_least{name}"] = round(chosen.at_least, 4)
        out[f"label_coverage_estimated{name}"] = round(chosen.coverage, 4)
        for what in ("transcript", "words"):
            said = [getattr(g, what) for g in whole.labels if g.probability >= least]
            known = [exact for exact in said if exact is not None]
            out[f"label_{what}{name}"] = len(known)
            out[f"label_{what}_exact{name}"] = round(sum(known) / max(1, len(known)), 4)
    return out


def show_honesty(labeller: Labeller, of: Mapping[str, Mapping[str, Judged]]) -> None:
    """The log's own estimates beside what the truth says."""
    rows = []
    for precision in PRECISIONS:
        chosen = lowest(labeller.found, precision)
        if chosen is None:
            rows.append((f"{precision:g}", "none", *[""] * (1 + 2 * len(of))))
            continue
        said = f"{percent(chosen.precision)}, at least {percent(chosen.at_least)}", percent(chosen.coverage)
        measured = [Judged.summed(j.values()).precision(chosen.least)[:2] for j in of.values()]
        rows.append((f"{precision:g}", f"{chosen.least:.3f}", *said, *(percent(v) for pair in measured for v in pair)))
    kinds = [f"{what}{kind}" for kind in of for what in ("right", "coverage")]
    show("what --precision leaves", ("asked", "threshold", "estimated", "coverage", *kinds), rows)
    bands = []
    labels = [Judged.summed(by_user_.values()).labels for by_user_ in of.values()]
    for low, high in pairwise(BANDS):
        row: list[Any] = [f"{low:g} to {high:g}"]
        for given in labels:
            inside = [g.right for g in given if low <= g.probability < high or g.probability == high == BANDS[-1]]
            row += [len(inside), percent(sum(inside) / len(inside)) if inside else ""]
        bands.append(row)
    show("labels by their probability", ("probability", *[f"{w}{k}" for k in of for w in ("labels", "right")]), bands)


@dataclass(frozen=True)
class Bench:
    """What every way is judged by, and what it may learn from: the log's turns, what was mined of them, and the moment
    from which on they are held out. `kinds`: dev days as they are, and interrupted."""

    before: People
    mined: Mined
    truth: GoalTruth
    kinds: Mapping[str, People]

    @classmethod
    def open(cls) -> Bench:
        truth = Truth()
        before = by_user(read_log([folder() / "log.jsonl.gz"]).turns)
        everybody = by_user([*(t for turns in before.values() for t in turns), *truth.history])
        users = sorted({turn.request.user_id for turn in truth.history})
        dev = DevDialogues(truth, {user: everybody[user] for user in users})
        kinds = {"": dev.people, "_interrupted": dev.interrupted()}
        return cls(before, mine_people(before, MIN_PEOPLE), GoalTruth(dev), kinds)

    def figures(self, way: str, kind: str, label: Way, chosen: Threshold | None) -> tuple[dict[str, Any], Judgements]:
        """Of one way on one kind of dialogues, with keys that end in both."""
        of = by_users(self.truth, self.kinds[kind], label)
        name = f"{way}{kind}"
        return figures_of(name, of) | labels_of(name, of, chosen), of


def show_all(figures: Mapping[str, Any], names: Iterable[str]) -> None:
    rows = [(name[1:] or "pairs", *(figures[f"{key}{name}"] for key in SHOWN)) for name in names]
    show("goals and labels", ("by", *SHOWN), rows)


def main() -> None:
    bench = Bench.open()
    started = time.monotonic()
    labeller = learn_labeller(bench.before, bench.mined, print)
    figures: dict[str, Any] = {"goal_learning_s": round(time.monotonic() - started)}
    rules = replace(labeller, goals=RuleLinks(bench.mined.reactions))
    chosen = lowest(labeller.found, PRECISION)
    judged_ = {}
    for kind in bench.kinds:
        found, judged_[kind] = bench.figures("", kind, labeller.labels, chosen)
        figures |= found | bench.figures("_rules", kind, rules.labels, None)[0]
    show_all(figures, [f"{way}{kind}" for kind in bench.kinds for way in ("", "_rules")])
    show_honesty(labeller, judged_)
    write_figures("goals", COMMAND, figures)


if __name__ == "__main__":
    main()
