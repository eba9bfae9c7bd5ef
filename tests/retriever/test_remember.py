"""What functions of texts remember: what plain functions return, in bounded bytes, until all is forgotten."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import normalise as normal_forms
from retriever.interaction import Interpretation
from retriever.normalise import MAX_CHARS, normalise
from retriever.packed import hash_once, key_hash
from retriever.remember import LONGEST, characters, forget_all, remember, remembered
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from tests.turns import request

TEXTS = st.lists(st.text(max_size=2 * LONGEST), max_size=30)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    forget_all()


@given(TEXTS)
def test_it_returns_what_the_function_returns(texts: list[str]) -> None:
    reversing = remember(3)(lambda text: text[::-1])
    joining = remember(3, size=characters)(lambda *parts: "\x1f".join(parts))
    for _ in range(2):
        assert [reversing(text) for text in texts] == [text[::-1] for text in texts]
        assert joining(*texts) == "\x1f".join(texts)
    assert [normalise(text) for text in texts] == [normal_forms.normalise.__wrapped__(text) for text in texts]
    assert key_hash(*texts) == hash_once(*texts)


def test_the_latest_are_kept_and_no_long_ones() -> None:
    asked: list[str] = []

    @remember(2)
    def upper(text: str) -> str:
        asked.append(text)
        return text.upper()

    at_the_edge, beyond = "x" * LONGEST, "x" * (LONGEST + 1)
    for text in ("a", "b", "a", at_the_edge, at_the_edge, "a", "b", beyond, beyond):
        assert upper(text) == text.upper()
    assert asked == ["a", "b", at_the_edge, "b", beyond, beyond]
    assert remembered() == 2
    forget_all()
    assert remembered() == 0
    upper("a")
    assert asked[-1] == "a" and len(asked) == 7


def test_a_function_that_is_done_with_is_not_held() -> None:
    before = remembered()
    upper = remember()(lambda text: text.upper())
    upper("a")
    assert remembered() == before + 1
    del upper
    gc.collect()
    assert remembered() == before


def test_it_is_forgotten_while_others_remember() -> None:
    errors: list[BaseException] = []
    functions = [remember(100)(lambda text, n=n: (n, text)) for n in range(50)]

    def work(own: Sequence[str]) -> None:
        try:
            for text in own:
                for n, function in enumerate(functions):
                    assert function(text) == (n, text)
                remember()(len)(text)  # comes and goes
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=([f"{n} {k}" for k in range(300)],)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        forget_all()
    assert errors == []


def test_what_a_layer_remembers_of_requests_is_forgotten_too(bundle_dir: Path) -> None:
    """It is of the layer and of no module; counted here, it is emptied with the rest."""
    shared = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24).knowledge.shared
    asked: tuple[tuple[Callable[[], object], int], ...] = (
        (lambda: shared.word_counts(["xylocarp"]), 1),
        (lambda: shared.slot_value_counts(["xylocarp"]), 1),
        (lambda: shared.log_word_pair_counts([("xylocarp", "jam")]), 1),
        (lambda: shared.rarest_word_pairs(["xylocarp tea"]), 1 + 3),
        (lambda: shared.log_reading_counts(Interpretation("Cook", (("dish", "xylocarp"),))), 1),
    )
    for ask, results in asked:
        forget_all()
        ask()
        assert remembered() == results
    forget_all()
    assert remembered() == 0


def test_whoever_asks_long_things_fills_no_memory(bundle_dir: Path, tmp_path: Path) -> None:
    """A text of a thousand characters leaves what its parts leave, and nothing of its own: 1,250 bytes where all were
    remembered 4,100. Of two letters, since pieces of words are remembered as well, and those are soon known."""
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    pipeline, rng = Pipeline(bundle, EmbeddedStore(tmp_path)), random.Random(3)

    def noise() -> str:
        return "".join(rng.choices("ab", k=MAX_CHARS))

    pipeline.rewrite(request("play jazz"))
    assert remembered() > 50, "what is usual is remembered"
    forget_all()
    tracemalloc.start()
    for _ in range(3):
        pipeline.rewrite(replace(request(noise()), alternatives=tuple(noise() for _ in range(20))))
    kept, full = remembered(), tracemalloc.get_traced_memory()[0]
    forget_all()
    held = full - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    pipeline.close()
    assert kept > 50 and held / 63 < 2000, f"{kept} results, {held / 63:.0f} bytes of each text"
