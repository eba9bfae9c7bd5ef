"""The model that marks rephrases, small and trained in seconds on generated dialogues whose truth is known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.contextual_rephrases import MANIFEST, MODEL, RephraseModel
from mining.defects import assess, learn_reactions
from mining.dialogue import batch, dialogue, windows
from mining.dialogue_examples import Strangers, examples, put_between
from mining.sessions import by_user, sessions
from mining.training.export import write_model
from mining.training.pointer import Pointers
from mining.training.train import TrainSettings, train
from retriever.interaction import Interaction
from rewrite_service.sample.generate import turns as sample_turns
from tests.turns import turn

SMALL = TrainSettings(passes=3, members=1, learning_rate=4e-3)
DIMENSION = 384


def encode(texts) -> np.ndarray:
    """Texts to unit vectors, without an encoder: bags of hashed letters in threes."""
    out = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(out, texts, strict=True):
        for i in range(len(text) + 1):
            row[hash_of(f"  {text} "[i : i + 3]) % DIMENSION] += 1
        row /= np.linalg.norm(row)
    return out


def hash_of(text: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(text))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pointers, Path]:
    people = by_user([t.interaction for t in sample_turns(24, 12, 3)])
    reactions = learn_reactions(list(people.values()))
    found = examples({user: (turns, assess(turns, reactions)) for user, turns in people.items()}, 7)
    texts = list(dict.fromkeys(text for e in found for text in e.dialogue.texts))
    place = tmp_path_factory.mktemp("rephrase")
    vectors = dict(zip(texts, encode(texts), strict=True))
    model, losses = train(found, vectors, SMALL, place / "checkpoint.pt", threads=1)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    directory = place / "model"
    directory.mkdir()
    write_model(model, directory, "tests", {})
    return model, directory


@pytest.fixture(scope="module")
def marker(trained: tuple[Pointers, Path]) -> RephraseModel:
    return RephraseModel(trained[1], encode, "tests")


def test_it_finds_rephrases_of_unseen_people_also_behind_a_change_of_subject(marker: RephraseModel) -> None:
    told = sample_turns(40, 8, 11)
    truth = {t.interaction.request.interaction_id: t for t in told}
    people = by_user([t.interaction for t in told])
    strangers, rng = Strangers.of(people), random.Random(5)
    by_model, by_rules, rephrases, wrong = 0, 0, 0, 0
    for user, turns in people.items():
        for span in sessions(turns):
            session = list(turns[span.start : span.stop])
            first = truth[session[0].request.interaction_id]
            reached = [t for t in session[1:] if t.interpretation == first.wish.meaning]
            if first.right or not reached:
                continue
            longer, _ = put_between(session, 0, user, strangers, rng, 2)
            wanted = reached[0].request.interaction_id
            goal = next(k for k, t in enumerate(longer) if t.request.interaction_id == wanted)
            mark = marker.marks({user: longer})[user][0]
            assert mark is not None
            rephrases += 1
            by_model += mark.probability >= 0.5 and longer[mark.goal].interpretation == longer[goal].interpretation
            wrong += mark.probability >= 0.5 and longer[mark.goal].interpretation != longer[goal].interpretation
            by_rules += assess(longer)[0].goal == goal
    assert rephrases > 40
    assert by_model > 0.75 * rephrases and wrong < 0.1 * rephrases, (by_model, wrong, rephrases)
    assert by_model > by_rules + 0.2 * rephrases, (by_model, by_rules, rephrases)


def dialogues_of_all_lengths() -> dict[str, list[Interaction]]:
    rng, people = random.Random(4), {}
    for n in range(0, 40, 3):
        at, turns = 0.0, []
        for _ in range(n):
            at += rng.choice([3, 20, 100, 400])
            turns.append(turn(rng.choice(["play ago", "play go", "stop", "weather"]), at, rng.choice([None, "Play"])))
        people[f"user{n}"] = turns
    return people


def test_many_dialogues_together_are_marked_as_each_alone(
    trained: tuple[Pointers, Path], marker: RephraseModel
) -> None:
    """The slow twin: torch, one dialogue at a time, without filling."""
    people = dialogues_of_all_lengths()
    marks = marker.marks(people)
    assert [len(marks[user]) for user in people] == [len(turns) for turns in people.values()]
    model, seen = trained[0], 0
    for user, turns in people.items():
        expected: list[tuple[int, float] | None] = [None] * len(turns)
        for window, habits in windows(turns):
            d = dialogue(turns[window.start : window.stop], habits)
            b = batch([d], dict(zip(d.texts, encode(d.texts), strict=True)))
            with torch.no_grad():
                p = model(*map(torch.from_numpy, (b.vectors, b.turns, b.pairs, b.there))).exp().numpy()[0]
            np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-4)
            assert not np.tril(p[:, 1:]).any(), "no turn points to itself or back"
            for i in range(window.first, min(window.last, window.stop - 1)):
                k = int(p[i - window.start, 1:].argmax())
                expected[i] = window.start + k, float(p[i - window.start, 1 + k])
        for mark, other in zip(marks[user], expected, strict=True):
            assert (mark is None) == (other is None)
            if mark is not None and other is not None:
                seen += 1
                assert mark.probability == pytest.approx(other[1], abs=1e-4)
    assert seen > 100


def test_nobody_at_all_is_no_problem(marker: RephraseModel) -> None:
    assert marker.marks({}) == {} and marker.marks({"ann": []}) == {"ann": []}


def test_a_model_that_does_not_fit_is_refused(trained: tuple[Pointers, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-rephrase"):
        RephraseModel(tmp_path, encode, "tests")
    with pytest.raises(ValueError, match="encoder"):
        RephraseModel(trained[1], encode, "another")
    data, manifest = (trained[1] / MODEL).read_bytes(), json.loads((trained[1] / MANIFEST).read_bytes())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / MODEL).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match="sha256"):
        RephraseModel(tmp_path, encode, "tests")
    (tmp_path / MODEL).write_bytes(data)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"features": {"turn": []}}))
    with pytest.raises(ValueError, match="another version"):
        RephraseModel(tmp_path, encode, "tests")


def test_stopped_and_gone_on_with_it_ends_the_same(tmp_path: Path) -> None:
    people = by_user([t.interaction for t in sample_turns(8, 6, 3)])
    found = examples({user: (turns, assess(turns)) for user, turns in people.items()}, 7)
    texts = list(dict.fromkeys(text for e in found for text in e.dialogue.texts))
    vectors = dict(zip(texts, encode(texts), strict=True))
    settings = TrainSettings(passes=2, members=1, batch=16)
    whole, losses = train(found, vectors, settings, tmp_path / "a.pt", threads=1)
    steps = 0

    def stop(n: int) -> None:
        nonlocal steps
        steps += n
        if steps == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(found, vectors, settings, tmp_path / "b.pt", threads=1, progress=stop)
    done: list[int] = []
    again, more = train(found, vectors, settings, tmp_path / "b.pt", threads=1, progress=done.append)
    assert done[0] == 4 and more == losses
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    other_settings = TrainSettings(passes=2, members=1, batch=16, seed=8)
    train(found, vectors, other_settings, tmp_path / "b.pt", threads=1, progress=done.append)
    assert done[-1 - other_settings.steps(len(found))] == 0, "another seed begins anew"
