"""What the guards of everybody's layer cost, on the dev days, with the truth: builds with k = 1, 2, 3 people before a
text is offered to others, and one where a person's turns count without bound and repairs that lead back stay.

usage: python -m benchmarks.quality.min_people [--coverage] [NAME ...]      (HABITBENCH: its folder)
    NAME: of builds; default: all. --coverage: only how often the right text is found, without training any ranker.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import RESULTS, keep
from benchmarks.quality.truth import Truth, decide, figures, folder, intervals
from mining import mined, tables
from mining.engines import stages, sums
from mining.reader import read_log
from mining.sessions import by_user
from retriever.encoder import Encoder
from retriever.interaction import Interaction
from retriever.vector_cache import CachedEncoder
from rewrite_service import examples
from rewrite_service.assemble import assemble
from rewrite_service.build import BuildSettings, build
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.log_mining import EngineSettings
from rewrite_service.pipeline import before
from rewrite_service.progress import Progress
from rewrite_service.replay import in_time
from rewrite_service.user_state import RECENT_TURNS

BUILDS = {"k = 1": 1, "k = 2": 2, "k = 3": 3, "k = 2, a person unbounded": 2}


@contextmanager
def unbounded() -> Iterator[None]:
    """While it lasts, builds of one process count every turn of everybody in full, and keep repairs that lead back."""
    everything = partial(tables.collect_shared, most_per_person=math.inf)
    changes = [
        (mined, "collect_shared", everything),
        (tables, "without_cycles", lambda repairs: repairs),
        (sums, "without_cycles", lambda repairs: repairs),
        (stages, "weight_of", lambda own: 1.0),
        (stages, "MOST_PER_PERSON", math.inf),
    ]
    kept = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def covered(truth: Truth, log: Sequence[Interaction], meaning: CachedEncoder, min_people: int) -> dict[str, Any]:
    """Only what needs no ranker: how often a right text is among the candidates, and with everybody's layer alone."""
    knowledge = examples.learn_knowledge(by_user(log), meaning, min_people)
    failed = found = found_shared = 0
    past = by_user(log)
    for event in in_time(truth.requests, truth.history):
        if isinstance(event, list):
            for turn in event:
                past.setdefault(turn.request.user_id, []).append(turn)
            continue
        if truth.right(event, event.query):
            continue
        failed += 1
        turns = past.get(event.user_id, [])
        there = [
            any(truth.right(event, c.text) for c in made.candidates)
            for own in (knowledge.personal_layer(turns), None)
            if (made := assemble(event, before(turns[-RECENT_TURNS:], event), own, knowledge)) is not None
        ]
        found, found_shared = found + any(there[:1]), found_shared + any(there[1:])
    return {
        "min_people": min_people,
        "shared_texts": len(knowledge.shared),
        "failed": failed,
        "coverage": found / failed,
        "coverage_shared": found_shared / failed,
    }


def judged(truth: Truth, min_people: int) -> dict[str, Any]:
    """Figures on the dev days of a build with so many people. `coverage`: share of the failed requests with a right
    candidate; `coverage_shared`: the same with everybody's layer alone."""
    with tempfile.TemporaryDirectory(prefix="query-rewrite-min-people-") as place:
        out = Path(place) / "bundle"
        settings, here = replace(BuildSettings(), min_people=min_people), EngineSettings(processes=1)
        built = build([folder() / "log.jsonl.gz"], out, settings, Progress(True), engine=here)
        bundle = open_bundle(out, encoder_of(out), 1 << 30)
        asked, shared = truth.ask(bundle), truth.ask(bundle, personal=False)
        outcomes = decide(asked, bundle.model, bundle.policy)
        texts = len(bundle.knowledge.shared)
    total, spans = figures(outcomes), intervals(outcomes)
    found = lambda some: sum(bool(a.right.any()) for a in some if a.failed) / total.failed  # noqa: E731
    return {
        "min_people": min_people,
        "shared_texts": texts,
        "coverage": found(asked),
        "coverage_shared": found(shared),
        **total.record(),
        "intervals": spans,
        "threshold": built.learned.policy.threshold,
        "on_the_log": {name: built.learned.report[name] for name in ("reduction", "wins_per_harm")},
    }


def main() -> None:
    given = sys.argv[1:]
    only_coverage = "--coverage" in given
    names = [name for name in given if name != "--coverage"] or list(BUILDS)
    truth, results = Truth(), {}
    log = read_log([folder() / "log.jsonl.gz"]).turns
    meaning = CachedEncoder(Encoder(), Encoder.DIMENSION, 1 << 30)
    for name in names:
        with unbounded() if "unbounded" in name else nullcontext():
            k = BUILDS[name]
            results[name] = covered(truth, log, meaning, k) if only_coverage else judged(truth, k)
        print(name, results[name], flush=True)
    part = "min-people-coverage" if only_coverage else "min-people"
    path = RESULTS / f"{part}.json"
    known = json.loads(path.read_text())["results"] if path.is_file() else {}
    keep(part, {"results": known | results})


if __name__ == "__main__":
    main()
