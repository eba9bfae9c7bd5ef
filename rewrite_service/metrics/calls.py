"""What is counted of one call, all in one place: some microseconds (`make bench-metrics`)."""

from __future__ import annotations

from rewrite_service.decision import Decision, Reason
from rewrite_service.errors import Overloaded, StoreError
from rewrite_service.metrics.catalogue import (
    BEST_PROBABILITY,
    DECISIONS,
    NO_LAYER,
    OTHER,
    REGISTRY,
    REQUEST_SECONDS,
    REQUESTS,
    SHED,
    SKIPPABLE,
    SKIPPED,
    STAGE_SECONDS,
    STAGES,
    STORE_ERRORS,
)

_WEIGHED = frozenset(
    {
        Reason.CONFIDENT,
        Reason.KNOWN_REWRITE,
        Reason.LEAVE_IS_BETTER,
        Reason.BELOW_THRESHOLD,
        Reason.BELOW_MARGIN,
        Reason.RETIRED,
        Reason.HOLD_OUT,
    }
)
_TOTAL = "total"  # which is the call's own time, told by method
_PLACE_OF_STAGE = {stage: STAGE_SECONDS.at(stage) for stage in STAGES}
_PLACE_OF_SKIPPED = {stage: SKIPPED.at(stage) for stage in SKIPPABLE}


def count_call(method: str, code: str, us: int, decision: Decision | None, error: BaseException | None) -> None:
    """Counts a call that ended. `method`: one of `METHODS`. `code`: name of a gRPC status. `us`: from its arrival, in
    microseconds. `decision`: what a Rewrite was answered, None for other methods or where there is none. `error`: what
    ended it."""
    request, seconds = REQUESTS.at(method, code), REQUEST_SECONDS.at(method)
    cells = REGISTRY.cells
    with REGISTRY.lock:
        cells[request] += 1.0
        REQUEST_SECONDS.add(cells, seconds, us)
        if decision is not None:
            _count_decision(cells, decision)
    if isinstance(error, Overloaded):
        SHED.inc(method)
    elif isinstance(error, StoreError):
        STORE_ERRORS.inc("write")


def _count_decision(cells: memoryview[float], decision: Decision) -> None:
    layer = NO_LAYER if decision.layer is None else decision.layer.value
    cells[DECISIONS.at(layer, decision.reason.value)] += 1.0
    if decision.reason in _WEIGHED:
        BEST_PROBABILITY.add(cells, BEST_PROBABILITY.start, decision.probability)
    for stage, us in decision.stage_us.items():
        if stage != _TOTAL:
            STAGE_SECONDS.add(cells, _PLACE_OF_STAGE.get(stage) or _PLACE_OF_STAGE[OTHER], us)
    for stage in decision.skipped:
        cells[_PLACE_OF_SKIPPED.get(stage) or _PLACE_OF_SKIPPED[OTHER]] += 1.0
