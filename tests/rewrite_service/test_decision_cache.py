"""Decisions given again: to whom, for how long, and to nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from retriever.interaction import Channel, Context, Interaction, Request
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Decision, Layer, Reason
from rewrite_service.decision_cache import DecisionCache, key_of
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from tests.turns import turn

BOTH = frozenset(Layer)
SPAN_MS = 10_000
NOON = 1_770_000_000_000
BASE = Request(
    "i1", "ann", NOON, "play go", Channel.VOICE, ("play goa",), 0.5,
    Context("d1", "speaker", True, "kitchen", {"oven": "on"}, "en-US", "bath", "maine"),
)  # fmt: skip
PASS = Decision(None, Reason.LEAVE_IS_BETTER)


def key(request: Request = BASE, revision: int = 3, layers: frozenset[Layer] = BOTH):
    return key_of(request, revision, layers, SPAN_MS)


def test_all_that_a_decision_depends_on_is_in_the_key() -> None:
    changes = {
        "user_id": "bob", "query": "play gone", "alternatives": ("play gob",), "channel": Channel.APP,
        "asr_confidence": 0.6, "timestamp_ms": NOON + SPAN_MS,
    }  # fmt: skip
    context = {
        "device_id": "d2", "device_type": "tv", "has_screen": False, "room": "den", "device_state": {"oven": "off"},
        "locale": "en-GB", "city": "york", "state": "ohio",
    }  # fmt: skip
    others = [replace(BASE, **{name: value}) for name, value in changes.items()]
    others += [replace(BASE, context=replace(BASE.context, **{name: value})) for name, value in context.items()]
    keys = {key(), key(revision=4), key(layers=frozenset([Layer.GLOBAL])), *map(key, others)}
    assert len(keys) == 3 + len(others)
    # A field that is new must be thought of here, and in the key.
    assert {f.name for f in fields(Request)} == {"interaction_id", "context", *changes}
    assert {f.name for f in fields(Context)} == set(context)


def test_what_the_pipeline_cannot_tell_apart_shares_a_key() -> None:
    assert key() == key(replace(BASE, interaction_id="i2", timestamp_ms=NOON + 1))
    assert key() == key(replace(BASE, query="Play  GO!"))


def test_the_turn_that_asks_is_never_its_own_situation() -> None:
    cache = DecisionCache(1 << 20)
    cache.put(key(), BASE, PASS, [told("ann", "stop", "i7"), told("ann", "go", "i8")])
    assert cache.get(key(), BASE) is PASS
    assert cache.get(key(), replace(BASE, interaction_id="i7")) is None


def test_a_decision_is_none_for_a_moment_before_what_it_leant_on() -> None:
    cache = DecisionCache(1 << 20)
    cache.put(key(), BASE, PASS, [told("ann", "stop", at=NOON + 5000)])
    assert cache.get(key(), replace(BASE, timestamp_ms=NOON + 5000)) is PASS
    assert cache.get(key(), replace(BASE, timestamp_ms=NOON + 4999)) is None


def put(cache: DecisionCache, **changes: object) -> None:
    request = replace(BASE, **changes)
    cache.put(key(request), request, PASS, ())


def test_memory_is_bounded_and_what_was_asked_last_stays() -> None:
    cache = DecisionCache(30_000)
    for i in range(200):
        put(cache, user_id=f"u{i}")
        cache.get(key(replace(BASE, user_id="u0")), BASE)
        assert cache.nbytes <= 30_000
    assert cache.get(key(replace(BASE, user_id="u0")), BASE) is PASS
    assert cache.get(key(replace(BASE, user_id="u100")), BASE) is None
    for _ in range(50):
        put(cache)
    assert cache.nbytes <= 30_000, "the same again takes no more room"


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "x" * 20_000},
        {"user_id": "x" * 20_000},
        {"alternatives": ("x" * 4000,) * 5},
        {"context": Context(room="x" * 20_000)},
        {"context": Context(device_state={f"lamp {i}": "x" * 1000 for i in range(20)})},
    ],
)
def test_whatever_a_caller_makes_long_counts(changes: dict[str, object]) -> None:
    cache = DecisionCache(30_000)
    put(cache)
    put(cache, **changes)
    assert cache.get(key(replace(BASE, **changes)), BASE) is None and cache.get(key(), BASE) is PASS
    cache.put(key(revision=9), BASE, PASS, [told("ann", "stop", "i" * 20_000)])
    assert cache.get(key(revision=9), BASE) is None


def test_many_threads_keep_the_account() -> None:
    cache = DecisionCache(50_000)

    def work(name: int) -> None:
        for i in range(500):
            put(cache, user_id=f"{name}-{i % 7}")
            cache.get(key(replace(BASE, user_id=f"{i % 3}-{i % 7}")), BASE)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 0 < cache.nbytes <= 50_000 and cache.hits + cache.misses == 2000


@pytest.fixture
def pipeline(bundle_dir: Path, tmp_path: Path) -> Iterator[Pipeline]:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    made = Pipeline(bundle, EmbeddedStore(tmp_path), decision_cache_bytes=1 << 20, decision_cache_span_ms=SPAN_MS)
    yield made
    made.close()


def asked(user: str = "ann", query: str = "play ago", at: int = NOON, number: int = 1) -> Request:
    return Request(f"{user}-{number}", user, at, query)


def told(user: str, query: str, number: str = "t", at: int = NOON - 60_000) -> Interaction:
    made = turn(query, 0, "Play", user)
    return replace(made, request=replace(made.request, interaction_id=number, timestamp_ms=at))


def test_a_decision_is_given_again_until_the_user_does_something(pipeline: Pipeline) -> None:
    first = pipeline.rewrite(asked())
    again = pipeline.remembered(asked(number=2))
    assert again is not None and set(again.stage_us) == {"remembered"}
    assert replace(again, stage_us={}) == replace(first, stage_us={})
    pipeline.record([told("bob", "stop")])
    assert pipeline.remembered(asked(number=3)) is not None, "what somebody else does changes nothing"
    pipeline.record([told("ann", "stop")])
    assert pipeline.remembered(asked(number=4)) is None, "a write is seen by the very next request"
    pipeline.rewrite(asked(number=4))
    assert pipeline.remembered(asked(number=5, at=NOON + SPAN_MS)) is None, "time goes on"


def test_it_is_at_hand_until_somebody_may_have_changed_it(pipeline: Pipeline, tmp_path: Path) -> None:
    assert pipeline.at_hand(asked()) is None
    first = pipeline.rewrite(asked())
    counted = pipeline.cache_figures()["decisions"]
    assert pipeline.at_hand(asked(query="play something else", number=2)) is None
    assert pipeline.cache_figures()["decisions"] == counted, "it goes on, and is counted there"
    again = pipeline.at_hand(asked(number=2))
    assert again is not None and replace(again, stage_us={}) == replace(first, stage_us={})
    assert pipeline.cache_figures()["decisions"]["hits"] == counted["hits"] + 1
    assert pipeline.at_hand(asked("bob")) is None
    pipeline.record([told("bob", "stop")])
    assert pipeline.at_hand(asked(number=3)) is not None, "what somebody else does changes nothing"
    pipeline.record([told("ann", "stop")])
    assert pipeline.at_hand(asked(number=4)) is None, "a write is seen by the very next request"
    pipeline.rewrite(asked(number=4))
    assert pipeline.at_hand(asked(number=5)) is not None
    assert pipeline.at_hand(asked(number=5, at=NOON + SPAN_MS)) is None, "time goes on"
    pipeline.people.forget("ann")
    assert pipeline.at_hand(asked(number=5)) is None


def test_nothing_is_waited_for_to_have_it_at_hand(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.rewrite(asked())

    def hangs(*_: object) -> None:
        raise AssertionError("reads the store")

    monkeypatch.setattr(pipeline._store._files, "read", hangs)
    monkeypatch.setattr(pipeline._store._files, "write", hangs)
    assert pipeline.at_hand(asked(number=2)) is not None


def test_what_left_out_a_turn_is_not_remembered(pipeline: Pipeline) -> None:
    """A request asked late, or once more after it was recorded, does not see all that its neighbours must see."""
    pipeline.record([told("ann", "stop", "ann-7", NOON + 5000)])
    pipeline.rewrite(asked(at=NOON + 3000))
    assert pipeline.remembered(asked(at=NOON + 7000, number=2)) is None
    pipeline.rewrite(asked(at=NOON + 7000, number=7))
    assert pipeline.remembered(asked(at=NOON + 7000, number=2)) is None
    pipeline.rewrite(asked(at=NOON + 7000, number=2))
    assert pipeline.remembered(asked(at=NOON + 8000, number=3)) is not None
    assert pipeline.remembered(asked(at=NOON + 3000, number=3)) is None


def test_nobody_is_answered_with_anybody_elses_decision(pipeline: Pipeline) -> None:
    pipeline.rewrite(asked("ann"))
    assert pipeline.remembered(asked("bob")) is None and pipeline.remembered(asked("ann ")) is None


def test_a_decision_made_with_less_than_all_is_not_remembered(pipeline: Pipeline) -> None:
    late = pipeline.rewrite(asked(), deadline=0.0)
    assert late.reason is Reason.OUT_OF_TIME and pipeline.remembered(asked()) is None
    pipeline.rewrite(asked(), explain=True)
    assert pipeline.remembered(asked()) is None
    pipeline.rewrite(asked(), layers=frozenset([Layer.GLOBAL]))
    assert pipeline.remembered(asked()) is None


def test_caches_tell_how_they_do(pipeline: Pipeline) -> None:
    before = pipeline.cache_figures()
    pipeline.rewrite(asked("zoe", "a text that nobody has said before"))
    pipeline.remembered(asked("zoe", "a text that nobody has said before"))
    after = pipeline.cache_figures()
    assert set(after) == {"text_vectors", "text_sounds", "users", "decisions"}
    assert after["decisions"]["hits"] == before["decisions"]["hits"] + 1
    assert after["users"]["misses"] == before["users"]["misses"] + 1
    assert after["users"]["bytes"] > before["users"]["bytes"]
