"""Whether more can be told of an answered turn than `mining.defects` tells: LightGBM on everything around it, taught by
the log's own probabilities (soft labels) on other users' turns.

It sees what the mixture of reactions does not: seconds as they are, what came before and how soon, how like the next
turns are, what the recogniser's hypotheses have in common with them, and what became of the same answer for others.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import lightgbm
import numpy as np
from rapidfuzz import fuzz

from mining.defects import Signal, TurnEvidence
from mining.rephrases import REPHRASE_WINDOW_MS, affinity, fills_in, says_it_again
from retriever.interaction import Channel, Explicit, Interaction, Interpretation, Outcome
from retriever.normalise import normalise

FOLDS, _ROUNDS, _NEXT = 5, 150, 4
_SETTINGS = {
    "objective": "cross_entropy", "num_leaves": 15, "learning_rate": 0.06, "min_data_in_leaf": 30, "verbose": -1,
    "num_threads": 1, "seed": 7,
}  # fmt: skip
Person = tuple[Sequence[Interaction], Sequence[TurnEvidence]]


def student(people: Mapping[str, Person]) -> dict[str, float]:
    """Probability of having failed, by interaction id, of every answered turn; each told by a model that learned from
    other users."""
    records = _Records(people)
    rows, taught, ids, fold = [], [], [], []
    for user, (turns, evidence) in people.items():
        for i, (turn, e) in enumerate(zip(turns, evidence, strict=True)):
            if turn.interpretation is not None and turn.outcome is Outcome.OK:
                rows.append(_row(turns, i, e, records, user))
                taught.append(e.defect)
                ids.append(turn.request.interaction_id)
                fold.append(zlib.crc32(user.encode()) % FOLDS)
    x, y, at = np.array(rows, float), np.array(taught), np.array(fold)
    out = np.zeros(len(y))
    for f in range(FOLDS):
        if (at == f).any():
            model = lightgbm.train(_SETTINGS, lightgbm.Dataset(x[at != f], y[at != f]), _ROUNDS)
            out[at == f] = model.predict(x[at == f], num_threads=1)
    return dict(zip(ids, out.tolist(), strict=True))


class _Records:
    """What became of each reading, for each user and for all, and of each text."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self.reading: dict[Interpretation, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.own: dict[tuple[str, Interpretation], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.text: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for user, (turns, evidence) in people.items():
            for turn, e in zip(turns, evidence, strict=True):
                if turn.interpretation is not None:
                    text = self.text[normalise(turn.request.query)]
                    for row in (self.reading[turn.interpretation], self.own[user, turn.interpretation], text):
                        row[0] += 1
                        row[1] += e.defect
        intents = sorted({reading.intent for reading in self.reading})
        self.intent = {intent: n for n, intent in enumerate(intents)}


def _row(turns: Sequence[Interaction], i: int, e: TurnEvidence, records: _Records, user: str) -> list[float]:
    turn, text = turns[i], normalise(turns[i].request.query)
    request, feedback, reading = turn.request, turn.feedback, turn.interpretation
    assert reading is not None
    after = []
    for k in range(i + 1, min(len(turns), i + 1 + _NEXT)):
        if turns[k].request.timestamp_ms - turns[k - 1].request.timestamp_ms > REPHRASE_WINDOW_MS:
            break
        after.append(turns[k])
    said = [normalise(t.request.query) for t in after]
    pause = lambda a, b: min(1e4, (b.request.timestamp_ms - a.request.timestamp_ms) / 1000)  # noqa: E731
    own, everybody, words = records.own[user, reading], records.reading[reading], records.text[text]
    values = [normalise(v) for _, v in reading.slots]
    return [
        feedback.barge_in,
        np.nan if feedback.dwell_s is None else feedback.dwell_s,
        {None: 0, Explicit.YES: 1, Explicit.NO: -1}[feedback.explicit],
        np.nan if request.asr_confidence is None else request.asr_confidence,
        request.channel is not Channel.VOICE,
        pause(turn, turns[i + 1]) if i + 1 < len(turns) else 1e4,
        pause(turns[i - 1], turn) if i else 1e4,
        len(after),
        len(text.split()),
        len(request.alternatives),
        max((affinity(text, t) for t in said), default=0.0),
        max((says_it_again(text, t) for t in said), default=False),
        max((fills_in(turn, t) for t in after), default=False),
        after[0].interpretation is None if after else -1,
        after[0].interpretation == reading if after else -1,
        after[0].request.channel is not Channel.VOICE if after else -1,
        max((fuzz.ratio(normalise(a), t) for t in said for a in request.alternatives[:_NEXT]), default=0.0),
        i > 0 and turns[i - 1].interpretation is None and pause(turns[i - 1], turn) < 120,
        own[0],
        (own[1] - e.defect + 0.3) / (own[0] + 1),
        (everybody[1] - own[1] + 0.3) / (everybody[0] - own[0] + 3),
        (words[1] - e.defect + 0.3) / (words[0] + 3),
        words[0],
        sum(f" {v} " in f" {text} " for v in values) / max(1, len(values)),
        Signal.REPHRASED in e.signals,
        Signal.REPEATED in e.signals,
        records.intent[reading.intent],
    ]
