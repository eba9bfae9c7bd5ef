"""How right the two labels are that everything is learned from, beside other ways to get them, on HabitBench's dev days
where the truth is known: whether a turn failed its user, and which later turn of the dialogue was the rephrase that
worked. All is learned from the log alone; the truth only judges.

usage: python -m benchmarks.mining.labels [MODEL]
       (HABITBENCH: its folder; MODEL: of train-rephrase on its log; without: it is trained first, some minutes)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.mining.defect_student import student
from benchmarks.mining.dev_dialogues import DevDialogues, Found, People
from benchmarks.mining.log_agreement import agreement, beside
from benchmarks.mining.pairwise import Pairwise
from benchmarks.mining.plain_rules import PlainRule
from benchmarks.mining.results import write_figures
from benchmarks.quality.tables import show
from benchmarks.quality.truth import Truth, folder
from mining.contextual_rephrases import RephraseModel
from mining.defects import MARKED, assess, learn_reactions
from mining.dialogue_examples import Person, examples
from mining.reactions import Reactions
from mining.reader import read_log
from mining.rephrases import Marks
from mining.sessions import by_user
from retriever.encoder import Encoder
from retriever.vector_cache import CachedEncoder
from rewrite_service.progress import Progress
from rewrite_service.rephrase_training import HELD_OUT_SHARE

COMMAND = "make bench-mining"
DRAWS = 400
_CACHE_BYTES = 1 << 28


def average_precision(p: np.ndarray, failed: np.ndarray) -> float:
    """Area under precision over recall, 0 to 1; turns of one probability come in together (as scikit-learn's)."""
    order = np.argsort(-p, kind="stable")
    p, failed = p[order], failed[order].astype(float)
    last = np.r_[p[1:] != p[:-1], True]
    found, seen = np.cumsum(failed)[last], np.flatnonzero(last) + 1
    return float((np.diff(np.r_[0, found]) * found / seen).sum() / max(1.0, failed.sum()))


def _drawn(users: Sequence[str]) -> list[np.ndarray]:
    """Rows of `DRAWS` samples of users, with replacement."""
    rows: dict[str, list[int]] = {}
    for row, user in enumerate(users):
        rows.setdefault(user, []).append(row)
    rng, names = np.random.default_rng(0), sorted(rows)
    return [np.concatenate([rows[names[i]] for i in rng.integers(0, len(names), len(names))]) for _ in range(DRAWS)]


def defects(dev: DevDialogues, people: Mapping[str, Person], rule: PlainRule) -> dict[str, object]:
    """PR-AUC of three ways to tell that a turn failed, over all first attempts and over those that got an answer."""
    taught = student(people)
    rows, users = [], []
    for user, (turns, evidence) in people.items():
        for turn, e, plain in zip(turns, evidence, rule.failed(turns), strict=True):
            if dev.asked(turn):
                told = taught.get(turn.request.interaction_id, e.defect)
                rows.append((e.defect, told, plain, not dev.gives(turn, turn), turn.interpretation is not None))
                users.append(user)
    table, out = np.array(rows, float), {}
    shown = []
    for name, kept in (("", np.ones(len(table), bool)), ("_answered", table[:, 4] == 1)):
        part, failed = table[kept], table[kept, 3]
        drawn = _drawn([user for user, k in zip(users, kept, strict=True) if k])
        areas = {}
        for column, way in enumerate(("", "_student", "_rule")):
            p = part[:, column]
            spread = [average_precision(p[d], failed[d]) for d in drawn]
            areas[way] = np.array(spread)
            clipped = np.clip(p, 1e-3, 1 - 1e-3)
            loss = -float(np.mean(failed * np.log(clipped) + (1 - failed) * np.log(1 - clipped)))
            brier = float(np.mean((p - failed) ** 2))
            key = f"defect_pr_auc{way}{name}"
            out[key] = round(average_precision(p, failed), 4)
            out[f"{key}_95"] = [round(float(v), 4) for v in np.quantile(spread, (0.025, 0.975))]
            out[f"defect_brier{way}{name}"] = round(brier, 5)
            told_by = f"{way[1:] or 'mining.defects'}{name.replace('_', ', ')}"
            shown.append((told_by, out[key], f"{brier:.4f}", f"{loss:.4f}"))
        gain = np.quantile(areas["_student"] - areas[""], (0.025, 0.975))
        out[f"defect_student_gain{name}_95"] = [round(float(v), 4) for v in gain]
    out["defect_turns"] = len(table)
    show("whether a turn failed", ("told by", "PR-AUC", "Brier", "log loss"), shown)
    return out


Way = Callable[[People], Found]


def rephrases(dev: DevDialogues, ways: Mapping[str, Way]) -> dict[str, object]:
    """F1 of each way to find the rephrase, on the dev days' dialogues and on the same interrupted."""
    out: dict[str, object] = {"rephrase_dialogues": len(dev.rephrase)}
    rows = []
    for name, people in (("", dev.people), ("_interrupted", dev.interrupted())):
        for way, find in ways.items():
            scored = dev.score(people, find(people))
            out[f"rephrase_f1{way}{name}"] = scored["f1"]
            out[f"rephrase{way}{name}"] = scored
            rows.append((f"{way[1:] or 'model'}{name.replace('_', ', ')}", *scored.values()))
    show("which later turn was the rephrase", ("found by", "precision", "recall", "F1", "marked", "right", "of"), rows)
    return out


def main() -> None:
    truth = Truth()
    log = read_log([folder() / "log.jsonl.gz"]).turns
    before = by_user(log)
    reactions = learn_reactions(list(before.values()))
    learned: dict[str, Person] = {user: (turns, assess(turns, reactions)) for user, turns in before.items()}
    everybody = by_user([*log, *truth.history])
    dev_users = {turn.request.user_id for turn in truth.history}
    dev = DevDialogues(truth, {user: turns for user, turns in everybody.items() if user in dev_users})
    rule, rough = PlainRule.for_rephrases(learned.values()), PlainRule.for_defects(learned.values())
    known = {user: (turns, assess(turns, reactions)) for user, turns in everybody.items()}
    found = defects(dev, known, rough)
    with tempfile.TemporaryDirectory(prefix="query-rewrite-labels-") as place:
        encoder = Encoder()
        encode = CachedEncoder(encoder, Encoder.DIMENSION, _CACHE_BYTES).encode
        directory = Path(sys.argv[1]) if sys.argv[1:] else _trained(Path(place) / "model")
        model = RephraseModel(directory, encode, encoder.fingerprint)
        pairwise = Pairwise(examples(learned, seed=7), encode)
        marked_reactions = _with_marks(before, model.marks(before))
        found |= rephrases(
            dev,
            {
                "": lambda people: _marked(model, people),
                "_pairwise": lambda people: {user: pairwise.rephrases(turns) for user, turns in people.items()},
                "_rule": lambda people: {user: rule.rephrases(turns) for user, turns in people.items()},
                "_defects": lambda people: _goals(people, reactions, None),
                "_defects_marked": lambda people: _goals(people, marked_reactions, model.marks(people)),
            },
        )
        marks = model.marks(before)
        ways = {"rules": _goals(before, reactions, None), "model": _goals(before, marked_reactions, marks)}
        ways["beside"] = beside(ways["rules"], ways["model"])
        cut = log[round(len(log) * (1 - HELD_OUT_SHARE))].request.timestamp_ms
        found["rephrase_log_agreement"] = agreed = agreement(before, ways, cut)
    show(
        "the log's last days, by what the same words reached before",
        ("goals from", "turns", "confirmed", "contradicted"),
        [(way, *counts.values()) for way, counts in agreed.items()],
    )
    found["plain_rule_for_rephrases"], found["plain_rule_for_defects"] = asdict(rule), asdict(rough)
    write_figures("labels", COMMAND, found)


def _marked(model: RephraseModel, people: People) -> Found:
    """What the model alone says, from the probability on that the build takes."""
    return {
        user: [m.goal if m is not None and m.probability >= MARKED else None for m in marks]
        for user, marks in model.marks(people).items()
    }


def _with_marks(people: People, marks: Mapping[str, Marks]) -> Reactions:
    return learn_reactions(list(people.values()), [marks[user] for user in people])


def _goals(people: People, reactions: Reactions, marks: Mapping[str, Marks] | None) -> Found:
    return {
        user: [e.goal for e in assess(turns, reactions, marks and marks[user])] for user, turns in people.items()
    }


def _trained(place: Path) -> Path:
    from mining.training.train import TrainSettings
    from rewrite_service.rephrase_training import train_rephrase

    train_rephrase([folder() / "log.jsonl.gz"], place, TrainSettings(), Progress())
    return place


if __name__ == "__main__":
    main()
