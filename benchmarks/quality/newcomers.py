"""People who were not in the log: builds without some people, and asks these people's dev requests, with the truth.

What they say during the dev days counts for them as it comes, as in service. Each person is left out once.

usage: python -m benchmarks.quality.newcomers      (HABITBENCH: its folder)
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from benchmarks.quality.tables import build_on, keep, percent, show, span
from benchmarks.quality.truth import Outcome, Truth, decide, figures, folder, intervals
from retriever.encoder import Encoder
from rewrite_service.bundle import open_bundle

FOLDS = 3


def fold_of(user: str) -> int:
    return zlib.crc32(user.encode()) % FOLDS


def main() -> None:
    truth, log = Truth(), folder() / "log.jsonl.gz"
    users = frozenset(r.user_id for r in truth.requests)
    outcomes: list[Outcome] = []
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory(prefix="query-rewrite-newcomers-") as place:
            build_on(log, lambda t, fold=fold: fold_of(t["user_id"]) != fold, Path(place))
            bundle = open_bundle(Path(place) / "bundle", Encoder(), 1 << 30)
            asked = truth.ask(bundle, users=frozenset(u for u in users if fold_of(u) == fold))
            outcomes += decide(asked, bundle.model, bundle.policy)
    total, spans = figures(outcomes), intervals(outcomes)
    row = (
        total.requests,
        total.failed,
        percent(total.reduction),
        span(spans["reduction"], as_percent=True),
        f"{total.ratio:.1f}",
        span(spans["ratio"]),
        percent(total.needless / total.requests),
    )
    columns = ("requests", "failed", "reduction", "95 %", "wins : harms", "95 %", "needless")
    show(f"people not in the log ({FOLDS} folds), dev days", columns, [row])
    counts = {name: getattr(total, name) for name in ("requests", "failed", "wins", "losses", "missed", "needless")}
    keep("newcomers", {"reduction": total.reduction, "wins_per_harm": total.ratio, **counts, "intervals": spans})


if __name__ == "__main__":
    main()
