"""Names heard wrong inside a frame heard right: "watch the movie the manors in spider man".

A frame is what people say around a name ("watch the movie {video}"), a fragment is what fills it ("the amazing spider
man"). A query whose beginning and end fit a frame is composed anew with the fragments that sound like its middle, so
that a wish can be met which nobody has uttered in just these words. Frames and fragments are mined from requests that
worked (`mining.frames`); a fragment is offered to others only when enough people named it with success.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import faiss
import numpy as np
import orjson

from retriever.global_index import build_index, open_index
from retriever.hearing import Hearing
from retriever.interaction import Interpretation
from retriever.normalise import normalise
from retriever.packed import HashCounts, key_hash
from retriever.pronunciation import pronounce
from retriever.views import TextEncoder

SEARCHED = 60
"""Names of a kind that are nearest by sound vector and then compared phoneme by phoneme."""
MAX_SHARED, MAX_OWN = 10, 6
MAX_COST = 3.0
"""Nats a phoneme; a name dearer than this is nothing that could have been heard so."""


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


@dataclass(frozen=True, slots=True)
class Composition:
    """A query composed anew. `rest`: the words replaced. `cost`: of hearing the rest for the fragment, nats a phoneme
    of the longer, 0 or more. `own`: the fragment is of this user's past. `reading`: what it is expected to mean.
    `posterior`: of all names compared, the probability of this one by sound and by how often it is named, 0 to 1.
    `heard_rank`: 0 where made of the query, n where of the recogniser's nth other hypothesis."""

    text: str
    fragment: Fragment
    reading: Interpretation | None
    rest: str
    cost: float
    own: bool
    posterior: float
    heard_rank: int = 0


_SHARPNESS = 0.5
"""Costs of single phonemes are not independent of each other: their sum says too much."""
NO_NAME = 1.5
"""Nats a phoneme at which a name that nobody knows is as likely as a known one."""


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
        self._patterns = sorted({frame.gaps for frame in frames})

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

    def compose(
        self,
        query: str,
        fitting: Sequence[tuple[Frame, str]],
        sound: TextEncoder,
        hearing: Hearing,
        own: Sequence[Fragment],
        searched: int = SEARCHED,
    ) -> list[Composition]:
        """The query with the names it may have meant, likeliest heard so first. `fitting`: as `fitting` gives it for
        the query. `own`: this user's own fragments. `sound`: gives unit rows for texts (a cache will do). `searched`:
        how many names of each kind are compared, those with the nearest sound vectors."""
        if not fitting:
            return []
        rests = list(dict.fromkeys(rest for _, rest in fitting))
        vectors = dict(zip(rests, sound.encode(rests), strict=True))
        costs: dict[tuple[str, str], float] = {}
        total: dict[tuple[str, str], float] = {}
        named: list[tuple[Frame, str, Fragment, bool]] = []
        for frame, rest in fitting:
            named += [(frame, rest, fragment, True) for fragment in own if fragment.gaps == frame.gaps]
            named += [(frame, rest, fragment, False) for fragment in self._near(frame.gaps, vectors[rest], searched)]
        for rest in rests:
            texts = list({fragment.text for _, of, fragment, _ in named if of == rest})
            heard, said = pronounce(rest), [pronounce(text) for text in texts]
            for text, sounds, cost in zip(texts, said, hearing.whole(heard, said).tolist(), strict=True):
                total[rest, text] = cost
                costs[rest, text] = cost / max(1, len(heard), len(sounds))
        weights = {
            (rest, fragment.gaps, fragment.text): (1 + fragment.times) * math.exp(-_SHARPNESS * total[rest,
            fragment.text]) for _, rest, fragment, _ in named
        }
        all_weights = sum(weights.values()) + max(math.exp(-_SHARPNESS * NO_NAME * len(pronounce(r))) for r in rests)
        made = [
            Composition(
                frame.around(fragment.text),
                fragment,
                fragment.reading_in(frame),
                rest,
                cost,
                is_own,
                weights[rest, fragment.gaps, fragment.text] / all_weights,
            )
            for frame, rest, fragment, is_own in named
            if (cost := costs[rest, fragment.text]) <= MAX_COST and fragment.text != rest
        ]
        out: dict[str, Composition] = {}
        room = {True: MAX_OWN, False: MAX_SHARED}
        # Own before shared where the cost is the same, so that a name known to both counts as the user's own.
        for c in sorted(made, key=lambda c: (c.cost, not c.own, c.text)):
            if c.text not in out and room[c.own]:
                room[c.own] -= 1
                out[c.text] = c
        return list(out.values())

    def _near(self, gaps: str, vector: np.ndarray, searched: int) -> list[Fragment]:
        """The fragments for such gaps that sound most like what has this vector."""
        index = self._index_of.get(gaps)
        if index is None:
            return []
        first = self._first_row[gaps]
        rows = index.search(vector[None], min(searched, index.ntotal))[1][0].tolist()
        return [self.shared[first + row] for row in rows if row >= 0]

    def of_person(self, served: Iterable[tuple[str, Interpretation]]) -> list[Fragment]:
        """The names in what served one person: texts in normal form, and what they were understood as."""
        out: dict[tuple[str, str], Fragment] = {}
        for said, reading in served:
            in_words = {(frame.gaps, rest) for frame, rest in self.fitting(said)}
            for gaps in self._patterns:
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
