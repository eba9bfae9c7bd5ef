"""Where HabitBench's dev requests failed: as the model says, beside the truth, the rules alone, and a model that sees
only the one turn.

All is learned from the log's days; the truth of the dev days (`benchmarks.labels.point_truth`) judges. Macro-F1 is the
mean F1 over the failure points that occur in the truth of the turns that are judged:

- all: every first attempt of the dev days, the correct ones too.
- repaired: the first attempts that failed and that a later turn of the session repaired, by the truth
  (`benchmarks.mining.dev_dialogues`).
- followed: every first attempt after which the session went on, the correct ones too.

The rules alone: where they say nothing, a turn that did not fail is correct, and another failed where most do by the
rules. Made failures (`benchmarks.labels.made_failures`), which HabitBench does not have, are judged apart: a second
model learns from the same log with them put in, and judges the dev days with them put in.

usage: python -m benchmarks.labels.failure_points      (HABITBENCH: its folder)
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import lightgbm
import numpy as np

from benchmarks.labels.made_failures import Kind, with_made_failures
from benchmarks.labels.point_truth import true_points
from benchmarks.labels.results import write_figures
from benchmarks.mining.dev_dialogues import DevDialogues
from benchmarks.quality.tables import percent, show
from benchmarks.quality.truth import DRAWS, Truth, folder
from mining.defects import TurnEvidence, assess
from mining.labels.failure_points import FailurePoints, learn_failure_points, possible, teach, train, weak_points
from mining.labels.point_features import ITSELF, NAMES, features, hidden
from mining.labels.point_rules import weak_points_of
from mining.labels.point_words import WORD_FEATURES, said
from mining.labels.sights import sights
from mining.labels.turn_label import POINTS, FailurePoint
from mining.labels.usual import Usual
from mining.mined import Mined, mine_people
from mining.reader import read_log
from mining.sessions import by_user, sessions
from retriever.interaction import Interaction

COMMAND = "python -m benchmarks.labels.failure_points"
MIN_PEOPLE = 3
HELD_OUT_SHARE = 0.2
BANDS = (0.0, 0.5, 0.7, 0.9, 0.98, 1.01)
People = Mapping[str, Sequence[Interaction]]
Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]
Told = Mapping[str, FailurePoint]
"""By interaction id."""


@dataclass(frozen=True)
class Learned:
    """What a log taught. `usual_failure`: where most turns fail, by the rules."""

    mined: Mined
    usual: Usual
    people: Mapping[str, Person]
    model: FailurePoints
    usual_failure: FailurePoint

    @classmethod
    def of(cls, people: People) -> Learned:
        mined = mine_people(people, MIN_PEOPLE)
        usual = Usual.of(mined)
        assessed = {user: (turns, assess(turns, mined.reactions)) for user, turns in people.items()}
        failed: Counter[FailurePoint] = Counter()
        for turns, evidence in assessed.values():
            failed.update(w[0] for w in weak_points(turns, evidence, usual) if w and w[0] is not FailurePoint.CORRECT)
        model = learn_failure_points(assessed.values(), usual)
        return cls(mined, usual, assessed, model, failed.most_common(1)[0][0])

    def judged(self, people: People) -> dict[str, Person]:
        return {user: (turns, assess(turns, self.mined.reactions)) for user, turns in people.items()}

    def by_model(self, people: Mapping[str, Person]) -> Told:
        return _told(people, lambda turns, evidence: self.model.of(turns, evidence))

    def by_rules(self, people: Mapping[str, Person]) -> Told:
        out = {}
        for turns, evidence in people.values():
            for turn, e, weak in zip(turns, evidence, weak_points(turns, evidence, self.usual), strict=True):
                fallback = self.usual_failure if e.failed else FailurePoint.CORRECT
                out[turn.request.interaction_id] = fallback if weak is None else weak[0]
        return out

    def by_one_turn(self, people: Mapping[str, Person]) -> Told:
        """By a model of the same kind that learns from the same weak labels and sees nothing of the turns around: also
        whether an answer failed it must tell by the turn alone."""
        alone = np.array([name in (*WORD_FEATURES, *ITSELF) for name in NAMES])
        taught = teach(self.people.values(), self.usual, served=True)
        booster = lightgbm.Booster(model_str=train(np.where(alone, taught.x, np.nan), taught.y, taught.weight))

        def of(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> np.ndarray:
            seen = sights(turns, evidence, self.usual)
            rows = features(seen, self.usual, taught.words, said(seen, weak_points_of(seen, self.usual)))
            found = np.asarray(booster.predict(np.where(alone, rows, np.nan), num_threads=1))
            return possible(found, seen, 1 - found[:, POINTS.index(FailurePoint.CORRECT)])

        return _told(people, of)


def _told(people: Mapping[str, Person], of: Callable[..., np.ndarray]) -> Told:
    out = {}
    for turns, evidence in people.values():
        for turn, row in zip(turns, of(turns, evidence), strict=True):
            out[turn.request.interaction_id] = POINTS[int(row.argmax())]
    return out


def scores(truth: Told, told: Told, ids: Collection[str]) -> dict[str, dict[str, float | int]]:
    """Precision, recall and F1 of each failure point that is true of some of `ids`."""
    out = {}
    for point in POINTS:
        true, found = sum(truth[i] is point for i in ids), sum(told[i] is point for i in ids)
        if true:
            right = sum(truth[i] is told[i] is point for i in ids)
            out[point.value] = {
                "precision": round(right / max(1, found), 4),
                "recall": round(right / true, 4),
                "f1": round(2 * right / (true + found), 4),
                "turns": true,
            }
    return out


def macro(by_point: Mapping[str, Mapping[str, float | int]]) -> float:
    return float(np.mean([of["f1"] for of in by_point.values()]))


def spread(truth: Told, told: Told, ids: Collection[str], user_of: Mapping[str, str]) -> list[float]:
    """95 % of macro-F1 over users drawn with replacement."""
    drawn = [macro(scores(truth, told, sample)) for sample in _samples(ids, user_of)]
    return [round(float(v), 4) for v in np.quantile(drawn, (0.025, 0.975))]


def gain(truth: Told, one: Told, other: Told, ids: Collection[str], user_of: Mapping[str, str]) -> list[float]:
    """95 % of what macro-F1 of one is more than that of the other, over the same users drawn with replacement."""
    drawn = [macro(scores(truth, one, s)) - macro(scores(truth, other, s)) for s in _samples(ids, user_of)]
    return [round(float(v), 4) for v in np.quantile(drawn, (0.025, 0.975))]


def _samples(ids: Collection[str], user_of: Mapping[str, str]) -> Iterator[list[str]]:
    theirs: dict[str, list[str]] = {}
    for i in ids:
        theirs.setdefault(user_of[i], []).append(i)
    users, rng = sorted(theirs), np.random.default_rng(0)
    for _ in range(DRAWS):
        yield [i for at in rng.integers(0, len(users), len(users)) for i in theirs[users[at]]]


def on_dev(dev: DevDialogues, learned: Learned) -> dict[str, object]:
    """The figures of the real dev turns."""
    truth = true_points(dev.truth)
    people = learned.judged(dev.people)
    user_of = {r.interaction_id: r.user_id for r in dev.truth.requests}
    sets = {"_all": list(truth), "_repaired": [i for i in truth if i in dev.rephrase], "_followed": _followed(dev)}
    ways = {"": learned.by_model(people), "_rules": learned.by_rules(people), "_one_turn": learned.by_one_turn(people)}
    out: dict[str, object] = {}
    rows = []
    for way, told in ways.items():
        for name, ids in sets.items():
            # The model's figure of all turns is named so; that of another way bears the way's name alone.
            key = f"failure_point_macro_f1{way}{name if name != '_all' or not way else ''}"
            by_point = scores(truth, told, ids)
            out[key], out[f"{key}_95"] = round(macro(by_point), 4), spread(truth, told, ids, user_of)
            out[f"failure_points{way}{name}"] = by_point
            if way:
                out[f"failure_point_gain_over{way}{name}_95"] = gain(truth, ways[""], told, ids, user_of)
            each = (f"{by_point[p.value]['f1']:.3f}" if p.value in by_point else "" for p in POINTS)
            rows.append((way[1:] or "model", name[1:], len(ids), f"{out[key]:.3f}", out[f"{key}_95"], *each))
    show("macro-F1 on dev turns", ("told by", "turns", "n", "macro-F1", "95 %", *(p.value for p in POINTS)), rows)
    out["failure_point_confusion"] = confusion(truth, ways[""], sets["_all"])
    out["failure_point_bands"] = bands(truth, learned.model, people)
    return out


def bands(truth: Told, model: FailurePoints, people: Mapping[str, Person]) -> list[dict[str, object]]:
    """How often the likeliest failure point was right, by how probable it was said to be."""
    said, right = [], []
    for turns, evidence in people.values():
        for turn, row in zip(turns, model.of(turns, evidence), strict=True):
            true = truth.get(turn.request.interaction_id)
            if true is not None:
                said.append(float(row.max()))
                right.append(POINTS[int(row.argmax())] is true)
    inside = [(low, high, np.array([low <= p < high for p in said])) for low, high in pairwise(BANDS)]
    found = [
        {"from": low, "turns": int(of.sum()), "said": mean(np.array(said)[of]), "right": mean(np.array(right)[of])}
        for low, _, of in inside
    ]
    show("probability of the likeliest, and how often it was right", list(found[0]), [row.values() for row in found])
    return found


def mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def confusion(truth: Told, told: Told, ids: Collection[str]) -> dict[str, dict[str, int]]:
    """How many turns of each true point were told to be which."""
    counts = Counter((truth[i].value, told[i].value) for i in ids)
    table = {a.value: {b.value: counts[a.value, b.value] for b in POINTS} for a in POINTS}
    table = {true: found for true, found in table.items() if any(found.values())}
    show("true (row) and told (column)", ("", *POINTS), [(true, *found.values()) for true, found in table.items()])
    return table


def _followed(dev: DevDialogues) -> list[str]:
    """The first attempts that are not the last turn of their session."""
    return [
        turns[i].request.interaction_id
        for turns in dev.people.values()
        for span in sessions(turns)
        for i in span[:-1]
        if dev.asked(turns[i])
    ]


def on_held_out_days(people: People) -> dict[str, object]:
    """What a model of the log's first days makes of the weak labels of its last ones, with what came after each turn
    and with that hidden: what choices of features and settings went by. Also without the features of word pairs."""
    stamps = sorted(turn.request.timestamp_ms for turns in people.values() for turn in turns)
    cut = stamps[round(len(stamps) * (1 - HELD_OUT_SHARE))]
    learned = Learned.of(_between(people, 0, cut))
    taught = teach(learned.people.values(), learned.usual)
    without = np.array([name in WORD_FEATURES for name in NAMES])
    masks = {"": np.zeros(len(NAMES), bool), "_without_words": without}
    models = {
        way: lightgbm.Booster(model_str=train(np.where(mask, np.nan, taught.x), taught.y, taught.weight))
        for way, mask in masks.items()
    }
    truth: dict[str, FailurePoint] = {}
    told: dict[str, dict[str, FailurePoint]] = {f"{view}{way}": {} for view in ("", "_hidden") for way in masks}
    for turns, evidence in learned.judged(_between(people, cut, 1 << 62)).values():
        seen = sights(turns, evidence, learned.usual)
        labels = weak_points_of(seen, learned.usual)
        known = [i for i, label in enumerate(labels) if label is not None]
        rows = features(seen, learned.usual, taught.words, said(seen, labels))
        defect = np.array([e.defect for e in evidence])
        truth |= {turns[i].request.interaction_id: labels[i][0] for i in known}  # type: ignore[index]
        for way, mask in masks.items():
            for view, shown in (("", rows), ("_hidden", hidden(rows))):
                found = possible(np.asarray(models[way].predict(np.where(mask, np.nan, shown))), seen, defect)
                points = {turns[i].request.interaction_id: POINTS[int(found[i].argmax())] for i in known}
                told[f"{view}{way}"] |= points
    by_point = {way: scores(truth, told[way], list(truth)) for way in told}
    table = [(way[1:] or "shown", p, *of.values()) for way, points in by_point.items() for p, of in points.items()]
    columns = ("what came after", "point", "precision", "recall", "F1", "turns")
    show("the rules' labels on held-out days", columns, table)
    return {"failure_points_held_out": by_point} | {
        f"failure_point_macro_f1_held_out{way}": round(macro(points), 4) for way, points in by_point.items()
    }


def _between(people: People, from_ms: int, to_ms: int) -> dict[str, list[Interaction]]:
    inside = {u: [t for t in turns if from_ms <= t.request.timestamp_ms < to_ms] for u, turns in people.items()}
    return {user: turns for user, turns in inside.items() if turns}


def with_made(dev: DevDialogues, everybody: People, learned: Learned) -> dict[str, object]:
    """The figures of made failures, and of the real dev turns among them."""
    made = with_made_failures(learned.judged(everybody))
    dev_from = min(request.timestamp_ms for request in dev.truth.requests)
    again = Learned.of(_between(made.people, 0, dev_from))
    told = again.by_model(again.judged(made.people))
    truth = true_points(dev.truth)
    days = {t.request.interaction_id for ts in _between(made.people, dev_from, 1 << 62).values() for t in ts}
    kinds = {name: kind for name, kind in made.kinds.items() if name in days}
    rows = []
    out: dict[str, object] = {"overheard_shares": [round(share, 3) for share in again.usual.overheard.shares]}
    for kind in Kind:
        of = [told[name] for name in kinds if kinds[name] is kind]
        point = FailurePoint.FALSE_WAKE if kind.overheard else FailurePoint.RESULT
        right = sum(t is point for t in of)
        rows.append((kind.value, len(of), percent(right / max(1, len(of))), dict(Counter(t.value for t in of))))
        out[kind.value] = {"turns": len(of), "right": right}
    show("made failures on dev days", ("kind", "turns", "told right", "told as"), rows)
    for point, theirs in (
        (FailurePoint.FALSE_WAKE, [name for name, kind in kinds.items() if kind.overheard]),
        (FailurePoint.RESULT, [name for name, kind in kinds.items() if not kind.overheard]),
    ):
        marked = [name for name in days if told[name] is point]
        right = len(set(marked) & set(theirs))
        precision, recall = right / max(1, len(marked)), right / max(1, len(theirs))
        out[f"{point.value}_precision"], out[f"{point.value}_recall"] = round(precision, 4), round(recall, 4)
        print(f"made {point.value}: precision {percent(precision)}, recall {percent(recall)}")
    for name, ids in (("all", list(truth)), ("repaired", [i for i in truth if i in dev.rephrase])):
        out[f"macro_f1_{name}"] = found = round(macro(scores(truth, told, ids)), 4)
        print(f"real dev turns among them, {name}: macro-F1 {found}")
    return {"made_failures": out}


def cost(learned: Learned) -> dict[str, object]:
    """What learning and telling take of one core, on the log itself, and how large it is in a message to a process."""
    began = time.process_time()
    learn_failure_points(learned.people.values(), learned.usual)
    learning = time.process_time() - began
    began = time.process_time()
    for turns, evidence in learned.people.values():
        learned.model.of(turns, evidence)
    turns = sum(len(turns) for turns, _ in learned.people.values())
    found = {
        "turns": turns,
        "learning_s": round(learning, 2),
        "told_us_a_turn": round(1e6 * (time.process_time() - began) / turns),
        "pickled_bytes": len(pickle.dumps(learned.model)),
    }
    show("cost", list(found), [found.values()])
    return {"failure_point_cost": found}


def main() -> None:
    truth = Truth()
    log = by_user(read_log([folder() / "log.jsonl.gz"]).turns)
    everybody = by_user([*(turn for turns in log.values() for turn in turns), *truth.history])
    dev_users = {turn.request.user_id for turn in truth.history}
    dev = DevDialogues(truth, {user: turns for user, turns in everybody.items() if user in dev_users})
    figures = on_held_out_days(log)
    learned = Learned.of(log)
    figures |= on_dev(dev, learned)
    figures |= cost(learned)
    figures |= with_made(dev, everybody, learned)
    write_figures("failure points", COMMAND, figures)


if __name__ == "__main__":
    main()
