"""What labelling makes of each person on either engine: a row for each failed turn that has a label sure enough.

A label is training data. Where the recogniser failed, and what was heard sounds like what is meant, the pair of both is
for the recogniser; where the words were right and their meaning was not found, the words and the meaning are for
language understanding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mining.engines.rows import Row, key_of, parts_of
from mining.engines.stages import Stage
from mining.labels.labelling import Labeller
from mining.labels.transcripts import transcribes
from mining.labels.turn_label import POINTS, FailurePoint, TurnLabel
from mining.tables import exactly
from retriever.interaction import Interaction
from retriever.normalise import normalise

LABELS = "labels"
ASR, NLU = "asr", "nlu"
_WORDS_WERE_RIGHT = frozenset((FailurePoint.NLU, FailurePoint.ENTITY_RESOLUTION))


@dataclass(frozen=True, slots=True)
class Wanted:
    """`least`: probability from which on a label is written."""

    labeller: Labeller
    least: float


def label_rows(turns: Sequence[Interaction], wanted: Wanted) -> Iterator[Row]:
    """One person's labels, from their turns in time order."""
    for turn, label in zip(turns, wanted.labeller.labels(turns), strict=True):
        correction = label.correction
        if correction is None or correction.probability < wanted.least:
            continue
        heard = turn.request.query if turn.heard is None else turn.heard
        point, probability = failed_at(label)
        made, source = correction.interpretation, turns[correction.turn].request.interaction_id
        use = uses(heard, correction.text, point)
        key = key_of(
            turn.request.interaction_id, heard, correction.text, made.intent, made.slots, point.value, source, use
        )
        amounts = exactly(correction.probability), exactly(probability)
        yield Row(LABELS, key, amounts, 1, turn.request.timestamp_ms)


LABEL = Stage("label", (LABELS,), label_rows)


def failed_at(label: TurnLabel) -> tuple[FailurePoint, float]:
    """The likeliest failure point of a turn that is known to have failed, and how probable it is then, 0 to 1."""
    failed = sum(label.points[1:])
    at = max(range(1, len(POINTS)), key=label.points.__getitem__)
    return POINTS[at], label.points[at] / failed if failed > 0 else 1 / (len(POINTS) - 1)


def uses(heard: str, text: str, point: FailurePoint) -> list[str]:
    """What a label trains: nothing where neither the words nor their meaning were at fault."""
    if point is FailurePoint.ASR and transcribes(normalise(heard), text):
        return [ASR]
    return [NLU] if point in _WORDS_WERE_RIGHT else []


def records(rows: Iterable[Mapping[str, Any]], with_users: bool) -> Iterator[dict[str, Any]]:
    """The lines of a file of labels, from rows of `LABEL`. `with_users`: name whose turn each is."""
    for row in rows:
        turn, heard, text, intent, slots, point, source, use = parts_of(row["key"])
        user = {"user_id": row["user_id"]} if with_users else {}
        yield user | {
            "interaction_id": turn,
            "heard": heard,
            "text": text,
            "intent": intent,
            "slots": dict(slots),
            "probability": round(row["amount_0"], 4),
            "failure_point": point,
            "failure_point_probability": round(row["amount_1"], 4),
            "taken_from": source,
            "use": use,
        }
