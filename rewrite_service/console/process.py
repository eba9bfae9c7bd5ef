"""The console's process as seen by the one that started it: its sockets, its start, a new one where it ends, its end.

A process of its own, so that nothing that it does (pages, JSON, TLS of browsers, another bundle) takes time from the
event loop and the threads that serve, and nothing that happens to it happens to them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import structlog

from rewrite_service.console.inside import Inside
from rewrite_service.settings import Settings

_AGAIN_S = 2.0
"""Before a process that has ended is started anew."""
_BACKLOG = 64
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def counted_memory(cells: int) -> Any:
    """Shared memory for so many float64 cells of metrics, which the console reads without asking."""
    return multiprocessing.get_context("spawn").RawArray("d", cells)


class Console:
    """`place`: the server's place for bundles. `counted`: memory in which the processes count for the metrics, one of
    each. `inside`: by which it asks the serving process (see `door`)."""

    def __init__(self, place: Path, settings: Settings, counted: Sequence[Any]) -> None:
        """Opens the console's port. Raises OSError where it is taken, or the address is none of this machine's."""
        self.inside = Inside()
        self._place, self._settings, self._counted = place, settings, counted
        self._log = structlog.get_logger().bind()
        self._process: BaseProcess | None = None
        self._again_from = 0.0
        host, port = settings.console_host, settings.console_port
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def tend(self) -> None:
        """Starts the process, and starts it anew some seconds after it has ended. Call it from time to time."""
        if self._process is None:
            self._start()
            scheme = "https" if self._settings.tls_cert else "http"
            address = f"{scheme}://{self._settings.console_host}:{self.port}"
            self._log.info(f"console at {address}", console_address=address)
        elif self._process.exitcode is not None:
            if not self._again_from:
                self._log.error("the console ended; starting another", code=self._process.exitcode)
                self._again_from = time.monotonic() + _AGAIN_S
            elif time.monotonic() >= self._again_from:
                self._start()

    def stop(self, timeout_s: float) -> None:
        """Ends it; kills it where that takes longer."""
        if self._process is not None and self._process.exitcode is None:
            self._process.terminate()
            self._process.join(timeout_s)
            if self._process.exitcode is None:
                self._process.kill()
                self._process.join()
        self._socket.close()

    def _start(self) -> None:
        from rewrite_service.console.main import run

        self._again_from = 0.0
        # Spawned, not forked: gRPC's threads do not survive a fork. Signals are held back until it can end well.
        context = multiprocessing.get_context("spawn")
        given = (self._place, self._settings, self.inside, self._socket, list(self._counted), os.getpid())
        self._process = context.Process(target=run, args=given, name="console", daemon=False)
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

