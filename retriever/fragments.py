"""Names heard wrong inside a frame heard right: "watch the movie the manors in spider man".

A frame is what people say around a name ("watch the movie {video}"), a fragment is what fills it ("the amazing spider
man"). Frames and fragments are mined from requests that worked (`mining.frames`); a fragment is offered to others only
when enough people named it with success. `retriever.composition` puts them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import faiss
import numpy as np
import orjson

from retriever.global_index import build_index, open_index
from retriever.interaction import Interpretation
from retriever.normalise import normalise
from retriever.packed import HashCounts, key_hash
from retriever.views import TextEncoder


@dataclass(frozen=True, slots=True)
class Frame:
    """`before`, `after`: the words around the name, either may be "". `intent`: what is asked for in it. `gaps`: which
    fragments fill it, such as "{track} by {artist}". `constants`: the slots that its own words stand for; None where
    the meaning of a new name cannot be foretold, since the assistant adds to it. `people`: who used it with success."""

    before: str
    after: str
    intent: str
    gaps: str
    constants: tuple[tuple[str, str], ...] | None
    people: int

    @property
    def group(self) -> tuple[str, str]:
        return self.intent, self.gaps

    def rest_of(self, query: str) -> str | None:
        """The words of `query` where the name should be; None where the frame does not fit."""
        padded, start, end = (
            f" {query} ",
            f" {self.before} " if self.before else " ",
            f" {self.after} " if self.after else " ",
        )
        if not (padded.startswith(start) and padded.endswith(end)):
            return None
        return padded[len(start) : len(padded) - len(end)].strip() or None

    def around(self, fragment: str) -> str:
        return f"{self.before} {fragment} {self.after}".strip()


@dataclass(frozen=True, slots=True)
class Fragment:
    """A name as spoken in the gaps of a frame. `slots`: what it says. `readings`: of requests that said just that in
    such gaps, the most usual of each intent. `people`: who named it with success; `times`: how often."""

    text: str
    gaps: str
    slots: tuple[tuple[str, str], ...]
    readings: tuple[Interpretation, ...]
    people: int
    times: float

    def reading_in(self, frame: Frame) -> Interpretation | None:
        """What the frame with this name in it is expected to mean; None where that cannot be told."""
        if frame.constants is not None:
            return Interpretation(frame.intent, tuple(sorted(frame.constants + self.slots)))
        return next((r for r in self.readings if r.intent == frame.intent), None)

_SAME_SOUND = 4
"""So many names may sound just alike: a name is found among them by its sound."""


class Fragments:
    """Frames and shared fragments of a bundle; read-only."""

    def __init__(
        self,
        frames: Sequence[Frame],
        shared: Sequence[Fragment],
        indexes: Sequence[faiss.Index],
        named: HashCounts,
    ) -> None:
        """`shared`: sorted by gaps. `indexes`: of each kind of gaps in that order, inner product over the sound
        vectors of its fragments. `named`: people and times of every name, the rare ones included, by hash."""
        self.frames, self.shared, self._named = frames, shared, named
        self._indexes = list(indexes)
        self._first_row: dict[str, int] = {}
        for row, fragment in enumerate(shared):
            self._first_row.setdefault(fragment.gaps, row)
        if len(self._first_row) != len(self._indexes):
            raise ValueError("fragments: one index for each kind of gaps is needed")
        self._index_of = dict(zip(self._first_row, self._indexes, strict=True))
        self._by_first: dict[str, list[Frame]] = {}
        for frame in sorted(frames, key=lambda f: (-len(f.before) - len(f.after), -f.people, f.before, f.group)):
            self._by_first.setdefault(frame.before.split(" ", 1)[0], []).append(frame)
        self._unfilled: dict[str, list[Frame]] = {}
        for frame in frames:
            if frame.after:  # where a name ends the request, what is left of it is no request
                self._unfilled.setdefault(frame.around("").replace("  ", " "), []).append(frame)
        self._patterns = sorted({frame.gaps for frame in frames})
        self._fillable: dict[frozenset[str], list[str]] = {}

    @classmethod
    def build(
        cls,
        frames: Sequence[Frame],
        fragments: Iterable[Fragment],
        sound: TextEncoder,
        min_people: int,
    ) -> Fragments:
        fragments = list(fragments)
        shared = sorted((f for f in fragments if f.people >= min_people), key=lambda f: (f.gaps, f.text))
        groups = [[f.text for f in theirs] for _, theirs in groupby(shared, key=lambda f: f.gaps)]
        indexes = [build_index(sound.encode(texts)) for texts in groups]
        named = HashCounts.pack({key_hash(f.gaps, f.text): (f.people, f.times) for f in fragments}, 2)
        return cls(frames, shared, indexes, named)

    def known(self, fitting: Sequence[tuple[Frame, str]]) -> np.ndarray:
        """float32 (n, 2): for each fit of a query, how many people named just that, and how often, with success."""
        return self._named.get_many([key_hash(frame.gaps, rest) for frame, rest in fitting])

    def fitting(self, query: str) -> list[tuple[Frame, str]]:
        """The frames that fit `query`, most words first, with the words to replace; of each group the first."""
        out: dict[tuple[str, str], tuple[Frame, str]] = {}
        first = query.split(" ", 1)[0]
        for frame in [*self._by_first.get(first, ()), *self._by_first.get("", ())]:
            if frame.group not in out and (rest := frame.rest_of(query)):
                out[frame.group] = (frame, rest)
        return list(out.values())

    def unfilled(self, query: str) -> list[Frame]:
        """The frames that `query` is all the words of, the name left out: "find restaurants"."""
        return self._unfilled.get(query, [])

    def called(self, name: str, sound: TextEncoder) -> list[Fragment]:
        """The shared fragments for gaps of one slot that are just `name` (normal form)."""
        vector = sound.encode([name])
        kinds = [gaps for gaps in self._index_of if len(gaps.split()) == 1]
        return [f for gaps in kinds for f in self.nearest(gaps, vector, _SAME_SOUND)[0] if f.text == name]

    def nearest(self, gaps: str, vectors: np.ndarray, k: int) -> list[list[Fragment]]:
        """For each row of `vectors`, float32 (n, d), the `k` fragments for such gaps that sound most like it."""
        index = self._index_of.get(gaps)
        if index is None:
            return [[] for _ in vectors]
        first = self._first_row[gaps]
        found = index.search(vectors, min(k, index.ntotal))[1].tolist()
        return [[self.shared[first + row] for row in rows if row >= 0] for rows in found]

    def of_person(self, served: Iterable[tuple[str, Interpretation]]) -> list[Fragment]:
        """The names in what served one person: texts in normal form, and what they were understood as."""
        out: dict[tuple[str, str], Fragment] = {}
        for said, reading in served:
            in_words = {(frame.gaps, rest) for frame, rest in self.fitting(said)}
            for gaps in self._patterns_for(frozenset(name for name, _ in reading.slots)):
                text = spoken(gaps, reading)
                if not text:
                    continue
                known = out.get((gaps, text))
                if known is None:
                    wanted = named_slots(gaps)
                    known = Fragment(text, gaps, tuple(s for s in reading.slots if s[0] in wanted), (), 1, 1.0)
                if (gaps, text) in in_words and reading not in known.readings:
                    known = replace(known, readings=(*known.readings, reading))
                out[gaps, text] = known
        return list(out.values())

    def _patterns_for(self, slots: frozenset[str]) -> list[str]:
        """The gaps that a meaning with these slots can fill."""
        known = self._fillable.get(slots)
        if known is None:
            known = self._fillable[slots] = [gaps for gaps in self._patterns if named_slots(gaps) <= slots]
        return known

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        frames = [[f.before, f.after, f.intent, f.gaps, f.constants, f.people] for f in self.frames]
        shared = [
            [f.text, f.gaps, f.slots, [[r.intent, r.slots] for r in f.readings], f.people, f.times] for f in self.shared
        ]
        (directory / "frames.json").write_bytes(orjson.dumps(frames))
        (directory / "fragments.json").write_bytes(orjson.dumps(shared))
        for number, index in enumerate(self._indexes):
            faiss.write_index(index, str(directory / f"names{number}.faiss"))
        self._named.save(directory, "named")

    @classmethod
    def open(cls, directory: Path) -> Fragments:
        frames = orjson.loads((directory / "frames.json").read_bytes())
        fragments = orjson.loads((directory / "fragments.json").read_bytes())
        shared = [
            Fragment(t, g, _slots(s), tuple(Interpretation(i, _slots(rs)) for i, rs in readings), n, times)
            for t, g, s, readings, n, times in fragments
        ]
        kinds = len({f.gaps for f in shared})
        return cls(
            [Frame(b, a, i, g, None if c is None else _slots(c), n) for b, a, i, g, c, n in frames],
            shared,
            [open_index(directory / f"names{number}.faiss") for number in range(kinds)],
            HashCounts.open(directory, "named"),
        )


def _slots(record: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in record)


def named_slots(gaps: str) -> frozenset[str]:
    """The slots that gaps such as "{track} by {artist}" are for."""
    return frozenset(word[1:-1] for word in gaps.split() if word.startswith("{"))


def spoken(gaps: str, reading: Interpretation) -> str:
    """What the gaps become with the reading's values, in normal form; "" where it lacks one."""
    words = []
    values = dict(reading.slots)
    for word in gaps.split():
        if word.startswith("{"):
            value = normalise(values.get(word[1:-1], ""))
            if not value:
                return ""
            words.append(value)
        else:
            words.append(word)
    return " ".join(words)
