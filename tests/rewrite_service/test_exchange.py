"""Two directories change names in one step; while they do, a reader always finds one of them in place."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rewrite_service.exchange import by_renaming, exchange


def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize("swap", [exchange, by_renaming])
def test_each_gets_the_others_name(tmp_path: Path, swap: Callable[[Path, Path], None]) -> None:
    a, b = pair(tmp_path)
    swap(a, b)
    assert ((a / "who").read_text(), (b / "who").read_text()) == ("b", "a")


def test_a_reader_never_finds_the_place_empty(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    missing, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            if not (b / "who").exists():
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(500):
        exchange(a, b)
    stop.set()
    reader.join()
    assert not missing


def test_a_missing_side_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    with pytest.raises(OSError):
        exchange(tmp_path / "nowhere", b)
    assert (b / "who").read_text() == "b" and (a / "who").read_text() == "a"


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_a_crash_between_the_renames_puts_back_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    a, b = pair(tmp_path)
    rename = os.rename

    def rename_or_crash(source: Path, target: Path) -> None:
        if source == a and target == b:
            raise end
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_or_crash)
    with pytest.raises(end):
        by_renaming(a, b)
    assert (b / "who").read_text() == "b" and (a / "who").read_text() == "a"
