"""People who were not in the log: builds without some people, and asks these people's dev requests, with the truth.

Two ways: as newcomers, of whom only what they say during the dev days counts, as it comes; and with a past, their turns
of the log being given as history, which nothing was learned from but their own personal layer. Each person is left out
once.

usage: python -m benchmarks.quality.newcomers      (HABITBENCH: its folder)
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from benchmarks.quality.tables import build_on, keep, percent, show, span
from benchmarks.quality.truth import Outcome, Truth, decide, figures, folder, intervals
from mining.reader import read_log
from rewrite_service.bundle import encoder_of, open_bundle

FOLDS = 3
WAYS = ("newcomers", "with a past of their own")


def fold_of(user: str) -> int:
    return zlib.crc32(user.encode()) % FOLDS


def main() -> None:
    truth, log = Truth(), folder() / "log.jsonl.gz"
    past = read_log([log]).turns
    users = frozenset(r.user_id for r in truth.requests)
    outcomes: dict[str, list[Outcome]] = {way: [] for way in WAYS}
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory(prefix="query-rewrite-newcomers-") as place:
            build_on(log, lambda t, fold=fold: fold_of(t["user_id"]) != fold, Path(place))
            bundle = open_bundle(Path(place) / "bundle", encoder_of(Path(place) / "bundle"), 1 << 30)
            left_out = frozenset(u for u in users if fold_of(u) == fold)
            for way, known in zip(WAYS, ((), past), strict=True):
                asked = truth.ask(bundle, users=left_out, past=known)
                outcomes[way] += decide(asked, bundle.model, bundle.policy)
    rows, kept = [], {}
    for way in WAYS:
        total, spans = figures(outcomes[way]), intervals(outcomes[way])
        rows.append(
            (
                way,
                total.requests,
                total.failed,
                percent(total.reduction),
                span(spans["reduction"], as_percent=True),
                f"{total.ratio:.1f}",
                span(spans["ratio"]),
                percent(total.needless / total.requests),
            )
        )
        kept[way] = total.record() | {"intervals": spans}
    columns = ("people", "requests", "failed", "reduction", "95 %", "wins : harms", "95 %", "needless")
    show(f"people not in the log ({FOLDS} folds), dev days", columns, rows)
    keep("newcomers", kept)


if __name__ == "__main__":
    main()
