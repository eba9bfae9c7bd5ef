"""Goals, labels and failure points of HabitBench's dev days by a transformer over dialogues, in the place of LightGBM;
and what it owes to its parts: pretraining without labels, and learning all tasks at once. Needs the extra `train`.

Goals are judged as in `benchmarks.labels.goals`, failure points as in `benchmarks.labels.failure_points`, but that
LightGBM learns here from the same days as the transformer.

usage: python -m benchmarks.labels.transformer   (HABITBENCH: its folder; some minutes)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.labels.dialogue_transformer import Told, TransformerModel, points_of
from benchmarks.labels.failure_points import gain, macro, scores, spread
from benchmarks.labels.goals import PRECISION, Bench, by_users, figures_of, show_all
from benchmarks.labels.point_truth import true_points
from benchmarks.labels.results import write_figures
from benchmarks.labels.transformer_training import ALL, FAILURE_POINTS, GOALS, Lessons, Task, until
from benchmarks.mining.dev_dialogues import People
from benchmarks.quality.tables import show
from mining.defects import assess
from mining.dialogue_examples import Person
from mining.labels.confidence import lowest
from mining.labels.failure_points import FailurePoints, learn_failure_points
from mining.labels.goal_model import Links
from mining.labels.goals import goals_of, judged
from mining.labels.labelling import SEED, Labeller, held_out_from
from mining.labels.trial import tried
from mining.labels.turn_label import POINTS, FailurePoint, TurnLabel
from mining.labels.usual import Usual
from mining.reactions import Reactions
from mining.sessions import sessions
from retriever.encoder import Encoder
from retriever.interaction import Interaction
from retriever.vector_cache import CachedEncoder

COMMAND = "python -m benchmarks.labels.transformer"
WAY = "_transformer"
COLUMNS = (
    "told_by", "pretrained", "learning_cpu_s", "goal_segmentation_f1", "goal_segmentation_f1_all_turns",
    "goal_segmentation_f1_interrupted", "goal_evaluation_accuracy", "goal_evaluation_accuracy_interrupted",
    "failure_point_macro_f1_repaired", "failure_point_macro_f1_all",
)  # fmt: skip
_CACHE_BYTES = 1 << 28
Points = Mapping[str, FailurePoint]
"""By interaction id."""


@dataclass(frozen=True)
class Asked:
    """What a model has said of everybody's turns, by user."""

    told: Mapping[str, Told]

    @classmethod
    def of(cls, model: TransformerModel, people: People, reactions: Reactions) -> Asked:
        return cls({user: model.told(turns, assess(turns, reactions)) for user, turns in people.items()})

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        return self.told[turns[0].request.user_id].links


@dataclass(frozen=True)
class PointJudge:
    """Where first attempts of the dev days failed, against the truth."""

    bench: Bench
    lessons: Lessons
    truth: Points
    sets: Mapping[str, Sequence[str]]
    user_of: Mapping[str, str]

    @classmethod
    def of(cls, bench: Bench, lessons: Lessons) -> PointJudge:
        dev = bench.truth.dev
        truth = true_points(dev.truth)
        sets = {"repaired": [i for i in truth if i in dev.rephrase], "all": list(truth)}
        return cls(bench, lessons, truth, sets, {r.interaction_id: r.user_id for r in dev.truth.requests})

    def by_transformer(self, asked: Asked) -> Points:
        how = self.lessons.evidence
        return self._points(lambda user, turns, evidence: points_of(asked.told[user], turns, evidence, how))

    def by_lightgbm(self, model: FailurePoints) -> Points:
        return self._points(lambda user, turns, evidence: model.of(turns, evidence))

    def _points(self, of: Any) -> Points:
        out = {}
        for user, turns in self.bench.kinds[""].items():
            for turn, row in zip(turns, of(user, turns, assess(turns, self.bench.mined.reactions)), strict=True):
                out[turn.request.interaction_id] = POINTS[int(row.argmax())]
        return out

    def figures(self, told: Points) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, ids in self.sets.items():
            out[f"failure_point_macro_f1_{name}"] = round(macro(scores(self.truth, told, ids)), 4)
            out[f"failure_point_macro_f1_{name}_95"] = spread(self.truth, told, ids, self.user_of)
        return out

    def gains(self, one: Points, other: Points) -> dict[str, list[float]]:
        return {name: gain(self.truth, one, other, ids, self.user_of) for name, ids in self.sets.items()}


def labels_of(asked: Asked, reactions: Reactions) -> Any:
    """Goals alone, as labels: nothing is known of how right they are, and nothing of failure points."""

    def of(turns: Sequence[Interaction]) -> list[TurnLabel]:
        links = asked.links(turns)
        goals = goals_of(turns, judged(turns, reactions, links), links)
        out = {i: TurnLabel((), goal.turns[0], goal.reached, 1.0) for goal in goals for i in goal.turns}
        return [out[i] for i in range(len(turns))]

    return of


