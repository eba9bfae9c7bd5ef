"""What works for one person: their own texts with their evidence, their own repairs, and the values they name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np

from retriever.evidence import Repair, TextEvidence
from retriever.fragments import Fragment, by_gaps
from retriever.interaction import Interpretation
from retriever.personal_index import PersonalIndex
from retriever.views import Hits, TextEncoder, Views

_NO_REPAIRS: Mapping[str, float] = {}
_BYTES_A_ROW = 600
"""Estimate of the Python objects behind one row, for the cache that holds layers by bytes."""


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the index: a text that worked, or (a repair's source) one that failed and is known to mean `target`."""

    target: str
    is_repair: bool


@dataclass(slots=True)
class Habit:
    """How often and when one meaning served this user, in whatever words. `times_ms`: of each success."""

    successes: float
    times_ms: list[int]


def _by_reading(texts: Iterable[TextEvidence]) -> dict[Interpretation, Habit]:
    """A text of several readings counts for each in proportion."""
    out: dict[Interpretation, Habit] = {}
    for e in texts:
        here, there = e.readings
        counts = here + there if here and there else here or there
        total = counts.total()
        for reading, n in counts.items():
            habit = out.setdefault(reading, Habit(0.0, []))
            habit.successes += e.successes * n / total
            habit.times_ms += e.success_ms
    return out


class _InVain:
    """The texts that did not always serve, with how often they did not, found by what they hold: in one string, which
    takes next to nothing to make and is searched in microseconds."""

    def __init__(self, texts: Iterable[TextEvidence]) -> None:
        rows = [e for e in texts if e.attempts > e.successes]
        self._rows = [(e.text, e.attempts - e.successes) for e in rows]
        padded = [f" {e.text} " for e in rows]
        self._all = "\n".join(padded)  # no text holds a line break
        self._starts = list(accumulate((len(text) + 1 for text in padded), initial=0))

    def holding(self, name: str) -> Iterator[tuple[str, float]]:
        """Those whose words hold `name` (normal form), once for each time they do."""
        wanted, at = f" {name} ", -1
        while (at := self._all.find(wanted, at + 1)) >= 0:
            yield self._rows[bisect_right(self._starts, at) - 1]


def _views(
    texts: Sequence[str], encoder: TextEncoder, sound: TextEncoder, before: PersonalLayer | None
) -> Views:
    """The vectors of texts, of which an earlier layer may hold some."""
    held = {} if before is None else before._row_of
    rows = np.array([held.get(text, -1) for text in texts], np.int64)
    new = np.flatnonzero(rows < 0)
    if before is None or len(new) == len(texts):
        return Views(encoder.encode(texts), sound.encode(texts))
    # The numbers of new rows are -1, the last: overwritten at once.
    views = Views(before.index.views.meaning[rows], before.index.views.sound[rows])
    if len(new):
        unknown = [texts[row] for row in new.tolist()]
        views.meaning[new], views.sound[new] = encoder.encode(unknown), sound.encode(unknown)
    return views


class PersonalLayer:
    """Made from one user's tables; read-only afterwards. Nobody else's data is in it or reachable from it.

    `texts`: every text said, with its evidence. `readings`: the user's habits. `fragments`: names the user has named;
    `names`: the same, as a request looks for them.
    """

    def __init__(
        self,
        texts: Mapping[str, TextEvidence],
        repairs: Iterable[Repair],
        slot_values: Mapping[str, int],
        fragments: Sequence[Fragment],
        encoder: TextEncoder,
        sound: TextEncoder,
        before: PersonalLayer | None = None,
    ) -> None:
        """`before`: an earlier layer of the same user and the same encoders, whose vectors are taken over."""
        self.texts = texts
        pairs = {(r.source, r.target): r.times for r in repairs if r.target in texts and texts[r.target].people}
        self._repairs: dict[str, dict[str, float]] = {}
        for (source, target), times in pairs.items():
            self._repairs.setdefault(source, {})[target] = times
        self.slot_values = slot_values
        self.fragments = fragments
        self.names = by_gaps(fragments)
        worked = [e.text for e in texts.values() if e.people]
        self.successes = sum(texts[t].successes for t in worked)
        self.readings = _by_reading(texts[t] for t in worked)
        self._vain = _InVain(texts.values())
        self.keys = [Key(t, False) for t in worked] + [Key(target, True) for _, target in pairs]
        key_texts = worked + [source for source, _ in pairs]
        self._row_of = {text: row for row, text in enumerate(key_texts)}
        self.index = PersonalIndex(_views(key_texts, encoder, sound, before))

    @property
    def nbytes(self) -> int:
        """Bytes held, roughly."""
        return self.index.nbytes + _BYTES_A_ROW * (len(self.keys) + len(self.texts) + len(self.fragments))

    def search(self, query: Views, k: int) -> tuple[Hits, list[Key]]:
        """Hits among this user's rows, and the key of each."""
        hits = self.index.search(query, k)
        return hits, [self.keys[row] for row in hits.rows.tolist()]

    def record_of(self, names: Collection[str]) -> tuple[float, float]:
        """How often the one of `names` (normal form, at least one) named most served this user, and how often the user
        said any of them, in whatever words, and was not served (expected)."""
        vain = dict(chain.from_iterable(map(self._vain.holding, names)))
        return float(max(self.slot_values.get(name, 0) for name in names)), sum(vain.values())

    def repairs_of(self, source: str) -> Mapping[str, float]:
        """How often each text repaired `source` for this user."""
        return self._repairs.get(source, _NO_REPAIRS)

    def repaired(self, source: str, target: str) -> float:
        """How often `target` repaired `source` for this user."""
        return self.repairs_of(source).get(target, 0.0)
