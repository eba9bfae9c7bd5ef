"""From an interaction log to an encoder of one's own: mine pairs, train, export, judge on days that were held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mining.defects import assess, learn_reactions
from mining.reader import LogError, read_log
from mining.sessions import by_user
from mining.text_pairs import Kind, Person, Repair, TextPair, repairs, served, text_pairs
from retriever.encoder import MANIFEST, Encoder
from retriever.interaction import Interaction, Interpretation
from retriever.training.export import cosines, write_encoder
from retriever.training.model import base_model, embed, load
from retriever.training.recall import recall
from retriever.training.train import History, Pairs, TrainSettings, train
from rewrite_service.exchange import drafted_folder
from rewrite_service.forgetting import without_forgotten
from rewrite_service.model_place import ModelPlaceError, check_place
from rewrite_service.progress import Progress

HELD_OUT_SHARE = 0.2
"""Of the log's turns, the last: not trained on, so that they tell whether training helped."""
MOST_QUERIES = 1000
_CALIBRATION_TEXTS = 300
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Material:
    """What a log gives. `texts`: those that served in the part to train on. `judged`: (text that failed, numbers of the
    texts that mean what its user wanted), from the held-out days."""

    pairs: Pairs
    texts: Sequence[str]
    judged: Sequence[tuple[str, frozenset[int]]]


def material(turns: Sequence[Interaction], held_out_share: float = HELD_OUT_SHARE) -> Material:
    """Pairs from the first turns, questions from the last. `turns`: in time order. Raises LogError: too few pairs."""
    until_ms = turns[min(len(turns) - 1, round(len(turns) * (1 - held_out_share)))].request.timestamp_ms
    early = _assessed([t for t in turns if t.request.timestamp_ms < until_ms])
    found = text_pairs(early)
    if len(found) < 2:
        raise LogError(f"the log holds {len(found)} pairs of texts with one meaning; too few to train an encoder on")
    by_goal = served(early)
    texts = list(dict.fromkeys(text for group in by_goal.values() for text in group))
    number = {text: i for i, text in enumerate(texts)}
    judged = []
    asked = repairs(_assessed(turns), until_ms)
    for repair in asked[:: max(1, len(asked) // MOST_QUERIES)][:MOST_QUERIES]:
        if right := _right(repair, by_goal, number):
            judged.append((repair.heard, right))
    return Material(_numbered(found), texts, judged)


def _right(
    repair: Repair, by_goal: Mapping[Interpretation, Sequence[str]], number: Mapping[str, int]
) -> frozenset[int]:
    return frozenset(number[t] for t in by_goal.get(repair.goal, ()) if t != repair.heard)


def _assessed(turns: Sequence[Interaction]) -> list[Person]:
    people = list(by_user(turns).values())
    reactions = learn_reactions(people)
    return [(one, assess(one, reactions)) for one in people]


def _numbered(found: Sequence[TextPair]) -> Pairs:
    goals: dict[Interpretation, int] = {}
    return Pairs(
        heard=[p.heard for p in found],
        meant=[p.meant for p in found],
        goal=np.array([goals.setdefault(p.goal, len(goals)) for p in found], np.int64),
        clean=np.array([p.kind is Kind.SAID_OTHERWISE for p in found]),
    )


def train_encoder(
    logs: list[Path],
    out: Path,
    settings: TrainSettings,
    progress: Progress,
    *,
    base: Path | None = None,
    held_out_share: float = HELD_OUT_SHARE,
    threads: int = 2,
    say: Callable[[str], None] = lambda line: None,
    tombstones: Mapping[bytes, int] | None = None,
) -> dict[str, Any]:
    """Trains an encoder on the logs and puts it in `out`; the report, which lies there too as report.json.
    `tombstones`: of users who were forgotten, whose turns are left out.

    While it runs its state is in a file beside `out`; stopped and called again with the same, it goes on from there.
    Raises LogError, ModelPlaceError; replaces nothing before all is made.
    """
    out = out.absolute()
    check_place(out, MANIFEST, "encoder")
    out.parent.mkdir(parents=True, exist_ok=True)
    base = base or base_model(settings.layers)
    try:
        load(base, settings.layers)
    except ValueError as error:
        raise ModelPlaceError(str(error)) from None
    with progress.task("reading the log") as step:
        turns = without_forgotten(read_log(logs, progress=step).turns, tombstones or {})
    with progress.task("finding texts of one meaning"):
        found = material(turns, held_out_share)
    say(
        f"{len(found.pairs.heard)} pairs to learn from, {int(found.pairs.clean.sum())} of them said otherwise; "
        f"{len(found.judged)} failures of the held-out days to judge by, {len(found.texts)} texts to find"
    )
    checkpoint = out.parent / f"{out.name}.checkpoint.pt"
    with progress.task("training", settings.steps) as step:
        model, history = train(base, found.pairs, settings, checkpoint, threads=threads, progress=step)
    with drafted_folder(out) as draft:
        with progress.task("exporting to int8"):
            sample = [query for query, _ in found.judged[:MOST_QUERIES]] or list(found.texts[:MOST_QUERIES])
            fp32 = embed(model, sample).detach().numpy()
            described = {"base": {"model": base.name}, "made_with": "query-rewrite train-encoder"}
            write_encoder(model, draft, described, found.texts[:: max(1, len(found.texts) // _CALIBRATION_TEXTS)])
            made = Encoder(draft)
            cosine = cosines(made.encode(sample), fp32)
        with progress.task("judging on the held-out days"):
            report = {
                "settings": asdict(settings),
                "pairs": len(found.pairs.heard),
                "seconds": round(history.seconds, 1),
                "cosine_to_fp32": cosine,
                "held_out": {
                    "as shipped": recall(Encoder(), found.judged, found.texts),
                    "trained": recall(made, found.judged, found.texts),
                },
                "history": asdict(_thinned(history)),
            }
        (draft / REPORT).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    checkpoint.unlink(missing_ok=True)
    return report


def _thinned(history: History, most: int = 100) -> History:
    """The history with the losses' means over equal stretches, `most` of them at most."""
    if len(history.losses) <= most:
        return history
    means = [round(float(part.mean()), 4) for part in np.array_split(np.array(history.losses), most)]
    return History(means, history.fisher, history.seconds)