def by_own_head(bench: Bench, people: People, asked: Asked) -> float:
    """Accuracy of goal evaluation where the transformer also says which answers served."""
    goals = right = 0
    for user, turns in people.items():
        links, served = asked.told[user].links, asked.told[user].served
        evidence = [
            e if turn.interpretation is None or i not in served else replace(e, defect=1 - served[i], goal=None)
            for i, (turn, e) in enumerate(zip(turns, assess(turns, bench.mined.reactions), strict=True))
        ]
        reached = {i: goal.reached for goal in goals_of(turns, evidence, links) for i in goal.turns}
        for span in sessions(turns):
            for i in span:
                if bench.truth.dev.asked(turns[i]):
                    goals += 1
                    right += reached[i] == bench.truth.reached(turns, i, span)
    return round(right / max(1, goals), 4)


@dataclass(frozen=True)
class Part:
    """One way to train the transformer. `goals`, `points`: what it tells."""

    name: str
    pretrained: bool
    tasks: frozenset[Task]
    by_dialogue_alone: bool = False

    @property
    def goals(self) -> bool:
        return self.tasks >= GOALS

    @property
    def points(self) -> bool:
        return self.tasks >= FAILURE_POINTS


WHOLE = Part("all at once", True, ALL)
PARTS = (
    WHOLE,
    Part("all at once", False, ALL),
    Part("goals alone", True, GOALS),
    Part("goals alone", False, GOALS),
    Part("failure points alone", True, FAILURE_POINTS),
    Part("failure points alone", False, FAILURE_POINTS),
    Part("all at once, by the dialogue alone", True, ALL, by_dialogue_alone=True),
)


def part_figures(part: Part, bench: Bench, points: PointJudge, asked: Mapping[str, Asked]) -> dict[str, Any]:
    """`asked`: by kind of dialogues."""
    out: dict[str, Any] = {}
    for kind, of in asked.items() if part.goals else ():
        judgements = by_users(bench.truth, bench.kinds[kind], labels_of(of, bench.mined.reactions))
        out |= figures_of(kind, judgements)
    return out | (points.figures(points.by_transformer(asked[""])) if part.points else {})


def labels_at(
    bench: Bench, model: TransformerModel, known: Mapping[str, Person], asked: Mapping[str, Asked]
) -> dict[str, Any]:
    """Of the whole transformer what `benchmarks.labels.goals` has of LightGBM: also labels, and how right they are."""
    reactions, cut = bench.mined.reactions, held_out_from(bench.before)
    confidence, found = tried(known, reactions, model, cut, SEED)
    points = learn_failure_points(known.values(), Usual.of(bench.mined))
    figures: dict[str, Any] = {}
    for kind, of in asked.items():
        labeller = Labeller(reactions, points, of, confidence, found)
        figures |= bench.figures(WAY, kind, labeller.labels, lowest(found, PRECISION))[0]
        figures[f"goal_evaluation_accuracy{WAY}_own_head{kind}"] = by_own_head(bench, bench.kinds[kind], of)
    show_all(figures, [f"{WAY}{kind}" for kind in asked])
    print("evaluation by its own head:", *(v for key, v in figures.items() if "own_head" in key))
    return figures


def main() -> None:
    bench = Bench.open()
    reactions, cut, usual = bench.mined.reactions, held_out_from(bench.before), Usual.of(bench.mined)
    known = {user: (turns, assess(turns, reactions)) for user, turns in bench.before.items()}
    encode = CachedEncoder(Encoder(), Encoder.DIMENSION, _CACHE_BYTES).encode
    began = time.process_time()
    lessons = Lessons.of(known, usual, encode, cut, SEED)
    begun = lessons.pretrained()
    prepared = time.process_time() - began
    points = PointJudge.of(bench, lessons)
    lightgbm = points.by_lightgbm(learn_failure_points(until(known, cut).values(), usual))
    parts: list[dict[str, Any]] = [{"told_by": "LightGBM, turn by turn"} | points.figures(lightgbm)]
    figures: dict[str, Any] = {}
    told: dict[Part, Points] = {}
    for part in PARTS:
        began = time.process_time()
        model = lessons.trained(part.tasks, begun if part.pretrained else None, part.by_dialogue_alone)
        took = time.process_time() - began
        kinds = {k: Asked.of(model, people, reactions) for k, people in bench.kinds.items() if part.goals or not k}
        said = {"told_by": part.name, "pretrained": part.pretrained, "learning_cpu_s": round(took)}
        parts.append(said | part_figures(part, bench, points, kinds))
        print(parts[-1], flush=True)
        if part.points:
            told[part] = points.by_transformer(kinds[""])
        if part is WHOLE:
            figures[f"goal_learning_cpu_s{WAY}"] = round(prepared + took)
            figures |= labels_at(bench, model, known, kinds)
            found = points.figures(told[part])
            figures |= {key.replace("macro_f1", f"macro_f1{WAY}"): value for key, value in found.items()}
            figures[f"failure_point_gain_of_lightgbm_over{WAY}_95"] = points.gains(lightgbm, told[part])
    show("what the transformer's parts are worth", COLUMNS, [[of.get(c, "") for c in COLUMNS] for of in parts])
    write_figures("a transformer over dialogues", COMMAND, figures | {"transformer_parts": parts})


if __name__ == "__main__":
    main()
