"""`query-rewrite validate`, on the command line."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mining.log_check import Report

_SHOWN_CHARS = 200


def validate(
    log: Annotated[list[Path], typer.Argument(help="Interaction log: JSON lines (plain or gzip) or Parquet. Several.")],
    max_malformed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of malformed lines above which build stops.")
    ] = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    show_texts: Annotated[
        bool, typer.Option("--show-texts", help="Print the example lines too. They hold what users said.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Check interaction logs: what is malformed, by field, and what is odd. Reads line by line, logs of any size.

    Exits with 0 where `build` can use them, with 1 where not (or there are warnings, with `--strict`).

    Example: `query-rewrite validate var/sample.jsonl.gz`

    Example: `query-rewrite validate --json --strict monday.parquet tuesday.jsonl.gz`
    """
    from mining.log_check import EXAMPLES, LogCheck
    from mining.reader import LogError, stream_records
    from rewrite_service.progress import Progress

    check = LogCheck(time.time_ns() // 1_000_000)
    raw_lines: dict[tuple[str, int], str] = {}
    unreadable: list[str] = []
    with Progress(quiet or as_json).task("checking") as step:
        for path in log:
            try:
                for number, record, raw in stream_records(path):
                    step(1)
                    if not check.add(str(path), number, record) and show_texts and len(raw_lines) < 1000 * EXAMPLES:
                        raw_lines[str(path), number] = raw[:_SHOWN_CHARS].decode("utf-8", "replace").strip()
            except (LogError, OSError) as error:
                unreadable.append(str(error))
    report = check.report(max_malformed)
    warnings = [finding for finding in report.findings if finding.warning]
    usable = not unreadable and report.turns > 0 and not any(f.name == "malformed" for f in warnings)
    if as_json:
        import orjson

        print(orjson.dumps(_as_json(report, unreadable, usable, raw_lines)).decode())
    else:
        _print(report, unreadable, usable, raw_lines)
    raise typer.Exit(0 if usable and not (strict and warnings) else 1)


def _as_json(
    report: Report, unreadable: list[str], usable: bool, raw_lines: dict[tuple[str, int], str]
) -> dict[str, Any]:
    from dataclasses import asdict

    out = asdict(report) | {"unreadable": unreadable, "usable": usable}
    for fault in out["faults"]:
        fault["examples"] = [
            {"file": file, "line": line} | ({"text": raw_lines[file, line]} if (file, line) in raw_lines else {})
            for file, line in fault["examples"]
        ]
    return out


def _print(report: Report, unreadable: list[str], usable: bool, raw_lines: dict[tuple[str, int], str]) -> None:
    from rewrite_service.logs import printable

    about = "" if report.exact else "about "
    print(f"{report.lines} lines: {report.turns} turns of {about}{report.users} users, {report.malformed} malformed")
    if report.first_ms is not None and report.last_ms is not None:
        print(f"from {_day(report.first_ms)} to {_day(report.last_ms)}; {about}{report.duplicates} duplicates")
        print("filled in: " + ", ".join(f"{name} {share:.0%}" for name, share in report.filled.items()))
    for fault in report.faults:
        where = ", ".join(f"{file} line {line}" for file, line in fault.examples)
        print(f"malformed  {fault.count} x {fault.field}: {fault.rule} ({where})")
        for place in fault.examples:
            if place in raw_lines:
                print(f"           {printable(raw_lines[place])}")
    for finding in report.findings:
        print(f"{'warning' if finding.warning else 'note':9}  {finding.message}")
    for problem in unreadable:
        print(f"error      {problem}")
    print("build can use it" if usable else "build cannot use it")


def _day(stamp_ms: int) -> str:
    return datetime.fromtimestamp(stamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
