"""Several server processes on one port: the kernel deals connections out among them (SO_REUSEPORT).

Python runs one thread at a time, so a second core needs a second process. What is big is mapped from files, and so is
in memory once; what is stored is shared. The supervisor itself serves nothing: it holds the port, starts the workers,
starts anew those that die, and ends them all when it is told to. It never listens, and a worker does only once it can
answer: so whoever connects is dealt to one that serves.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from contextlib import ExitStack
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mining.child_process import end_with
from rewrite_service.logs import configure_logging
from rewrite_service.metrics.catalogue import REGISTRY, RESTARTS, WORKERS
from rewrite_service.metrics.cells import new_cells
from rewrite_service.metrics.endpoint import open_metrics
from rewrite_service.muster import Muster, OneOfSeveral
from rewrite_service.server import END_SIGNALS, Exit, no_console, serve
from rewrite_service.settings import Settings

if TYPE_CHECKING:
    from rewrite_service.console.inside import Inside
    from rewrite_service.console.process import Console

_RESTART_PAUSE_S = 0.5
_RETRY_PAUSE_S = 5.0
"""Before a worker that could not serve is tried again, beside others that do."""
_SETTLED_S = 5.0
"""A worker that lived so long had started; one that ends sooner would only do so again."""
_CANNOT_SERVE = (Exit.BUNDLE, Exit.ADDRESS, Exit.STORE)
"""What a worker says that has never served, however long it took to find out."""
_GRACE_S = 5.0
"""Beyond the time for draining, before a worker that does not end is killed."""


def supervise(bundle: Path, settings: Settings) -> int:
    """Serves with `settings.workers` processes until SIGTERM or SIGINT. Returns the exit code (see `Exit`): the
    workers' own where they end by themselves."""
    configure_logging(settings)
    log = structlog.get_logger().bind()
    with ExitStack() as held:
        ports: dict[str, int] = {}
        for setting in ("port", "http_port"):
            if (port := getattr(settings, setting)) is None:
                continue
            try:
                holder = held.enter_context(hold_port(settings.host, port))
            except OSError as error:
                log.error(f"cannot listen on {settings.host}:{port}: {error.strerror}; set another {setting} or host")
                return Exit.ADDRESS
            ports[setting] = holder.getsockname()[1]
        bound = settings.model_copy(update=ports)
        supervisor = _Supervisor(bundle, bound, log)
        try:
            supervisor.open_console()
        except OSError as error:
            log.error(no_console(settings, error))
            return Exit.ADDRESS
        if not open_metrics(bound, supervisor.memories):
            return Exit.ADDRESS
        return supervisor.run()


def hold_port(host: str, port: int) -> socket.socket:
    """A socket bound to the port, not listening, that other processes of this user may bind beside. Raises OSError,
    also where anybody else has the port: a second server on it is a mistake, and should hear of it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        address = alone.getsockname()
        alone.listen(1)  # two that only bind do not get in each other's way
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held


class _Supervisor:
    def __init__(self, bundle: Path, settings: Settings, log: structlog.typing.FilteringBoundLogger) -> None:
        self._bundle, self._settings, self._log = bundle, settings, log
        # Spawned, not forked: gRPC's threads do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        # Where each worker counts, whatever becomes of it; the file behind it has no name, so that none is left behind.
        self._counted = [self._context.RawArray("d", REGISTRY.size) for _ in range(settings.workers)]
        self._muster = Muster(self._context, settings.workers)
        WORKERS.set(settings.workers)
        self._workers: dict[int, tuple[BaseProcess, float]] = {}
        self._replaced: set[int] = set()
        self._stopping = False
        self._console: Console | None = None

    def open_console(self) -> None:
        """Opens its port, where settings have one. Raises OSError."""
        if self._settings.console_port is not None:
            from rewrite_service.console.process import Console

            self._console = Console(self._bundle.absolute(), self._settings, self._counted)

    def run(self) -> int:
        for ending in END_SIGNALS:
            signal.signal(ending, self._stop)
        if self._settings.tokens_file is not None or self._settings.tls_cert is not None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # workers inherit it, and look at their files every second
        self._log.info("starting workers", workers=self._settings.workers, port=self._settings.port)
        for number in range(self._settings.workers):
            self._start(number)
        while self._workers and not self._stopping:
            wait([process.sentinel for process, _ in self._workers.values()], timeout=0.2)
            if self._console is not None and not self._stopping:
                self._console.tend()
            for number, (process, started) in list(self._workers.items()):
                if process.exitcode is None or self._stopping:
                    continue
                young = time.monotonic() - started < _SETTLED_S
                cannot_serve = process.exitcode in _CANNOT_SERVE or (young and process.exitcode > 0)
                if cannot_serve:
                    self._log.error("a worker cannot serve", worker=number, code=process.exitcode)
                if cannot_serve and number not in self._replaced:
                    self._end()
                    return process.exitcode
                # One that takes another's place may meet a bundle that is broken by now: the others serve on without.
                self._log.error("a worker ended; starting another", worker=number, code=process.exitcode)
                RESTARTS.inc()
                REGISTRY.forget_state(new_cells(REGISTRY, self._counted[number]))
                self._rest(_RETRY_PAUSE_S if cannot_serve else _RESTART_PAUSE_S)
                self._replaced.add(number)
                if not self._stopping:
                    self._start(number)
        return self._end()

    @property
    def memories(self) -> list[memoryview[float]]:
        """What the workers and this process count, for the metrics."""
        return [REGISTRY.cells, *(new_cells(REGISTRY, counted) for counted in self._counted)]

    def _start(self, number: int) -> None:
        # What an operator says goes through files that all workers look at, so one of them is enough to take it.
        settings = self._settings if number == 0 else self._settings.model_copy(update={"admin_port": None})
        inside = self._console.inside if self._console is not None and number == 0 else None
        process = self._context.Process(
            target=_work,
            args=(self._bundle, settings, os.getpid(), self._counted[number], self._muster, number, inside),
            name=f"worker-{number}",
        )
        # A worker inherits what is held back, and takes it once it can end as it should: told to stop while it still
        # starts, or by a Ctrl-C that reaches all of a terminal's processes, it ends like any other.
        resource_tracker.ensure_running()  # which holds nothing back when it is done, so it comes first
        before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._workers[number] = process, time.monotonic()

    def _rest(self, seconds: float) -> None:
        """Waits, unless it is told to stop."""
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.1)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _end(self) -> int:
        """Lets the workers drain; kills those that do not. The greatest of their exit codes, 0 where all went well."""
        for process, _ in self._workers.values():
            if process.exitcode is None:
                process.terminate()
        if self._console is not None:
            self._console.stop(_GRACE_S)
        end = time.monotonic() + self._settings.drain_seconds + _GRACE_S
        for number, (process, _) in self._workers.items():
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                self._log.error("a worker does not end; it is killed", worker=number)
                process.kill()
                process.join()
        self._log.info("workers stopped")
        codes = [process.exitcode for process, _ in self._workers.values()]
        return max((Exit.FAILED if code is None or code < 0 else code for code in codes), default=Exit.OK)


def _work(
    bundle: Path, settings: Settings, parent: int, counted: Any, muster: Muster, number: int, inside: Inside | None
) -> None:
    # Whatever happens to the supervisor, a kill -9 included, no worker stays behind.
    if not end_with(parent, signal.SIGTERM):
        return
    raise SystemExit(serve(bundle, settings, OneOfSeveral(new_cells(REGISTRY, counted), muster, number, inside)))
