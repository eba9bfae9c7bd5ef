"""The cache of users: bounded however many are asked for, known or not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.user_state import UserStates


def test_users_whom_nobody_knows_count_for_what_they_take(bundle_dir: Path, tmp_path: Path) -> None:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    store = EmbeddedStore(tmp_path)
    users = UserStates(bundle.people, store, bundle.knowledge, 1 << 40)
    users.load("the first")
    tracemalloc.start()
    before = users.nbytes
    for i in range(500):
        users.load(f"stranger {i}")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert users.nbytes - before > 0.6 * taken

    small = UserStates(bundle.people, store, bundle.knowledge, 100_000)
    for i in range(500):
        small.load(f"stranger {i}")
        assert small.nbytes <= 100_000
    assert small.cached("stranger 499") is not None and small.cached("stranger 0") is None
    store.close()


def test_warming_up_keeps_no_user(bundle_dir: Path, tmp_path: Path) -> None:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    ids = bundle.people.some(3)
    assert len(set(ids)) == 3 and all(bundle.people.user(user).turns for user in ids)
    assert len(bundle.people.some(10**9)) == len(bundle.people)
    pipeline = Pipeline(bundle, EmbeddedStore(tmp_path), decision_cache_bytes=1 << 20)
    pipeline.warm()
    known = pipeline.cache_figures()["users"]["bytes"]
    assert known <= 3000, "at most the nobody whom the texts were asked for"
    pipeline.close()
