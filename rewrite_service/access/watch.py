"""Files that are read anew when they change, while the server goes on serving: tokens and certificates.

A look is a `stat` of each file, once a second: it also sees files that are replaced through a link, as Kubernetes
does with secrets, where notices of the kernel are easily missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from rewrite_service.access.door import Access
from rewrite_service.access.tokens import read_tokens
from rewrite_service.errors import RewriteError

EVERY_S = 1.0
"""Seconds between two looks."""

_Stamp = tuple[int, int, int] | None


class Watched:
    """Some files and what takes them in. `take` reads them, and raises `RewriteError` where they cannot be used: then
    all stays as it was, and the log says so. `what`: what they are, for the log. The first poll takes them in, too:
    they may have changed since they were first read."""

    def __init__(self, what: str, paths: Sequence[Path], take: Callable[[], None]) -> None:
        self._what, self._paths, self._take = what, tuple(paths), take
        self._stamps: tuple[_Stamp, ...] | None = None
        self._log = structlog.get_logger().bind()

    def poll(self) -> bool:
        """Takes the files in if any has changed since the last time; whether one had."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self._take()
        except RewriteError as error:
            self._log.error(f"{self._what} not taken in; those before stay", message=str(error))
        except Exception as error:  # whatever it is, the next change must be seen
            self._log.error(f"{self._what} not taken in; those before stay", error=type(error).__name__)
        else:
            self._log.info(f"{self._what} taken in")
        return True

    def _look(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Renewable(Protocol):
    """Files that can be read anew, as `access.tls.Certificates`."""

    @property
    def paths(self) -> tuple[Path, ...]: ...

    def reload(self) -> None: ...


async def keep_current(access: Access, certificates: Renewable | None, tokens_file: Path | None) -> None:
    """Takes in what changes of tokens and certificates, within `EVERY_S` or at once on SIGHUP, until cancelled. Where
    there is nothing to watch, SIGHUP keeps what it means to any process."""
    watched: list[Watched] = []
    if tokens_file is not None:
        watched.append(Watched("tokens", [tokens_file], lambda: access.replace(read_tokens(tokens_file))))
    if certificates is not None:
        watched.append(Watched("certificates", certificates.paths, certificates.reload))
    if not watched:
        return
    now, loop = asyncio.Event(), asyncio.get_running_loop()
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(now.set))
    try:
        while True:
            now.clear()
            for files in watched:
                files.poll()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(now.wait(), EVERY_S)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the loop it would wake is about to end
