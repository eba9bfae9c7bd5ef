"""Is a right text among the candidates, and how early: recall at 1, 5 and 20 of every way of finding candidates.

Over the dev requests that fail as they are, by what the benchmark's assistant makes of each candidate. Each way in its
own order: rows by the nearer of both cosines, completions by support and precision, compositions by cost.

usage: python -m benchmarks.quality.recall BUNDLE  (HABITBENCH: its folder)
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import Asked, Truth
from ranker.model import WIN
from retriever.candidates import Candidate
from rewrite_service.bundle import encoder_of, open_bundle

AT = (1, 5, 20)
_ROWS = lambda c: -max(c.meaning, c.sound, c.personal_repair, c.global_repair)  # noqa: E731
WAYS: dict[str, tuple[Callable[[Candidate], bool], Callable[[Candidate], float]]] = {
    "personal": (lambda c: c.personal is not None and c.personal.people > 0, _ROWS),
    "global": (lambda c: c.shared is not None, _ROWS),
    "completed": (lambda c: c.completion is not None, lambda c: -c.completion.support * c.completion.precision),
    "composed": (lambda c: c.composition is not None, lambda c: c.composition.cost),
    "recogniser's alternatives": (lambda c: c.hypothesis, lambda c: 0.0),
}


def _found(asked: Asked, belongs: Callable[[Candidate], bool], order: Callable[[Candidate], float]) -> int | None:
    """Rank of the first right candidate of one way, from 0; None where it has none."""
    theirs = [(order(c), i) for i, c in enumerate(asked.input.candidates) if i and belongs(c)]
    return next((rank for rank, (_, i) in enumerate(sorted(theirs)) if asked.right[i]), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="built on the benchmark's whole log")
    place = parser.parse_args().bundle
    bundle = open_bundle(place, encoder_of(place), 1 << 30)
    failed = [a for a in Truth().ask(bundle) if a.failed]
    rows, kept = [], {}
    for name, (belongs, order) in WAYS.items():
        ranks = [_found(a, belongs, order) for a in failed]
        recall = {k: sum(r is not None and r < k for r in ranks) / len(failed) for k in AT}
        rows.append((name, *(percent(v) for v in recall.values())))
        kept[name] = {f"recall@{k}": round(v, 4) for k, v in recall.items()}
    ranked = []
    for a in failed:
        order = np.argsort(-bundle.model.predict(a.x)[1:, WIN], kind="stable") + 1
        ranked.append(next((rank for rank, i in enumerate(order.tolist()) if a.right[i]), None))
    recall = {k: sum(r is not None and r < k for r in ranked) / len(failed) for k in AT}
    rows.append(("all, as ranked", *(percent(v) for v in recall.values())))
    kept["all, as ranked"] = {f"recall@{k}": round(v, 4) for k, v in recall.items()}
    show(f"right candidate found, of {len(failed)} failed dev requests", ("way", *(f"recall@{k}" for k in AT)), rows)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for a in failed:
        by_kind[a.kind].append(bool(a.right[1:].any()))
    show(
        "among all candidates, by kind",
        ("kind", "failed", "share with a right candidate"),
        [(kind, len(v), percent(sum(v) / len(v))) for kind, v in sorted(by_kind.items())],
    )
    kinds = {kind: {"failed": len(v), "share": round(sum(v) / len(v), 4)} for kind, v in sorted(by_kind.items())}
    keep("recall", {"failed": len(failed), "ways": kept, "kinds": kinds})


if __name__ == "__main__":
    main()
