"""What one request costs, counted rather than timed: native calls, reads of the store, Python calls, memory.

Counts are the same on a busy machine and on an idle one, so that a second encoding or prediction that creeps in fails
here, long before anybody can see it in a latency. The bounds on Python calls and memory are about one and a half times
what is needed today: when a change brings them well down, bring the bounds down too.
"""

from __future__ import annotations

import random
import statistics
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import faiss
import onnxruntime
import pytest

from mining.reader import read_log
from ranker.model import RankerModel
from ranker.triage import Triage
from retriever.candidates import MAX_CANDIDATES
from retriever.interaction import Request
from retriever.personal_index import PersonalIndex
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Decision, Reason
from rewrite_service.loadtest import misspelt
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.store.growing_map import GrowingMap

USERS, ASKED, EXAMPLES = 8, 90, 15
DAY_MS = 24 * 3_600_000
MONTH_MS = 30 * DAY_MS
MOST_NAME_SEARCHES = 16
"""Searches for names in frames: a few kinds of names for each of the query's hypotheses."""


@dataclass
class Costs:
    """`counts`: by kind of call. `rows`: of the largest prediction."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0


@dataclass
class Counted:
    """A pipeline whose native calls and reads are counted."""

    pipeline: Pipeline
    costs: Costs

    def ask(self, request: Request) -> tuple[Decision, Counter[str]]:
        self.costs.counts.clear()
        decision = self.pipeline.rewrite(request)
        return decision, Counter(self.costs.counts)


def counting(method: Callable[..., Any], count: Callable[..., None]) -> Callable[..., Any]:
    def counted(*args: Any, **more: Any) -> Any:
        count(*args, **more)
        return method(*args, **more)

    return counted


@pytest.fixture(scope="module")
def counted(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    index, costs = bundle.knowledge.shared.index, Costs()
    kinds = {int(index._meaning.this): "search by meaning", int(index._sound.this): "search by sound"}

    def note(name: str) -> Callable[..., None]:
        def count(*args: Any, **more: Any) -> None:
            costs.counts[name] += 1

        return count

    def searched(index: faiss.Index, *args: Any, **more: Any) -> None:
        costs.counts[kinds.get(int(index.this), "search for names")] += 1

    def predicted(model: RankerModel, x: Any) -> None:
        costs.counts["ranker"] += 1
        costs.rows = max(costs.rows, len(x))

    with pytest.MonkeyPatch.context() as patch:
        for kind in [k for k in vars(faiss).values() if isinstance(k, type) and issubclass(k, faiss.Index)]:
            if "search" in vars(kind):
                patch.setattr(kind, "search", counting(kind.search, searched))
        for kind, name, count in (
            (onnxruntime.InferenceSession, "run", note("encoder")),
            (RankerModel, "predict", predicted),
            (Triage, "win", note("triage")),
            (PersonalIndex, "search", note("personal search")),
            (GrowingMap, "read", note("store")),
        ):
            patch.setattr(kind, name, counting(getattr(kind, name), count))
        store = EmbeddedStore(tmp_path_factory.mktemp("store"))
        pipeline = Pipeline(bundle, store, decision_cache_bytes=1 << 22)
        yield Counted(pipeline, costs)
        pipeline.close()


@pytest.fixture(scope="module")
def requests(counted: Counted, sample_log: Path) -> list[Request]:
    """What some users ask who have asked often, a month after the log's end: nothing in it came later. The users' rows
    are at hand."""
    turns = read_log([sample_log]).turns[-2000:]
    often = [user for user, _ in Counter(turn.request.user_id for turn in turns).most_common(USERS)]
    asked = [
        replace(t.request, interaction_id=f"asked-{number}", timestamp_ms=t.request.timestamp_ms + MONTH_MS)
        for number, t in enumerate(turns)
        if t.request.user_id in often
    ]
    for request in {request.user_id: request for request in asked}.values():
        counted.pipeline.rewrite(replace(request, timestamp_ms=request.timestamp_ms + DAY_MS))
    return asked[-ASKED:]


def never_heard(requests: list[Request], seed: int) -> list[Request]:
    rng = random.Random(seed)
    return [replace(request, query=misspelt(request.query, rng)) for request in requests]


def later(requests: list[Request], days: int) -> list[Request]:
    return [replace(request, timestamp_ms=request.timestamp_ms + days * DAY_MS) for request in requests]


def went(decision: Decision) -> str:
    """Which way a request was decided: "whole way", "fine" or "remembered"; "" where it was another."""
    if "remembered" in decision.stage_us:
        return "remembered"
    if decision.reason is Reason.QUERY_LOOKS_FINE:
        return "fine"
    return "whole way" if "predict" in decision.stage_us else ""


def test_the_whole_way_runs_each_native_part_once(counted: Counted, requests: list[Request]) -> None:
    counted.costs.rows = seen = 0
    for request in never_heard(requests, 1):
        decision, counts = counted.ask(request)
        if went(decision) == "whole way":
            seen += 1
            assert counts.pop("search for names", 0) <= MOST_NAME_SEARCHES
            assert counts == {
                "encoder": 1, "search by meaning": 1, "search by sound": 1, "personal search": 1, "triage": 1,
                "ranker": 1, "store": 1,
            }, request.query  # fmt: skip
    assert seen >= EXAMPLES
    assert 1 < counted.costs.rows <= MAX_CANDIDATES + 1, "the query and its candidates, in one prediction"


def test_a_text_met_before_is_not_encoded_again(counted: Counted, requests: list[Request]) -> None:
    seen = 0
    for request in never_heard(requests, 2):
        counted.ask(request)
        decision, counts = counted.ask(replace(request, timestamp_ms=request.timestamp_ms + DAY_MS))
        if went(decision) == "whole way":
            seen += 1
            assert counts["encoder"] == 0 and counts["ranker"] == 1
    assert seen >= EXAMPLES


def test_what_looks_fine_costs_one_small_prediction(counted: Counted, requests: list[Request]) -> None:
    seen = 0
    for request in later(requests, 2):
        decision, counts = counted.ask(request)
        if went(decision) == "fine":
            seen += 1
            assert counts == {"triage": 1, "store": 1}
    assert seen >= EXAMPLES


def test_what_is_remembered_costs_one_read_of_the_store(counted: Counted, requests: list[Request]) -> None:
    for request in later(requests, 4)[:EXAMPLES]:
        counted.ask(request)
        decision, counts = counted.ask(request)
        assert went(decision) == "remembered" and counts == {"store": 1}


def python_calls(work: Callable[[], Any]) -> int:
    """Calls of Python and C functions in this thread."""
    calls = 0

    def note(frame: FrameType, event: str, what: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most memory held at a time beyond what was held before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


MOST = {"whole way": (5400, 130), "fine": (720, 12), "remembered": (120, 10)}
"""Python calls, and kilobytes held at a time."""


@pytest.mark.parametrize("way", list(MOST))
def test_python_calls_and_memory_are_bounded(counted: Counted, requests: list[Request], way: str) -> None:
    for number, (measure, most) in enumerate(zip((python_calls, peak_bytes), MOST[way], strict=True)):
        asked = never_heard(requests, 5 + number) if way == "whole way" else later(requests, 6 + number)
        if way == "remembered":
            for request in asked:
                counted.pipeline.rewrite(request)
        decisions: list[Decision] = []
        costs = [measure(lambda r=r, to=decisions: to.append(counted.pipeline.rewrite(r))) for r in asked]
        costs = [cost for cost, decision in zip(costs, decisions, strict=True) if went(decision) == way]
        assert len(costs) >= EXAMPLES
        # The median: one request in many also makes something that the next ones find.
        usual = statistics.median(costs)
        assert usual <= most * (1 if measure is python_calls else 1000), f"{measure.__name__}: {usual}, at most {most}"
