"""Looks once a second at what is a state and no event: calls under way, caches, bundle, memory, processor time."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from rewrite_service.logs import error_fields
from rewrite_service.metrics import catalogue as c
from rewrite_service.metrics.cells import Counter

_log = structlog.get_logger()

if TYPE_CHECKING:
    from rewrite_service.servicer import RewriteServicer

EVERY_S = 1.0

Reading = Callable[[], None]


class Follower:
    """Lets counters follow totals that something else keeps: each reading adds what came since the one before. A total
    that fell began anew (a bundle was swapped), and all of it counts."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], float] = {}

    def follow(self, counter: Counter, total: float, *labels: str) -> None:
        key = (counter.name, *labels)
        last = self._last.get(key, 0.0)
        self._last[key] = total
        counter.inc(*labels, by=total - last if total >= last else total)


class Sampler:
    """Calls the readings once a second, each some microseconds long, on the event loop. One that fails is tried again;
    the log says so once."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings
        self._failed: set[Reading] = set()

    async def run(self) -> None:
        """Until cancelled, or at once done where there is nothing to look at; a last look when cancelled."""
        try:
            while self._readings:
                self.sample()
                await asyncio.sleep(EVERY_S)
        finally:
            self.sample()

    def sample(self) -> None:
        for reading in self._readings:
            try:
                reading()
            except Exception as error:
                if reading not in self._failed:
                    _log.error("a metric cannot be read", **error_fields(error, log_texts=False))
                self._failed.add(reading)


def process_reading() -> Reading:
    """Of this process: memory, processor time, garbage collections."""
    follower = Follower()
    page = os.sysconf("SC_PAGE_SIZE")

    def read() -> None:
        with open("/proc/self/statm", "rb") as file:
            c.RESIDENT_BYTES.set(int(file.read().split()[1]) * page)
        follower.follow(c.CPU_SECONDS, time.process_time())
        for generation, figures in enumerate(gc.get_stats()):
            follower.follow(c.COLLECTIONS, figures["collections"], str(generation))
            follower.follow(c.COLLECTED, figures["collected"], str(generation))

    return read


def service_reading(servicer: RewriteServicer) -> Reading:
    """Of the service: calls under way, caches, bundle. Caches that the catalogue does not name are left out."""
    follower = Follower()

    def read() -> None:
        for gate, inside in servicer.in_flight.items():
            c.IN_FLIGHT.set(inside, gate)
        if (pipeline := servicer.pipeline) is None:
            return
        c.BUNDLE.set(pipeline.bundle_version)
        c.BUNDLE_MADE.set(pipeline.bundle_made_at.timestamp())
        for cache, figures in pipeline.cache_figures().items():
            if cache in c.CACHES:
                follower.follow(c.CACHE_HITS, figures["hits"], cache)
                follower.follow(c.CACHE_MISSES, figures["misses"], cache)
                c.CACHE_BYTES.set(figures["bytes"], cache)
                c.CACHE_ENTRIES.set(figures["entries"], cache)

    return read
