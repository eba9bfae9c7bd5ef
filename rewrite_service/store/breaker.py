"""A circuit breaker: what fails again and again is not waited for any more, until it works again.

Closed, calls go through. After `failures` in a row, or once failures in a row have cost `lost_s`, it opens: calls are
refused at once. While it is open a thread tries by itself, so that no request has to be the one that finds out
(half-open, in the words of Nygard's *Release It!*); the first try that goes well closes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from rewrite_service.errors import StoreError

_log = structlog.get_logger()


class Breaker:
    """Thread-safe. `name` is for the log."""

    def __init__(self, name: str, probes: Probes, *, failures: int, lost_s: float) -> None:
        self._name, self._probes, self._failures, self._lost_s = name, probes, failures, lost_s
        self._lock = threading.Lock()
        self._failed, self._cost_s = 0, 0.0
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    @contextmanager
    def guard(self, faults: tuple[type[Exception], ...], probe: Callable[[], object]) -> Iterator[None]:
        """For one call. Raises `StoreError` where the breaker is open. `faults`: what tells that the other side is ill,
        and not that it was asked something wrong. `probe`: a call to try while the breaker is open."""
        if self._open:
            raise StoreError(f"{self._name} failed lately and is not asked again yet")
        began = time.monotonic()
        try:
            yield
        except faults:
            self._fault(time.monotonic() - began, probe)
            raise
        if self._failed:
            with self._lock:
                self._failed, self._cost_s = 0, 0.0

    def trip(self, probe: Callable[[], object]) -> None:
        """Opens it, until `probe` goes well."""
        with self._lock:
            if self._open:
                return
            self._open = True
        _log.warning("store cut off", store=self._name)
        self._probes.add(self, probe)

    def close(self) -> None:
        with self._lock:
            self._open, self._failed, self._cost_s = False, 0, 0.0
        _log.info("store back", store=self._name)

    def _fault(self, cost_s: float, probe: Callable[[], object]) -> None:
        with self._lock:
            self._failed += 1
            self._cost_s += cost_s
            enough = self._failed >= self._failures or self._cost_s >= self._lost_s
        if enough:
            self.trip(probe)


class Probes:
    """One thread, while there is anything to try: each open breaker's probe every `every_s` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._waiting: dict[Breaker, Callable[[], object]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, breaker: Breaker, probe: Callable[[], object]) -> None:
        with self._lock:
            self._waiting[breaker] = probe
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._work, name="store-probes", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Ends the thread; waits for the probe under way."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            with self._lock:
                waiting = list(self._waiting.items())
                if not waiting:
                    self._thread = None
                    return
            for breaker, probe in waiting:
                if self._stop.is_set():
                    return
                with suppress(Exception):  # whatever is wrong with it, it is not well yet
                    probe()
                    with self._lock:
                        del self._waiting[breaker]
                    breaker.close()
