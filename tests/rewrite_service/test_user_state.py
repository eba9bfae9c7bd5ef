"""The cache of users: bounded however many are asked for, known or not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

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


def test_warming_up_reads_nobodys_rows(bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    store, shared = EmbeddedStore(tmp_path), bundle.knowledge.shared
    asked: list[str] = []
    read = type(bundle.people).user
    monkeypatch.setattr(type(bundle.people), "user", lambda self, user: asked.append(user) or read(self, user))
    pipeline = Pipeline(bundle, store, decision_cache_bytes=1 << 20)
    pipeline.warm()
    assert set(asked) <= {""}, "only the nobody in whose name the texts are asked"
    everybodys = {shared.text_at(row).text for row in range(len(shared))} | {"what is the weather like today"}
    # What is told by rules of shared texts may be encoded as well, but nothing that one person alone has said.
    assert set(bundle.knowledge.meaning._vectors) <= everybodys
    assert pipeline.cache_figures()["decisions"]["bytes"] == 0
    pipeline.close()


def test_what_was_forgotten_does_not_count_out_of_the_bundle_either(bundle_dir: Path, tmp_path: Path) -> None:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    store = EmbeddedStore(tmp_path)
    users = UserStates(bundle.people, store, bundle.knowledge, 1 << 30)
    archived = bundle.people.user("cleo")
    assert users.load("cleo").recent[-1] == archived.turns[-1]
    third_last = archived.turns[-3].request.timestamp_ms
    store.forget("cleo", third_last)
    assert users.cached("cleo") is None
    assert users.load("cleo").recent == tuple(archived.turns[-2:])
    left = archived.after(third_last)
    assert len(left.texts) == len(left.vectors) <= 2 and set(left.texts) <= set(archived.texts)
    store.forget("cleo", archived.turns[-1].request.timestamp_ms)
    assert users.load("cleo").recent == ()
    store.close()
