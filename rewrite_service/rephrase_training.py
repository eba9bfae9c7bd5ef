"""From an interaction log to a model that marks rephrases: examples from the log's own verdicts, training, export, and
a comparison with the rules on days that were held out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mining.contextual_rephrases import MANIFEST, RephraseModel
from mining.defects import MARKED, assess, learn_reactions
from mining.dialogue_examples import NONE, Example, Person, Told, examples, held_out
from mining.reactions import Reactions
from mining.reader import LogError, read_log
from mining.sessions import by_user
from mining.training.export import write_model
from mining.training.train import TrainSettings, train
from retriever.encoder import Encoder
from retriever.interaction import Interaction
from rewrite_service.exchange import drafted_folder
from rewrite_service.forgetting import without_forgotten
from rewrite_service.model_place import check_place
from rewrite_service.progress import Progress

HELD_OUT_SHARE = 0.2
"""Of the log's turns, the last: not trained on, so that they tell whether the model agrees with the rules where these
can be trusted, and does better where they cannot."""
LEAST_REPHRASES = 10
MOST_TURNS = 200_000
"""Of a longer log, so many turns are learned from, of people drawn by chance: more cost time and memory and teach
little."""
REPORT = "report.json"


def train_rephrase(
    logs: list[Path],
    out: Path,
    settings: TrainSettings,
    progress: Progress,
    *,
    encoder: Path | None = None,
    held_out_share: float = HELD_OUT_SHARE,
    threads: int = 2,
    say: Callable[[str], None] = lambda line: None,
    tombstones: Mapping[bytes, int] | None = None,
) -> dict[str, Any]:
    """Trains a model on the logs and puts it in `out`; the report, which lies there too as report.json. `encoder`: see
    `build --encoder`; the model is good for bundles with the same one. `tombstones`: of users who were forgotten.

    While it runs its state is in a file beside `out`; stopped and called again with the same, it goes on from there.
    Raises LogError, ModelPlaceError; replaces nothing before all is made.
    """
    out = out.absolute()
    check_place(out, MANIFEST, "rephrase model")
    out.parent.mkdir(parents=True, exist_ok=True)
    encode = Encoder(encoder)
    with progress.task("reading the log") as step:
        turns = without_forgotten(read_log(logs, progress=step).turns, tombstones or {})
    if not turns:
        raise LogError("the log holds no turns")
    until_ms = turns[min(len(turns) - 1, round(len(turns) * (1 - held_out_share)))].request.timestamp_ms
    with progress.task("finding dialogues"):
        people, reactions = _assessed(drawn(by_user(turns), settings.seed))
        found = examples(people, settings.seed, settings.shown, until_ms)
    reached = sum(any(goal != NONE for goal in e.goal) for e in found)
    if reached < LEAST_REPHRASES:
        raise LogError(f"the log holds {reached} dialogues with a rephrase; too few to train on")
    say(f"{len(found)} dialogues to learn from, {reached} of them with a rephrase")
    texts = list(dict.fromkeys(text for e in found for text in e.dialogue.texts))
    with progress.task("encoding texts", len(texts)) as step:
        vectors = dict(zip(texts, _encoded(encode, texts, step), strict=True))
    checkpoint = out.parent / f"{out.name}.checkpoint.pt"
    with progress.task("training", settings.steps(len(found))) as step:
        model, losses = train(found, vectors, settings, checkpoint, threads=threads, progress=step)
    with drafted_folder(out) as draft:
        write_model(model, draft, encode.fingerprint, {"made_with": "query-rewrite train-rephrase"})
        with progress.task("judging on the held-out days"):
            made = RephraseModel(draft, encode.encode, encode.fingerprint)
            report = {
                "settings": asdict(settings),
                "dialogues": len(found),
                "with_rephrase": reached,
                "held_out": _judged(made, people, reactions, settings.seed, until_ms),
                "losses": [round(float(part.mean()), 4) for part in np.array_split(losses, min(50, len(losses)))],
            }
        (draft / REPORT).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    checkpoint.unlink(missing_ok=True)
    return report


def drawn(
    people: Mapping[str, Sequence[Interaction]], seed: int, most: int = MOST_TURNS
) -> dict[str, Sequence[Interaction]]:
    """People with `most` turns together at most, but at least one; all where there are no more. The same seed draws the
    same."""
    out: dict[str, Sequence[Interaction]] = {}
    room = most
    for user in sorted(people, key=lambda user: (zlib.crc32(f"{seed}/{user}".encode("utf-8", "replace")), user)):
        if out and len(people[user]) > room:
            continue
        out[user] = people[user]
        room -= len(people[user])
    return {user: turns for user, turns in people.items() if user in out}


def _assessed(people: Mapping[str, Sequence[Interaction]]) -> tuple[dict[str, Person], Reactions]:
    reactions = learn_reactions(list(people.values()))
    return {user: (turns, assess(turns, reactions)) for user, turns in people.items()}, reactions


def _encoded(encode: Encoder, texts: Sequence[str], progress: Callable[[int], None], many: int = 256) -> np.ndarray:
    rows = []
    for at in range(0, len(texts), many):
        rows.append(encode.encode(texts[at : at + many]))
        progress(len(rows[-1]))
    return np.concatenate(rows)


def _judged(
    model: RephraseModel, people: Mapping[str, Person], reactions: Reactions, seed: int, from_ms: int
) -> dict[str, dict[str, float]]:
    """F1 of the marked rephrases over the held-out dialogues: as the log has them, against the rules' own verdicts, and
    interrupted by unrelated turns, where the rules are asked again."""
    as_found, interrupted = [], []
    for told, example, other, other_example in held_out(people, seed, from_ms):
        as_found.append((told, example))
        interrupted.append((other, other_example))
    by_rules = [[e.goal if e.goal is not None else NONE for e in assess(t.turns, reactions)] for t, _ in interrupted]
    return {
        "as found": {"model": _f1(as_found, _pointed(model, as_found))},
        "interrupted": {
            "model": _f1(interrupted, _pointed(model, interrupted)),
            "rules": _f1(interrupted, by_rules),
        },
    }


def _pointed(model: RephraseModel, dialogues: Sequence[tuple[Told, Example]]) -> list[list[int]]:
    out = []
    for p in model.point([example.dialogue for _, example in dialogues]):
        later = p[:, 1:]
        out.append(np.where(later.max(axis=1) >= MARKED, later.argmax(axis=1), NONE).tolist())
    return out


def _f1(dialogues: Sequence[tuple[Told, Example]], marked: Sequence[Sequence[int]]) -> float:
    """Over the turns that have a weight; a wrong turn marked is a false mark and a miss."""
    right = marks = rephrases = 0
    for (told, _), own in zip(dialogues, marked, strict=True):
        for goal, mark, weight in zip(told.goal, own, told.weight, strict=True):
            if weight:
                right += goal != NONE and mark == goal
                marks += mark != NONE
                rephrases += goal != NONE
    return round(2 * right / max(1, marks + rephrases), 4)
