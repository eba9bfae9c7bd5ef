"""What the guards of everybody's layer cost, on the dev days, with the truth: builds with k = 1, 2, 3 people before a
text is offered to others, and one where a person's turns count without bound and repairs that lead back stay.

usage: python -m benchmarks.quality.min_people [NAME ...]      (HABITBENCH: its folder; NAME: of builds; default: all)
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import RESULTS, keep, percent, show, span
from benchmarks.quality.truth import Truth, decide, figures, folder, intervals
from mining import tables
from rewrite_service import examples
from rewrite_service.build import BuildSettings, build
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.progress import Progress

BUILDS = {"k = 1": 1, "k = 2": 2, "k = 3": 3, "k = 2, a person unbounded": 2}


@contextmanager
def unbounded() -> Iterator[None]:
    """While it lasts, builds count every turn of everybody in full, and keep repairs that lead back."""
    kept = examples.collect_shared, tables.without_cycles
    examples.collect_shared = partial(tables.collect_shared, most_per_person=math.inf)
    tables.without_cycles = lambda repairs: repairs
    try:
        yield
    finally:
        examples.collect_shared, tables.without_cycles = kept


def judged(truth: Truth, min_people: int) -> dict[str, Any]:
    """Figures on the dev days of a build with so many people. `coverage`: share of the failed requests with a right
    candidate; `coverage_shared`: the same with everybody's layer alone."""
    with tempfile.TemporaryDirectory(prefix="query-rewrite-min-people-") as place:
        out = Path(place) / "bundle"
        built = build([folder() / "log.jsonl.gz"], out, replace(BuildSettings(), min_people=min_people), Progress(True))
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
        "reduction": total.reduction,
        "wins_per_harm": total.ratio,
        **{name: getattr(total, name) for name in ("requests", "failed", "wins", "losses", "missed", "needless")},
        "intervals": spans,
        "threshold": built.learned.policy.threshold,
        "on_the_log": {name: built.learned.report[name] for name in ("reduction", "wins_per_harm")},
    }


def main() -> None:
    names = sys.argv[1:] or list(BUILDS)
    truth, results = Truth(), {}
    for name in names:
        if "unbounded" in name:
            with unbounded():
                results[name] = judged(truth, BUILDS[name])
        else:
            results[name] = judged(truth, BUILDS[name])
        print(name, results[name], flush=True)
    columns = ("build", "shared texts", "coverage", "everybody's", "reduction", "95 %", "wins : harms", "95 %")
    rows = [
        (
            name,
            r["shared_texts"],
            percent(r["coverage"]),
            percent(r["coverage_shared"]),
            percent(r["reduction"]),
            span(r["intervals"]["reduction"], as_percent=True),
            f"{r['wins_per_harm']:.1f}",
            span(r["intervals"]["ratio"]),
        )
        for name, r in results.items()
    ]
    show("guards of everybody's layer, dev days", columns, rows)
    path = RESULTS / "min-people.json"
    known = json.loads(path.read_text())["results"] if path.is_file() else {}
    keep("min-people", {"results": known | results})


if __name__ == "__main__":
    main()
