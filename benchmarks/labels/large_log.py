"""Labels and failure points of a log that is larger than HabitBench's: how right they are, and what they cost.

The log is the sample log with more people: what they said and wanted is known of every turn, though the log does not
tell. `query-rewrite label` is run as anybody runs it; memory is what it and its children hold together at most. A label
is right if the turn had failed, and both its text, as the sample's assistant takes it, and its interpretation are what
was wanted; coverage is of the failed turns after which the same session gave what was wanted.

usage: python -m benchmarks.labels.large_log [--people 400]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.labels.failure_points import macro, scores
from benchmarks.labels.results import write_figures
from benchmarks.mining.growth import pss_mib
from benchmarks.quality.tables import show
from mining.defects import assess
from mining.labels.failure_points import learn_failure_points
from mining.labels.turn_label import POINTS, FailurePoint
from mining.labels.usual import Usual
from mining.mined import mine_people
from mining.sessions import by_user, sessions
from retriever.global_layer import MIN_PEOPLE
from retriever.interaction import Interaction, Interpretation
from rewrite_service.sample.assistant import interpret
from rewrite_service.sample.conversation import Turn
from rewrite_service.sample.generate import turns as sample_turns
from rewrite_service.sample.generate import write
from rewrite_service.sample.people import Person, inhabitants

PEOPLE, DAYS, SEED = 400, 30, 7
_SAMPLE_S = 0.25


@dataclass(frozen=True)
class Truth:
    """What the sample log does not tell, by interaction id."""

    told: Mapping[str, Turn]
    people: Mapping[str, Person]

    @classmethod
    def of(cls, people: int) -> Truth:
        told = {turn.interaction.request.interaction_id: turn for turn in sample_turns(people, DAYS, SEED)}
        return cls(told, {person.id: person for person in inhabitants(people, SEED)})

    def means(self, turn: Turn, text: str) -> Interpretation | None:
        """What the assistant makes of a text where and by whom `turn` was said."""
        request = turn.interaction.request
        here = request.context
        return interpret(text, self.people[request.user_id].household, here.room, here.has_screen)

    def point(self, turn: Turn) -> FailurePoint:
        """As `benchmarks.labels.point_truth`; what would have been understood rightly, and was answered by an error,
        failed at the result."""
        if turn.right:
            return FailurePoint.CORRECT
        heard, said = self.means(turn, turn.interaction.request.query), self.means(turn, turn.said)
        if heard == turn.wish.meaning:
            return FailurePoint.RESULT
        if heard != said:
            return FailurePoint.ASR
        wrong_intent = said is None or said.intent != turn.wish.meaning.intent
        return FailurePoint.NLU if wrong_intent else FailurePoint.ENTITY_RESOLUTION

    def reached(self, people: Mapping[str, Sequence[Interaction]]) -> set[str]:
        """The failed turns after which the same session gave what was wanted."""
        out = set()
        for turns in people.values():
            for span in sessions(turns):
                later: set[Interpretation] = set()
                for i in reversed(span):
                    turn = self.told[turns[i].request.interaction_id]
                    if turn.right:
                        later.add(turn.wish.meaning)
                    elif turn.wish.meaning in later:
                        out.add(turns[i].request.interaction_id)
        return out

    def right(self, label: Mapping[str, Any]) -> bool:
        turn = self.told[label["interaction_id"]]
        made = Interpretation(label["intent"], tuple(sorted(label["slots"].items())))
        return not turn.right and made == turn.wish.meaning == self.means(turn, label["text"])


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def labelled(log: Path, out: Path) -> dict[str, Any]:
    """Runs the command: its wall seconds, seconds of CPU, and peak memory."""
    command = [sys.executable, "-m", "rewrite_service.cli", "label", "--quiet", "--log", str(log), "--out", str(out)]
    began, before, peak = time.monotonic(), children_cpu_s(), 0.0
    with subprocess.Popen(command) as run:
        while run.poll() is None:
            peak = max(peak, pss_mib(run.pid))
            time.sleep(_SAMPLE_S)
    if run.returncode:
        raise SystemExit(f"query-rewrite label failed with {run.returncode}")
    return {
        "label_s": round(time.monotonic() - began),
        "label_cpu_s": round(children_cpu_s() - before),
        "label_peak_mib": round(peak),
    }


def judged_labels(truth: Truth, people: Mapping[str, Sequence[Interaction]], out: Path) -> dict[str, Any]:
    labels = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    wanted = truth.reached(people)
    right = [label["interaction_id"] for label in labels if truth.right(label)]
    return {
        "labels": len(labels),
        "labels_wanted": len(wanted),
        "label_precision": round(len(right) / max(1, len(labels)), 4),
        "label_coverage": round(len(wanted & set(right)) / max(1, len(wanted)), 4),
    }


def judged_points(truth: Truth, people: Mapping[str, Sequence[Interaction]]) -> dict[str, Any]:
    """Learned and told in this process, on one core."""
    began = time.process_time()
    mined = mine_people(people, MIN_PEOPLE)
    assessed = [(turns, assess(turns, mined.reactions)) for turns in people.values()]
    mining = time.process_time() - began
    began = time.process_time()
    model = learn_failure_points(assessed, Usual.of(mined))
    learning = time.process_time() - began
    began = time.process_time()
    told = {
        turn.request.interaction_id: POINTS[int(row.argmax())]
        for turns, evidence in assessed
        for turn, row in zip(turns, model.of(turns, evidence), strict=True)
    }
    telling = time.process_time() - began
    true = {name: truth.point(turn) for name, turn in truth.told.items()}
    repaired = truth.reached(people)
    out: dict[str, Any] = {
        "points_mining_cpu_s": round(mining),
        "points_learning_cpu_s": round(learning),
        "points_telling_us_a_turn": round(1e6 * telling / len(told)),
    }
    for name, ids in (("all", list(true)), ("repaired", sorted(repaired))):
        of = scores(true, told, ids)
        out |= {f"failure_point_macro_f1_{name}": round(macro(of), 4), f"failure_points_{name}": of}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=PEOPLE)
    given = parser.parse_args()
    truth = Truth.of(given.people)
    people = by_user(turn.interaction for turn in truth.told.values())
    with tempfile.TemporaryDirectory(prefix="query-rewrite-large-") as place:
        log, out = Path(place) / "log.jsonl.gz", Path(place) / "labels.jsonl"
        turns = write(log, given.people, DAYS, SEED)
        figures = {"people": given.people, "turns": turns} | labelled(log, out) | judged_labels(truth, people, out)
    print(figures, flush=True)
    points = judged_points(truth, people)
    rows = [(name, value) for name, value in (figures | points).items() if not isinstance(value, dict)]
    show("labels of a large log", ("", ""), rows)
    for name in ("all", "repaired"):
        of = points[f"failure_points_{name}"]
        show(f"failure points, {name}", ("point", *of["correct" if name == "all" else "asr"]),
             [(point, *each.values()) for point, each in of.items()])  # fmt: skip
    command = f"python -m benchmarks.labels.large_log --people {given.people}"
    write_figures("a large log", command, {"large_log": figures | points})


if __name__ == "__main__":
    main()
