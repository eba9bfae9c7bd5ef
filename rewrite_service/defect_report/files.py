"""Writes a report's folder, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import orjson

from rewrite_service.defect_report.findings import Report
from rewrite_service.defect_report.machine import as_record
from rewrite_service.defect_report.page import render
from rewrite_service.errors import NotDone
from rewrite_service.exchange import drafted_folder, sync

PAGE, RECORD = "index.html", "report.json"


def check_place(out: Path) -> None:
    """Raises NotDone where `out` is neither free nor a report: nothing else is ever replaced."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise NotDone(f"{out}: is no folder; name another --out")
    if out.is_dir() and (other := sorted({path.name for path in out.iterdir()} - {PAGE, RECORD})):
        raise NotDone(f"{out}: holds {other[0]}, which is of no report; name another --out, or remove it yourself")


def write_report(report: Report, out: Path) -> Path:
    """Puts the report into the folder `out`, in place of one that is there, readable by its owner alone; returns the
    page's path. Raises OSError, NotDone."""
    out = out.absolute()
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.draft-"
    for left in out.parent.glob(f"{prefix}*"):  # of one that was killed
        shutil.rmtree(left, ignore_errors=True)
    record = orjson.dumps(as_record(report), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with drafted_folder(out) as draft:
        for name, raw in ((PAGE, render(report).encode("utf-8", "replace")), (RECORD, record)):
            with open(os.open(draft / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(raw)
            sync(draft / name)
        sync(draft)
    return out / PAGE
