"""What works for everybody: candidate texts with their evidence, and what is known of any text, word or slot value.

Privacy: a text becomes a candidate for others only when at least `min_people` said it with success. Of rarer texts only
a hash and counts are kept, enough to tell whether a text has worked, not enough to read it. Sources of repairs are kept
as vectors and hashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import orjson

from retriever.evidence import Repair, TextEvidence
from retriever.global_index import GlobalIndex
from retriever.interaction import Interpretation
from retriever.normalise import word_pairs
from retriever.packed import HashCounts, PackedStrings, hash_once, key_hash
from retriever.remember import characters, remember
from retriever.sound import SoundSpace
from retriever.views import Hits, TextEncoder, Views

MIN_PEOPLE = 2
_COLUMNS = ("attempts", "successes", "people", "last_success_ms", "reading_no_screen", "reading_screen")
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


def _reading_key(reading: Interpretation) -> tuple[str, ...]:
    return reading.intent, *(part for slot in reading.slots for part in slot)


def _reading_size(reading: Interpretation) -> int:
    return characters(*_reading_key(reading))


def _pair_size(pair: tuple[str, str]) -> int:
    return characters(*pair)


def _count(counts: HashCounts, key: str) -> float:
    return float(counts.get(key)[0])


def _log_pair_count(counts: HashCounts, pair: tuple[str, str]) -> float:
    return float(np.log1p(counts.get(*pair)[0]))


def _rarest_pair(log_pair_count: Callable[[tuple[str, str]], float], text: str) -> float:
    return min(map(log_pair_count, word_pairs(text)))


def _log_reading_counts(counts: HashCounts, reading: Interpretation) -> tuple[float, float]:
    successes, texts = np.log1p(counts.get(*_reading_key(reading))).tolist()
    return successes, texts


def _reading_counts(texts: Iterable[TextEvidence]) -> dict[int, tuple[float, float]]:
    """Successes of each meaning in whatever words, and the texts that had it, by the meaning's hash."""
    out: dict[int, tuple[float, float]] = {}
    for e in texts:
        for reading, n in (e.readings[0] + e.readings[1]).items():
            key = key_hash(*_reading_key(reading))
            successes, said = out.get(key, (0.0, 0.0))
            out[key] = (successes + n, said + 1)
    return out


def _reading(readings: PackedStrings, number: int) -> Interpretation | None:
    if number < 0:
        return None
    intent, slots = orjson.loads(readings[number])
    return Interpretation(intent, tuple((k, v) for k, v in slots))


def _read_text(
    texts: PackedStrings, reading: Callable[[int], Interpretation | None], c: Mapping[str, memoryview], row: int
) -> GlobalText:
    """The text in `row`. `reading`: by number. `c`: the columns by name."""
    return GlobalText(
        row=row,
        text=texts[row],
        attempts=c["attempts"][row],
        successes=c["successes"][row],
        people=int(c["people"][row]),
        last_success_ms=c["last_success_ms"][row],
        readings=(reading(c[_COLUMNS[4]][row]), reading(c[_COLUMNS[5]][row])),
        agreements=(c[_AGREEMENT[0]][row], c[_AGREEMENT[1]][row]),
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
        reading = lru_cache(maxsize=8192)(partial(_reading, readings))
        self._text_alone_at = lru_cache(maxsize=8192)(texts.__getitem__)
        self._views = {name: column.data for name, column in columns.items()}
        self._text_at = lru_cache(maxsize=8192)(partial(_read_text, texts, reading, self._views))
        # These are of what is asked for, and so of people, and are forgotten with them.
        self._word_count = remember()(partial(_count, words))
        self._value_count = remember()(partial(_count, slot_values))
        self._log_pair_count = remember(size=_pair_size)(partial(_log_pair_count, word_pairs))
        self._rarest_pair = remember()(partial(_rarest_pair, self._log_pair_count))
        self._log_reading_counts = remember(size=_reading_size)(partial(_log_reading_counts, readings_of))

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

        def load(name: str) -> np.ndarray:
            return np.asarray(np.load(directory / name, mmap_mode="r", allow_pickle=False))

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

    def text_alone_at(self, row: int) -> str:
        """The candidate text in `row`, without its evidence."""
        return self._text_alone_at(row)

    def people_at(self, row: int) -> int:
        """How many people the candidate text in `row` served."""
        return int(self._views["people"][row])

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
        return self._said.get_many([hash_once(t) for t in texts])

    def repaired(self, source: str, targets: Sequence[str]) -> np.ndarray:
        """float32 (n, 2): how often, and for how many people, each target repaired `source`."""
        if not self._said.get(source)[0]:  # what nobody has said was never repaired
            return np.zeros((len(targets), 2), np.float32)
        return self._repairs.get_many([hash_once(source, t) for t in targets])

    def word_counts(self, words: Iterable[str]) -> list[float]:
        """How often requests that worked held each word."""
        return [self._word_count(w) for w in words]

    def word_pair_counts(self, pairs: Iterable[tuple[str, str]]) -> np.ndarray:
        """float32 (n,): how often requests that worked held each pair of neighbouring words."""
        return self._word_pairs.get_many([hash_once(*p) for p in pairs])[:, 0]

    def log_word_pair_counts(self, pairs: Iterable[tuple[str, str]]) -> list[float]:
        """log1p of `word_pair_counts`, each rounded to float32."""
        return [self._log_pair_count(pair) for pair in pairs]

    def rarest_word_pairs(self, texts: Sequence[str]) -> list[float]:
        """For each text in normal form, log1p of how often requests that worked held the rarest of its pairs of
        neighbouring words."""
        return [self._rarest_pair(text) for text in texts]

    def slot_value_counts(self, values: Iterable[str]) -> list[float]:
        """How often a request that worked had each value in a slot."""
        return [self._value_count(v) for v in values]

    def log_reading_counts(self, reading: Interpretation) -> tuple[float, float]:
        """log1p of how often a meaning served anybody, and in how many different texts, each rounded to float32."""
        return self._log_reading_counts(reading)
