"""Puts a pipeline together as settings say: bundle, store, policy, rules; warmed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import faiss

from retriever.encoder import Encoder
from rewrite_service.admin.rule_book import RuleBook
from rewrite_service.arms import HoldOut
from rewrite_service.bundle import encoder_of, open_bundle, read_manifest
from rewrite_service.errors import StoreError
from rewrite_service.pipeline import WARM_UP_TEXTS, WARM_UP_TEXTS_LATER, Pipeline
from rewrite_service.store.opening import open_store

if TYPE_CHECKING:
    from rewrite_service.settings import Settings


def open_pipeline(
    bundle: Path,
    settings: Settings,
    before: Pipeline | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Pipeline:
    """The pipeline for the bundle in `bundle` with the store that the settings name, warmed. `before`: the one whose
    place it will take: its store goes on, and so do its encoder and the vectors it remembers, if the bundle has the
    same encoder. `pause`: called between small pieces of the work. Raises BundleError, StoreError."""
    faiss.omp_set_num_threads(1)  # one request, one core: the cores are shared by requests
    if before is not None and read_manifest(bundle).get("encoder") == before._bundle.manifest["encoder"]:
        meaning = before._bundle.knowledge.meaning
        opened = open_bundle(bundle, cast(Encoder, meaning.encoder), 0, meaning)
    else:
        opened = open_bundle(bundle, encoder_of(bundle, settings.encoder_threads), settings.text_vector_cache_bytes)
    chosen = {name: getattr(settings, name) for name in ("threshold", "least_win")}
    policy = replace(opened.policy, **{name: value for name, value in chosen.items() if value is not None})
    pipeline = Pipeline(
        opened,
        open_store(settings) if before is None else before._store,
        settings.user_cache_bytes,
        policy,
        decision_cache_bytes=settings.decision_cache_bytes,
        decision_cache_span_ms=settings.decision_cache_span_ms,
        rules=RuleBook(settings.state_dir) if before is None else before._rules,
        hold_out=HoldOut(settings.holdout_share, settings.holdout_salt),
        experience_every_s=settings.experience_every_s,
    )
    pipeline.warm(WARM_UP_TEXTS if before is None else WARM_UP_TEXTS_LATER, pause)
    if before is not None:
        pipeline.take_over(before, pause)
    elif settings.experience_every_s > 0:
        with suppress(StoreError):  # then the first round makes up for it
            pipeline.experience.refresh()
    return pipeline
