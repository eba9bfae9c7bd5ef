"""A file of what users said, written whole or not at all, and for its owner alone."""

from __future__ import annotations

import fcntl
import gzip
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rewrite_service.exchange import sync


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` once all is written, and never if anything goes wrong; gzip by
    name (`.gz`), readable for its owner alone. What a killed process has left of its own is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.draft-"
    _remove_left(path.parent.glob(f"{prefix}*"))
    fd, draft = _locked_draft(path.parent, prefix)
    try:
        with os.fdopen(fd, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
            os.replace(draft, path)
    except BaseException:  # Ctrl-C as well
        Path(draft).unlink(missing_ok=True)
        raise
    sync(path.parent)


def _locked_draft(folder: Path, prefix: str) -> tuple[int, str]:
    while True:
        fd, draft = tempfile.mkstemp(prefix=prefix, dir=folder)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:  # nobody took it for one that was left, before it was locked
            return fd, draft
        os.close(fd)


def _remove_left(drafts: Iterable[Path]) -> None:
    for draft in drafts:
        try:
            with draft.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink(missing_ok=True)
        except OSError:
            continue  # its writer is at work, or has just put it in its place
