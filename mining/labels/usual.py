"""What people usually ask, and with what success: as much of what was mined of a log as labelling its turns needs.

Small enough to go to every process that labels, whatever the log's size: of too many texts and word pairs, the most
usual are kept.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mining.defects import TurnEvidence
from mining.labels.overheard import Overheard
from mining.reactions import Reactions
from mining.tables import MOST_PER_PERSON, Tables
from retriever.completion import Completer
from retriever.hearing import Hearing
from retriever.interaction import Interaction
from retriever.normalise import normalise, word_pairs

if TYPE_CHECKING:
    from mining.mined import Mined

MAX_TEXTS = MAX_PAIRS = 100_000
MAX_WORDS = 50_000
"""What is kept at most: some 40 MB together."""
MAX_FOLLOW_UPS = 50
"""Whole follow-ups that a text's sound is compared with."""
SURE_SUPPORT, SURE_PRECISION = 3, 0.3
"""A rule for follow-ups that so many people are behind, and that is right so often, knows what was left out."""

_LEAST = 0.5
"""Turns below which nothing is left but what was rounded off."""

K = TypeVar("K")


class Record(NamedTuple):
    """What came of asking a thing, in turns: how often it was asked, how often that served (expected: probabilities
    summed), how often it failed and was repaired."""

    asked: float = 0.0
    served: float = 0.0
    repaired: float = 0.0

    def plus(self, other: Record) -> Record:
        return Record(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def less(self, other: Record) -> Record:
        """Never below nothing."""
        return Record(max(0.0, self[0] - other[0]), max(0.0, self[1] - other[1]), max(0.0, self[2] - other[2]))


NOTHING = Record()
Records = Mapping[str, Record]
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Usual:
    """`texts`: by normal form. `words`. `pairs`: by two neighbouring words, borders included. In all of them, one
    person's turns weigh no more than `mining.tables.MOST_PER_PERSON` for each text. `asked`: all turns, so weighed.
    `overheard`: how much of what got no answer was not meant for the assistant. `reactions`, `completer`, `hearing`:
    see `mining.mined.Mined`."""

    texts: Records
    words: Mapping[str, Record]
    pairs: Mapping[Pair, Record]
    asked: float
    overheard: Overheard
    reactions: Reactions
    completer: Completer
    hearing: Hearing

    @classmethod
    def of(cls, mined: Mined, most: int = MAX_TEXTS) -> Usual:
        """`most`: texts, and word pairs, that are kept."""
        tables, repaired = mined.tables, _repaired(mined.tables)
        texts, words, pairs = _records(tables, repaired)
        overheard = Overheard.fit(
            (resemblance(text, pairs), row.attempts, repaired[text])
            for text, row in tables.texts.items()
            if not any(row.understood)
        )
        return cls(
            _most(texts, most),
            _most(words, MAX_WORDS),
            _most(pairs, most),
            math.fsum(row.attempts for row in tables.texts.values()),
            overheard,
            mined.reactions,
            mined.completer,
            mined.hearing,
        )

    def of_others(self, text: str, own: Records) -> Record:
        """The record of a text among everybody but the person whose own record (`own_records`) is given."""
        left = self.texts.get(text, NOTHING).less(own.get(text, NOTHING))
        return left if left.asked >= _LEAST else NOTHING

    def rarity(self, word: str) -> float:
        """Nats, >= 0: how rarely a word is asked, by the turns that hold it."""
        return math.log((self.asked + 1) / (self.words.get(word, NOTHING).asked + 1))

    @cached_property
    def follow_ups(self) -> list[str]:
        """The texts that leave out what came before, each whole, those of most people first."""
        sure = (r for r in self.completer.rules if r.support >= SURE_SUPPORT and r.precision >= SURE_PRECISION)
        whole = (r.pattern for r in sure if not r.open_ended and "{" not in r.pattern)
        return list(dict.fromkeys(whole))[:MAX_FOLLOW_UPS]


def resemblance(text: str, pairs: Mapping[Pair, Record]) -> float:
    """How much a text is like what people ask and get: the mean logarithm, from 0 on, of how often its pairs of
    neighbouring words served."""
    known = [math.log1p(pairs.get(pair, NOTHING).served) for pair in word_pairs(text)]
    return sum(known) / len(known)


def own_records(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> dict[str, Record]:
    """One person's records by text, as much as they weigh among everybody's."""
    out: dict[str, Record] = {}
    for turn, e in zip(turns, evidence, strict=True):
        text = normalise(turn.request.query)
        out[text] = out.get(text, NOTHING).plus(Record(1.0, 1 - e.defect, float(e.goal is not None)))
    for text, (asked, served, repaired) in out.items():
        weight = min(1.0, MOST_PER_PERSON / asked)
        out[text] = Record(weight * asked, weight * served, min(repaired, MOST_PER_PERSON))
    return out


def _repaired(tables: Tables) -> Counter[str]:
    """Turns that were repaired, by text."""
    out: Counter[str] = Counter()
    for (source, _), repair in sorted(tables.repairs.items()):
        out[source] += repair.times  # type: ignore[assignment]
    return out


def _records(
    tables: Tables, repaired: Mapping[str, float]
) -> tuple[dict[str, Record], dict[str, Record], dict[Pair, Record]]:
    """By text, of those that were asked more than once; by word and by word pair, of all."""
    texts: dict[str, Record] = {}
    words: dict[str, Record] = {}
    pairs: dict[Pair, Record] = {}
    for text, row in sorted(tables.texts.items()):
        record = Record(row.attempts, row.successes, repaired[text])
        if record.asked > 1:
            texts[text] = record
        for word in dict.fromkeys(text.split()):  # no set: the same order in every process
            words[word] = words.get(word, NOTHING).plus(record)
        for pair in dict.fromkeys(word_pairs(text)):
            pairs[pair] = pairs.get(pair, NOTHING).plus(record)
    return texts, words, pairs


def _most(records: dict[K, Record], most: int) -> dict[K, Record]:
    """The most asked; what was asked once is as good as unknown."""
    known = {key: record for key, record in records.items() if record.asked > 1}
    if len(known) <= most:
        return known
    return {key: known[key] for key in heapq.nlargest(most, known, key=lambda key: (known[key].asked, key))}
