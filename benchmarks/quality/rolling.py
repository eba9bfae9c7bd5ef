"""The same settings on other days: builds on the days before a cut, judged on the week after it, at several cuts.

Judged by the log's own signals, since only the dev days have a truth: rather too low than too high (see
docs/architecture.md). Intervals: bootstrap over users.

usage: python -m benchmarks.quality.rolling        (HABITBENCH: its folder)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import orjson

from benchmarks.quality.tables import build_on, keep, percent, show, span
from benchmarks.quality.truth import folder
from mining.reader import read_log
from mining.schema import to_record
from retriever.evidence import DAY_MS
from rewrite_service.decision import Layer
from rewrite_service.evaluation import evaluate, intervals, summary

CUT_DAYS = (24, 31, 38)
DAYS_AFTER = 7


def main() -> None:
    log = folder() / "log.jsonl.gz"
    turns = read_log([log]).turns
    start = turns[0].request.timestamp_ms
    rows, kept = [], []
    for day in CUT_DAYS:
        cut, end = start + day * DAY_MS, start + (day + DAYS_AFTER) * DAY_MS
        with tempfile.TemporaryDirectory(prefix="query-rewrite-rolling-") as place:
            built = build_on(log, lambda t, cut=cut: t["timestamp_ms"] < cut, Path(place))
            later = Path(place) / "later.jsonl"
            after = [t for t in turns if cut <= t.request.timestamp_ms < end]
            later.write_bytes(b"".join(orjson.dumps(to_record(t), option=orjson.OPT_APPEND_NEWLINE) for t in after))
            cases = evaluate(Path(place) / "bundle", [later], frozenset(Layer)).cases
        total, spans = summary(cases), intervals(cases)
        expected = built.learned.report
        rows.append(
            (
                f"days 0 to {day - 1}",
                f"{day} to {day + DAYS_AFTER - 1}",
                total["requests"],
                total["failed"],
                percent(total["reduction"]),
                span(spans["reduction"], as_percent=True),
                f"{total['wins_per_harm']:.1f}",
                span(spans["wins_per_harm"]),
                percent(total["needless"] / total["requests"]),
                f"{percent(expected['reduction'])} at {expected['wins_per_harm']:.1f}",
            )
        )
        kept.append({"cut_day": day, **total, "intervals": spans, "expected_at_build": expected["reduction"]})
    columns = ("learned from", "judged on", "requests", "failed", "reduction", "95 %", "wins : harms", "95 %")
    show("rolling evaluation, by the log's own signals", (*columns, "needless", "expected by the build"), rows)
    keep("rolling", {"cuts": kept})


if __name__ == "__main__":
    main()
