"""What works for everybody: candidate texts with their evidence, and what is known of any text, word or slot value.

Privacy: a text becomes a candidate for others only when at least `min_people` said it with success. Of rarer texts only
a hash and counts are kept, enough to tell whether a text has worked, not enough to read it. Sources of repairs are kept
as vectors and hashes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import orjson

from retriever.evidence import Repair, TextEvidence
from retriever.global_index import GlobalIndex
from retriever.interaction import Interpretation
from retriever.normalise import word_pairs
from retriever.packed import HashCounts, PackedStrings, key_hash
from retriever.sound import SoundSpace
from retriever.views import Hits, TextEncoder, Views

MIN_PEOPLE = 2
_COLUMNS = ("attempts", "successes", "people", "last_success_ms", "reading_no_screen", "reading_screen")
_MAX_RAREST = 16384
"""Texts whose rarest word pair is remembered."""
_AGREEMENT = ("agreement_no_screen", "agreement_screen")


@dataclass(frozen=True, slots=True)
class GlobalText:
    """A candidate text with everybody's evidence; fields as in `retriever.evidence.TextEvidence`."""

    row: int
    text: str
    attempts: float
    successes: float
    people: int
    last_success_ms: int
    readings: tuple[Interpretation | None, Interpretation | None]
    agreements: tuple[float, float] = (math.nan, math.nan)

    def reading(self, has_screen: bool) -> Interpretation | None:
        return self.readings[has_screen] or self.readings[not has_screen]

    def agreement(self, has_screen: bool) -> float:
        return self.agreements[has_screen if self.readings[has_screen] else not has_screen]


@dataclass(frozen=True, slots=True)
class TextRecord:
    """What is known of any text that was ever said: `attempts`, `successes` (expected), `people` with success."""

    attempts: float
    successes: float
    people: float


def _reading_hash(reading: Interpretation) -> int:
    return key_hash(reading.intent, *(part for slot in reading.slots for part in slot))


def _reading_counts(texts: Iterable[TextEvidence]) -> dict[int, tuple[float, float]]:
    """Successes of each meaning in whatever words, and the texts that had it, by the meaning's hash."""
    out: dict[int, tuple[float, float]] = {}
    for e in texts:
        for reading, n in (e.readings[0] + e.readings[1]).items():
            key = _reading_hash(reading)
            successes, said = out.get(key, (0.0, 0.0))
            out[key] = (successes + n, said + 1)
    return out


def _reading(readings: PackedStrings, number: int) -> Interpretation | None:
    if number < 0:
        return None
    intent, slots = orjson.loads(readings[number])
    return Interpretation(intent, tuple((k, v) for k, v in slots))


def _read_text(texts: PackedStrings, readings: PackedStrings, c: Mapping[str, np.ndarray], row: int) -> GlobalText:
    """The text in `row`. `c`: the columns by name."""
    return GlobalText(
        row=row,
        text=texts[row],
        attempts=float(c["attempts"][row]),
        successes=float(c["successes"][row]),
        people=int(c["people"][row]),
        last_success_ms=int(c["last_success_ms"][row]),
        readings=tuple(_reading(readings, int(c[name][row])) for name in _COLUMNS[4:]),
        agreements=tuple(float(c[name][row]) for name in _AGREEMENT),
    )


