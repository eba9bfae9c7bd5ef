"""Which stages a request goes through: where it ends early, and what is left out when a part is slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from mining.reader import read_log
from retriever.interaction import Request
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Layer, Reason
from rewrite_service.errors import StoreError
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore

SLOW_S = 0.5
BUDGET_S = 0.35
SEARCHED = {"encode", "retrieve", "features", "predict"}


class Made:
    """A pipeline whose store and encoder can be made slow, or the store broken."""

    def __init__(self, bundle_dir: Path, place: Path) -> None:
        self.bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
        self.store_s = self.encoder_s = 0.0
        self.broken = False
        self.asked = 0
        self.store = EmbeddedStore(place)
        for name in ("fetch", "user", "revision"):
            setattr(self.store, name, self._slowed(getattr(self.store, name), "store_s"))
        encoder = self.bundle.knowledge.meaning._encoder
        encoder.encode = self._slowed(encoder.encode, "encoder_s")
        self.pipeline = Pipeline(self.bundle, self.store)
        self.pipeline.warm()

    def _slowed(self, method: Callable[..., Any], which: str) -> Callable[..., Any]:
        def slow(*args: Any) -> Any:
            if self.broken and which == "store_s":
                raise StoreError("broken")
            self.asked += which == "store_s"
            time.sleep(getattr(self, which))
            return method(*args)

        return slow

    def ask(self, request: Request, **more: Any):
        return self.pipeline.rewrite(request, time.monotonic() + BUDGET_S, **more)


@pytest.fixture
def made(bundle_dir: Path, tmp_path: Path) -> Iterator[Made]:
    it = Made(bundle_dir, tmp_path)
    yield it
    it.pipeline.close()


@pytest.fixture(scope="module")
def requests(sample_log: Path) -> list[Request]:
    return [turn.request for turn in read_log([sample_log]).turns[-400:]]


def test_what_looks_fine_ends_before_anything_is_searched(made: Made, requests: list[Request]) -> None:
    decisions = [made.pipeline.rewrite(request) for request in requests]
    fine = [d for d in decisions if d.reason is Reason.QUERY_LOOKS_FINE]
    assert 0.4 * len(decisions) < len(fine) < 0.95 * len(decisions), "most requests, and not all"
    for d in decisions:
        assert (not SEARCHED & set(d.stage_us)) == (d.reason is Reason.QUERY_LOOKS_FINE)
    threshold = made.bundle.triage.threshold
    assert all(d.text is None and d.win < threshold for d in fine)
    assert sum(d.is_rewrite for d in decisions) > 10


def test_explain_says_what_rewrite_says_and_shows_the_candidates_all_the_same(
    made: Made, requests: list[Request]
) -> None:
    seen = set()
    for request in requests[:150]:
        decision, explained = (made.pipeline.rewrite(request, explain=explain) for explain in (False, True))
        assert (decision.text, decision.reason, decision.win) == (explained.text, explained.reason, explained.win)
        if decision.reason is Reason.QUERY_LOOKS_FINE and explained.candidates:
            assert explained.candidates[0].layer is None and explained.candidates[0].contributions
            seen.add(decision.reason)
    assert seen


def rewritten(made: Made, requests: list[Request], layer: Layer) -> list[Request]:
    """Requests of different users that are rewritten out of a layer."""
    found = {r.user_id: r for r in requests if made.pipeline.rewrite(r).layer is layer}
    assert len(found) > 3
    return list(found.values())


def test_a_slow_store_costs_the_personal_layer_and_comes_back(made: Made, requests: list[Request]) -> None:
    request = rewritten(made, requests, Layer.PERSONAL)[0]
    made.store_s = SLOW_S
    decisions = [made.ask(replace(request, interaction_id=str(i))) for i in range(16)]
    later = decisions[6:]
    assert all(d.layer is not Layer.PERSONAL and d.reason is not Reason.INTERNAL_ERROR for d in later)
    passed_over = [d for d in later if d.reason is not Reason.OUT_OF_TIME and "personal" in d.skipped]
    # Now and then it is tried again, and a machine that is busy may be late by itself.
    assert len(passed_over) >= len(later) // 2, [d.stage_us for d in later]
    waited_us = min(d.stage_us["personal"] for d in passed_over)
    assert waited_us < SLOW_S * 1e6 / 2, "not waited for any more"
    made.store_s = 0.0
    until(lambda: not made.ask(request).skipped)


def test_a_slow_encoder_costs_the_meaning_alone(made: Made, requests: list[Request]) -> None:
    usual = rewritten(made, requests, Layer.PERSONAL)
    made.encoder_s = SLOW_S
    chosen = [usual[i % len(usual)] for i in range(40)]
    asked = []
    for i, request in enumerate(chosen):
        decision = made.ask(replace(request, query=f"{request.query} zz{i}"))
        asked.append((decision, time.monotonic()))
    searched = [(d, at) for d, at in asked if "retrieve" in d.stage_us]
    later = searched[len(searched) // 2 :]
    without = [d for d, _ in later if "meaning" in d.skipped]
    seconds = later[-1][1] - later[0][1]
    assert len(without) > 5 and len(later) - len(without) <= 1 + seconds, "tried again at most once a second"
    # Of a machine that stops for a moment one may be late by itself, and one behind it.
    assert sum(d.reason is Reason.OUT_OF_TIME for d in without) <= 2


def test_a_broken_store_costs_the_personal_layer_and_nothing_is_raised(made: Made, requests: list[Request]) -> None:
    request = requests[0]
    made.broken = True
    decision = made.ask(request)
    assert "personal" in decision.skipped and decision.reason is not Reason.INTERNAL_ERROR


def test_a_pipeline_whose_place_was_taken_ends_what_it_has_begun(made: Made, requests: list[Request]) -> None:
    made.pipeline.retire()
    made.pipeline._costs.observe("load", 10.0)  # so that the user is left for later
    decision = made.ask(replace(requests[0], user_id="somebody it has not met"))
    assert "personal" in decision.skipped and decision.reason is not Reason.INTERNAL_ERROR


def test_the_store_is_asked_once_and_its_time_is_told(made: Made, requests: list[Request]) -> None:
    pipeline = Pipeline(made.bundle, made.store, decision_cache_bytes=1 << 20)
    made.store_s = 0.2
    request = replace(requests[-1], interaction_id="new", timestamp_ms=requests[-1].timestamp_ms + 3600_000)
    made.asked = 0
    decisions = [pipeline.rewrite(request) for _ in range(2)]
    assert made.asked == len(decisions)
    assert decisions[0].stage_us["personal"] >= 200_000 and decisions[1].stage_us["remembered"] >= 200_000
    pipeline._loader.close(wait=True)
