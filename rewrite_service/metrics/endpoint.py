"""The metrics as Prometheus reads them, over HTTP, from a thread of its own: no request waits for a scrape."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from itertools import accumulate

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from rewrite_service.metrics.catalogue import REGISTRY
from rewrite_service.metrics.cells import Counter, Gauge, Histogram, Metric, Registry, Text
from rewrite_service.settings import Settings

_GIVE_WAY_S = 0.0005
_log = structlog.get_logger()


class CellsCollector(Collector):
    """All metrics of `registry`, summed over `memories`: the cells of each process that counts."""

    def __init__(self, registry: Registry, memories: Sequence[memoryview[float]]) -> None:
        self._registry, self._memories = registry, memories

    def collect(self) -> Iterator[Family]:
        for metric in self._registry.metrics:
            yield _family(metric, self._memories)
            time.sleep(_GIVE_WAY_S)  # each takes less than a millisecond of Python: whoever waits to run goes before


def open_metrics(settings: Settings, memories: Sequence[memoryview[float]]) -> bool:
    """Tells the service's metrics, of all `memories` together, over HTTP until the process ends, if the settings have a
    port for them. False where that cannot be listened on; the log says why."""
    if settings.metrics_port is None:
        return True
    collected = CollectorRegistry(auto_describe=False)
    collected.register(CellsCollector(REGISTRY, memories))
    asked = f"{settings.metrics_host}:{settings.metrics_port}"
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host, collected)
    except OSError as error:
        _log.error(f"cannot serve metrics on {asked}: {error.strerror}; set another metrics_port or metrics_host")
        return False
    address = f"{settings.metrics_host}:{server.server_port}"
    _log.info(f"metrics at http://{address}/metrics", metrics_address=address)
    return True


def _family(metric: Metric, memories: Sequence[memoryview[float]]) -> Family:
    if isinstance(metric, Text):
        return _info(metric, memories)
    if isinstance(metric, Histogram):
        return _histogram(metric, memories)
    kind = CounterMetricFamily if isinstance(metric, Counter) else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.label_names)
    for key in metric.keys:
        values = [cells[metric.at(*key)] for cells in memories]
        family.add_metric(key, metric.merged(values) if isinstance(metric, Gauge) else sum(values))
    return family


def _histogram(metric: Histogram, memories: Sequence[memoryview[float]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.label_names)
    bounds = [repr(bound / metric.per) for bound in metric.bounds] + ["+Inf"]
    for key in metric.keys:
        at = metric.at(*key)
        cells = [sum(column) for column in zip(*(memory[at : at + metric.width] for memory in memories), strict=True)]
        family.add_metric(key, list(zip(bounds, accumulate(cells[:-1]), strict=True)), cells[-1] / metric.per)
    return family


def _info(metric: Text, memories: Sequence[memoryview[float]]) -> Family:
    """As a gauge of how many processes say so, of the usual name for such a metric."""
    family = GaugeMetricFamily(f"{metric.name}_info", metric.help, labels=metric.label_names)
    for value, count in Tally(filter(None, (metric.read(cells) for cells in memories))).items():
        family.add_metric((value,), count)
    return family
