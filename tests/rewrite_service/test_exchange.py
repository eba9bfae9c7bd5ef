"""Two directories change names in one step; while they do, a reader always finds one of them in place."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rewrite_service.exchange import exchange


def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    return tmp_path / "a", tmp_path / "b"


def test_each_gets_the_others_name(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    exchange(a, b)
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