class GlobalLayer:
    """Made by `build` or `open`; read-only afterwards, safe to share between threads."""

    def __init__(
        self,
        *,
        texts: PackedStrings,
        readings: PackedStrings,
        columns: Mapping[str, np.ndarray],
        keys: np.ndarray,
        said: HashCounts,
        repairs: HashCounts,
        words: HashCounts,
        word_pairs: HashCounts,
        slot_values: HashCounts,
        row_of: HashCounts,
        readings_of: HashCounts,
        sound: SoundSpace,
        index: GlobalIndex,
    ) -> None:
        """`keys`: int64 (k, 2), for each row of the index its target text's row and whether it is a repair's source."""
        self._texts, self._readings, self._columns, self._keys = texts, readings, columns, keys
        self._said, self._repairs, self._words = said, repairs, words
        self._word_pairs, self._slot_values, self._row_of = word_pairs, slot_values, row_of
        self._readings_of = readings_of
        self.sound, self.index = sound, index
        # Of no method of this object: each would hold the other, and a layer that is done with would stay in memory.
        self._text_at = lru_cache(maxsize=8192)(partial(_read_text, texts, readings, columns))
        self._rarest: dict[str, float] = {}

    @classmethod
    def build(
        cls,
        texts: Mapping[str, TextEvidence],
        repairs: Iterable[Repair],
        words: Mapping[str, int],
        word_pairs: Mapping[tuple[str, str], int],
        slot_values: Mapping[str, int],
        encoder: TextEncoder,
        min_people: int = MIN_PEOPLE,
    ) -> GlobalLayer:
        """From tables over everybody's turns. `encoder`: gives the meaning view."""
        shared = sorted((e for e in texts.values() if e.people >= min_people), key=lambda e: e.text)
        row_of = {e.text: row for row, e in enumerate(shared)}
        reading_ids: dict[Interpretation, int] = {}
        columns = {
            name: np.zeros(len(shared), np.int64 if name == "last_success_ms" else np.float32) for name in _COLUMNS[:4]
        }
        columns |= {name: np.full(len(shared), -1, np.int32) for name in _COLUMNS[4:]}
        columns |= {name: np.full(len(shared), math.nan, np.float32) for name in _AGREEMENT}
        for row, e in enumerate(shared):
            columns["attempts"][row], columns["successes"][row] = e.attempts, e.successes
            columns["people"][row], columns["last_success_ms"][row] = e.people, e.last_success_ms
            for screen, name in enumerate(_COLUMNS[4:]):
                if e.understood[screen]:
                    columns[_AGREEMENT[screen]][row] = e.agreement(bool(screen))
                    reading = e.reading(bool(screen), min_people)
                    if reading is not None:
                        columns[name][row] = reading_ids.setdefault(reading, len(reading_ids))
        useful = [r for r in repairs if r.target in row_of]
        sound = SoundSpace.fit(texts)
        key_texts = [e.text for e in shared] + [r.source for r in useful]
        keys = np.zeros((len(key_texts), 2), np.int64)
        keys[:, 0] = [*range(len(shared)), *(row_of[r.target] for r in useful)]
        keys[len(shared) :, 1] = 1
        views = Views(encoder.encode(key_texts), sound.encode(key_texts))
        return cls(
            texts=PackedStrings.pack([e.text for e in shared]),
            readings=PackedStrings.pack([orjson.dumps([r.intent, r.slots]).decode() for r in reading_ids]),
            columns=columns,
            keys=keys,
            said=HashCounts.pack({key_hash(t): (e.attempts, e.successes, e.people) for t, e in texts.items()}, 3),
            repairs=HashCounts.pack({key_hash(r.source, r.target): (r.times, r.people) for r in useful}, 2),
            words=HashCounts.pack({key_hash(w): (n,) for w, n in words.items()}, 1),
            word_pairs=HashCounts.pack({key_hash(*p): (n,) for p, n in word_pairs.items()}, 1),
            readings_of=HashCounts.pack(_reading_counts(texts.values()), 2),
            slot_values=HashCounts.pack({key_hash(v): (n,) for v, n in slot_values.items()}, 1),
            row_of=HashCounts.pack({key_hash(t): (row + 1,) for t, row in row_of.items()}, 1),
            sound=sound,
            index=GlobalIndex.build(views),
        )

    _TABLES = ("said", "repairs", "words", "word_pairs", "slot_values", "row_of", "readings_of")

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._texts.save(directory, "texts")
        self._readings.save(directory, "readings")
        for name in self._TABLES:
            getattr(self, f"_{name}").save(directory, name)
        for name, column in self._columns.items():
            np.save(directory / f"column.{name}.npy", column)
        np.save(directory / "keys.npy", self._keys)
        np.save(directory / "sound_weights.npy", self.sound.weights)
        self.index.save(directory)

    @classmethod
    def open(cls, directory: Path) -> GlobalLayer:
        load = lambda name: np.asarray(np.load(directory / name, mmap_mode="r", allow_pickle=False))  # noqa: E731
        return cls(
            texts=PackedStrings.open(directory, "texts"),
            readings=PackedStrings.open(directory, "readings"),
            columns={name: load(f"column.{name}.npy") for name in _COLUMNS + _AGREEMENT},
            keys=load("keys.npy"),
            sound=SoundSpace(load("sound_weights.npy")),
            index=GlobalIndex.open(directory),
            **{name: HashCounts.open(directory, name) for name in cls._TABLES},
        )

    def __len__(self) -> int:
        return len(self._texts)

    def text_at(self, row: int) -> GlobalText:
        """The candidate text in `row` with its evidence."""
        return self._text_at(row)

    def find(self, texts: Iterable[str]) -> list[GlobalText | None]:
        """The candidate text equal to each text (normal form), where enough people share it."""
        rows = self._row_of.get_many([key_hash(t) for t in texts])[:, 0].astype(np.int64) - 1
        return [self._text_at(row) if row >= 0 else None for row in rows.tolist()]

    def search(self, query: Views, k: int) -> tuple[Hits, np.ndarray]:
        """Hits in the index, and for each hit (target row, 1 if found through a repair's source): int64 (m, 2)."""
        hits = self.index.search(query, k)
        return hits, self._keys[hits.rows]

    def record_of(self, text: str) -> TextRecord:
        """What became of `text` whenever anybody said it."""
        attempts, successes, people = self._said.get(text)
        return TextRecord(float(attempts), float(successes), float(people))

    def records_of(self, texts: Iterable[str]) -> np.ndarray:
        """float32 (n, 3): attempts, successes, people of each text."""
        return self._said.get_many([key_hash(t) for t in texts])

    def repaired(self, source: str, targets: Iterable[str]) -> np.ndarray:
        """float32 (n, 2): how often, and for how many people, each target repaired `source`."""
        return self._repairs.get_many([key_hash(source, t) for t in targets])

    def word_counts(self, words: Iterable[str]) -> np.ndarray:
        """float32 (n,): how often requests that worked held each word."""
        return self._words.get_many([key_hash(w) for w in words])[:, 0]

    def word_pair_counts(self, pairs: Iterable[tuple[str, str]]) -> np.ndarray:
        """float32 (n,): how often requests that worked held each pair of neighbouring words."""
        return self._word_pairs.get_many([key_hash(*p) for p in pairs])[:, 0]

    def rarest_word_pairs(self, texts: Sequence[str]) -> list[float]:
        """For each text in normal form, log1p of how often requests that worked held the rarest of its pairs of
        neighbouring words. Remembered, since the same candidates come again and again."""
        found = {text: self._rarest.get(text) for text in texts}
        if missing := [text for text, rarest in found.items() if rarest is None]:
            pairs = [word_pairs(text) for text in missing]
            counts = np.log1p(self.word_pair_counts([pair for theirs in pairs for pair in theirs])).tolist()
            ends = accumulate(map(len, pairs))
            made = {
                text: min(counts[end - len(theirs) : end])
                for text, theirs, end in zip(missing, pairs, ends, strict=True)
            }
            found |= made
            if len(self._rarest) + len(made) > _MAX_RAREST:
                self._rarest.clear()
            self._rarest.update(made)
        return [found[text] for text in texts]

    def slot_value_counts(self, values: Iterable[str]) -> np.ndarray:
        """float32 (n,): how often a request that worked had each value in a slot."""
        return self._slot_values.get_many([key_hash(v) for v in values])[:, 0]

    def reading_counts(self, readings: Iterable[Interpretation]) -> np.ndarray:
        """float32 (n, 2): how often each meaning served anybody, and in how many different texts."""
        return self._readings_of.get_many([_reading_hash(r) for r in readings])
