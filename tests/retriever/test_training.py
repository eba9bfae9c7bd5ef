"""Training the encoder: losses against slow twins, the order of pairs, and a run that was stopped in the middle."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.encoder import Encoder
from retriever.training.distil import distil, first_rows, teach
from retriever.training.export import write_encoder
from retriever.training.losses import ContrastiveLoss, Loss
from retriever.training.model import base_model, bert_of, embed, load
from retriever.training.recall import recall
from retriever.training.table import is_table, read_table, table_rows
from retriever.training.train import Order, Pairs, TrainSettings, fisher_trace, rows_of, train

TAU = 0.1


def vectors(seed: int, n: int, d: int = 6) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


def one_way(x: torch.Tensor, y: torch.Tensor, goals: list[int], in_corpus: int | None) -> float:
    """The definition, pair by pair: the mean of log(1 + sum over negatives of exp(lead))."""
    total, counted = 0.0, 0
    for i in range(len(x)):
        others = [j for j in range(len(x)) if goals[j] != goals[i]]
        if not others:
            continue
        leads = [math.exp(float(x[i] @ y[j] - x[i] @ y[i]) / TAU) for j in others]
        each = 1.0 if in_corpus is None else max(1.0, (in_corpus - 1) / len(others))
        total, counted = total + math.log(1 + each * sum(leads)), counted + 1
    return total / counted if counted else 0.0


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 9), st.sampled_from([Loss.IN_BATCH, Loss.CORPUS]))
def test_the_losses_are_what_they_say(seed: int, n: int, goals: int, kind: Loss) -> None:
    rng = np.random.default_rng(seed)
    goal = rng.integers(0, goals, n)
    x, y = vectors(seed, n), vectors(seed + 1, n)
    corpus = 50
    found = ContrastiveLoss(kind, n, corpus, TAU)(x, y, torch.from_numpy(goal), torch.arange(n))
    known = None if kind is Loss.IN_BATCH else corpus
    expected = (one_way(x, y, goal.tolist(), known) + one_way(y, x, goal.tolist(), known)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_decomposable_loss_has_the_gradient_of_the_corpus_loss_on_average() -> None:
    n, corpus = 8, 200
    goal, rows = torch.arange(n), torch.arange(n)
    y = vectors(1, n)

    def gradient(loss: ContrastiveLoss) -> torch.Tensor:
        x = vectors(0, n).requires_grad_()
        loss(x, y, goal, rows).backward()
        return x.grad

    wanted = gradient(ContrastiveLoss(Loss.CORPUS, n, corpus, TAU))
    drawn = ContrastiveLoss(Loss.DECOMPOSABLE, n, corpus, TAU)
    mean = torch.stack([gradient(drawn) for _ in range(4000)]).mean(0)
    assert float((mean - wanted).norm() / wanted.norm()) < 0.06
    once = gradient(ContrastiveLoss(Loss.DECOMPOSABLE, n, corpus, TAU))
    assert float((once - wanted).norm() / wanted.norm()) > 0.1, "a single draw is no average"


def test_a_pairs_average_lasts_over_batches() -> None:
    loss = ContrastiveLoss(Loss.DECOMPOSABLE, 4, 50, TAU, memory=0.5)
    args = vectors(0, 2), vectors(1, 2), torch.arange(2), torch.tensor([1, 3])
    loss(*args)
    first = loss.state()["averages"].clone()
    assert first.isnan().tolist() == [[True, False, True, False]] * 2
    loss(vectors(2, 2), vectors(3, 2), torch.arange(2), torch.tensor([1, 3]))
    twin = ContrastiveLoss(Loss.DECOMPOSABLE, 4, 50, TAU, memory=0.5)
    twin(vectors(2, 2), vectors(3, 2), torch.arange(2), torch.tensor([1, 3]))
    alone = twin.state()["averages"]
    assert torch.allclose(loss.state()["averages"][:, [1, 3]], (first + alone)[:, [1, 3]] / 2)


def some_pairs(n: int = 21) -> Pairs:
    clean = np.array([i % 3 == 0 for i in range(n)])
    heard, meant = [f"play song numbr {i}" for i in range(n)], [f"play song number {i}" for i in range(n)]
    return Pairs(heard, meant, np.arange(n, dtype=np.int64), clean)


@given(st.integers(1, 40), st.sampled_from(list(Order)), st.integers(0, 99))
def test_every_pass_sees_every_pair_once(batch: int, order: Order, seed: int) -> None:
    pairs = some_pairs()
    chosen = TrainSettings(batch=batch, order=order, seed=seed)
    n = len(pairs.heard)
    seen = np.concatenate([rows_of(step, pairs, chosen) for step in range(2 * n)])[: 2 * n]
    first, second = seen[:n], seen[n:]
    assert sorted(first) == sorted(second) == list(range(n))
    if order is not Order.MIXED:
        clean = pairs.clean[first]
        assert clean.tolist() == sorted(clean, reverse=order is Order.CLEAN_FIRST)


SMALL = TrainSettings(loss=Loss.DECOMPOSABLE, batch=4, pairs_seen=24, layers=1, fisher_every=2)
KINDS = [0, 1]
"""Layers: a table of word pieces, and BERT."""


class Stopped(Exception):
    pass


@pytest.mark.parametrize("layers", KINDS)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(layers: int, tmp_path: Path) -> None:
    pairs, texts = some_pairs(), ["play song number 3", "stop"]
    chosen, base = replace(SMALL, layers=layers), base_model(layers)
    straight, history = train(base, pairs, chosen, tmp_path / "straight", threads=1)

    done = 0

    def stop_at(steps: int):
        def progress(n: int) -> None:
            nonlocal done
            done += n
            if n and done == steps:
                raise Stopped

        return progress

    place = tmp_path / "stopped"
    with pytest.raises(Stopped):
        train(base, pairs, chosen, place, threads=1, progress=stop_at(4))
    done = -99
    resumed, again = train(base, pairs, chosen, place, threads=1, progress=stop_at(0))
    assert done == -99 + SMALL.steps, "four steps at once from the checkpoint, then the other two"
    assert again.losses == history.losses and again.fisher == history.fisher
    with torch.no_grad():
        assert torch.equal(embed(straight, texts), embed(resumed, texts))


def test_a_checkpoint_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    place, pairs = tmp_path / "checkpoint", some_pairs()
    short = replace(SMALL, pairs_seen=4, stay_near=0.0, fisher_every=0)
    train(base_model(), pairs, short, place, threads=1)
    steps: list[int] = []
    train(base_model(), pairs, replace(short, seed=8), place, threads=1, progress=steps.append)
    assert steps == [0, 1]
    steps.clear()
    train(base_model(), some_pairs(22), replace(short, seed=8), place, threads=1, progress=steps.append)
    assert steps == [0, 1]
    train(base_model(), some_pairs(22), replace(short, seed=8), place, threads=1, progress=steps.append)
    assert steps == [0, 1, 1], "the same again is done already"


@pytest.mark.parametrize(("layers", "rate"), [(0, 1e-2), (2, 1e-4)])
def test_training_brings_what_was_heard_nearer_to_what_was_meant(layers: int, rate: float, tmp_path: Path) -> None:
    pairs, base = some_pairs(), base_model(layers)
    chosen = TrainSettings(batch=8, pairs_seen=160, layers=layers, learning_rate=rate, stay_near=0.0)
    before = load(base, layers).eval()
    after, history = train(base, pairs, chosen, tmp_path / "checkpoint", threads=1)

    def likeness(model) -> float:
        with torch.no_grad():
            found = embed(model, pairs.heard) @ embed(model, pairs.meant).T
        return float((found.argmax(1) == torch.arange(len(found))).float().mean())

    assert likeness(after) > likeness(before) + 0.05 or likeness(after) == 1.0
    assert np.mean(history.losses[-4:]) < np.mean(history.losses[:4])


def test_layers_are_kept_evenly_with_the_last_one() -> None:
    whole, half = load(base_model()), load(base_model(), 3)
    there, kept = bert_of(whole).encoder.layer, bert_of(half).encoder.layer
    same = [i for i, layer in enumerate(there) for other in kept
            if torch.equal(layer.output.dense.weight, other.output.dense.weight)]  # fmt: skip
    assert same == [1, 3, 5]
    with pytest.raises(ValueError, match="--layers must be 0 to 6, not 7"):
        load(base_model(), 7)


def test_a_table_sums_the_rows_of_the_word_pieces(tmp_path: Path) -> None:
    model = load(base_model(0), 0)
    rows, texts = table_rows(model), ["play go", "", "what's the weather in reykjavik"]
    tokenizer = model[0].tokenizer
    expected = np.stack([rows[tokenizer.encode(text).ids].sum(0) for text in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    with torch.no_grad():
        np.testing.assert_allclose(embed(model, texts).numpy(), expected, atol=1e-6)
    write_encoder(model, tmp_path, {}, ())
    np.testing.assert_allclose(Encoder(tmp_path).encode(texts), expected, atol=1e-5)
    np.testing.assert_allclose(Encoder().encode(texts), expected, atol=1e-5)
    again = read_table(tmp_path)
    assert is_table(again) and np.abs(table_rows(again) - rows).max() <= np.abs(rows).max() / 127


def test_begin_from_what_the_kind_needs(tmp_path: Path) -> None:
    model = load(base_model(), 1)
    write_encoder(model, tmp_path, {}, ["play go", "stop"])
    assert np.linalg.norm(Encoder(tmp_path).encode(["play go"])) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="no table of word pieces"):
        load(tmp_path, 0)
    with pytest.raises(ValueError, match="no encoder's folder"):
        load(base_model(), 0)


def test_a_table_learns_what_its_teacher_makes_of_texts() -> None:
    teacher = load(base_model(), 1).eval()
    texts = [f"{verb} the {thing}" for verb in ("play", "stop", "dim", "call") for thing in ("film", "light", "song")]
    taught, told = teach(teacher, texts), []
    with torch.no_grad():
        np.testing.assert_allclose(taught[3:4], embed(teacher, texts[3:4]).numpy(), atol=1e-6)
    tokenizer, rows = teacher.tokenizer.backend_tokenizer, first_rows(teacher)
    near = []
    for passes in (1, 30):
        learned = distil(tokenizer, rows, texts, taught, passes=passes, progress=told.append)
        with torch.no_grad():
            near.append(float((embed(learned, texts).numpy() * taught).sum(1).mean()))
    assert near[1] > max(near[0], 0.95), near
    assert sum(told) == 31 * len(texts)
    begin, end = tokenizer.encode("").ids
    weight = np.linalg.norm(rows, axis=1)
    assert weight[[begin, end]].max() < np.median(weight) / 10, "what stands in all texts tells nothing"


def test_the_fisher_trace_leaves_the_model_as_it_was() -> None:
    model = load(base_model(), 1).train()
    before = [p.detach().clone() for p in model.parameters()]
    traces = [fisher_trace(model, ["play go", "stop it"], ["play ago", "stop"], 0.05, seed) for seed in (1, 1)]
    assert traces[0] == traces[1] >= 0 and model.training
    assert all(p.grad is None and torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


class Lookup:
    """Given vectors, as an encoder."""

    def __init__(self, **known: list[float]) -> None:
        self._known = known

    def encode(self, texts) -> np.ndarray:
        return np.array([self._known[t] for t in texts], np.float32)


def test_recall_counts_ranks_and_no_text_finds_itself() -> None:
    encoder = Lookup(a=[1, 0], b=[0.9, 0.1], c=[0, 1], q=[1, 0.2])
    texts = ["a", "b", "c"]
    assert recall(encoder, [("q", {0}), ("q", {2})], texts) == {
        "queries": 2, "recall@1": 0.5, "recall@5": 1.0, "recall@20": 1.0
    }  # fmt: skip
    assert recall(encoder, [("a", {1})], texts)["recall@1"] == 1.0
