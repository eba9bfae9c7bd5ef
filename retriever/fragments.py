"""Names heard wrong inside a frame heard right: "watch the movie the manors in spider man".

A fragment is what fills a frame (`retriever.frames`): "the amazing spider man". Both are mined from requests that
worked (`mining.frames`); a fragment is offered to others only when enough people named it with success. What a name
was heard as, and repaired by, in one frame is known in all others (`mining.heard_names`). `retriever.composition` puts
frames and fragments together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import faiss
import numpy as np
import orjson

from retriever.frames import Frame, FrameTable
from retriever.global_index import build_index, open_index
from retriever.interaction import Interpretation
from retriever.normalise import normalise
from retriever.packed import HashCounts, key_hash
from retriever.views import TextEncoder

Said = tuple[str, Interpretation]
"""A text in normal form, and what it means."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A name as spoken in the gaps of a frame. `slots`: what it says. `readings`: of requests that said just that in
    such gaps, the most usual of each intent. `people`: who named it with success; `times`: how often. `fuller`: texts
    that say more than the name, so that what they mean is all in their words ("play ruby by kaiser chiefs" of "ruby"),
    each with its meaning; likeliest first."""

    text: str
    gaps: str
    slots: tuple[tuple[str, str], ...]
    readings: tuple[Interpretation, ...]
    people: int
    times: float
    fuller: tuple[Said, ...] = ()

    def reading_in(self, frame: Frame) -> Interpretation | None:
        """What the frame with this name in it is expected to mean; None where that cannot be told."""
        if frame.constants is not None:
            return Interpretation(frame.intent, tuple(sorted(frame.constants + self.slots)))
        return next((r for r in self.readings if r.intent == frame.intent), None)

    def asked_in(self, frame: Frame) -> list[tuple[str, Interpretation | None]]:
        """What may be asked for this name in the frame, with what that means: just that where its meaning can be told,
        or else the fuller texts of the frame's intent. Where there are none, just that, meaning nobody knows what."""
        reading = self.reading_in(frame)
        fuller = [] if reading is not None else [said for said in self.fuller if said[1].intent == frame.intent]
        return [*fuller] or [(frame.around(self.text), reading)]


Name = tuple[str, str]
"""The gaps that a name fills, and the words that stand there, in normal form."""


@dataclass(frozen=True, slots=True)
class NameRepair:
    """Words that were heard in the gaps of a frame, and the name that then reached the goal. `people`: at least so many
    repaired the one by the other; `times`: how often they did, in whatever frames."""

    gaps: str
    heard: str
    meant: str
    people: int
    times: float


@dataclass(frozen=True, slots=True)
class HeardNames:
    """What became of what was heard where a name should be, right or wrong. `tries`: how often anybody said just that.
    `repairs`: of enough people."""

    tries: Mapping[Name, float] = field(default_factory=dict)
    repairs: Sequence[NameRepair] = ()


OwnNames = Mapping[str, Mapping[str, Fragment]]
"""One person's fragments by their gaps, then by their text."""


def by_gaps(fragments: Iterable[Fragment]) -> OwnNames:
    """The fragments as a request looks for them; each text of the same gaps once."""
    out: dict[str, dict[str, Fragment]] = {}
    for fragment in fragments:
        out.setdefault(fragment.gaps, {})[fragment.text] = fragment
    return out


def of_person(named: Iterable[Fragment]) -> list[Fragment]:
    """One person's names, each once, from what their requests name (`Fragments.names_in`)."""
    out: dict[Name, Fragment] = {}
    for fragment in named:
        key = fragment.gaps, fragment.text
        known = out.setdefault(key, fragment)
        new = tuple(reading for reading in fragment.readings if reading not in known.readings)
        fuller = tuple(said for said in fragment.fuller if said not in known.fuller)
        if new or fuller:
            out[key] = replace(known, readings=known.readings + new, fuller=known.fuller + fuller)
    return list(out.values())


_FULLER = "fuller.json"
_SAME_SOUND = 4
"""So many names may sound just alike: a name is found among them by its sound."""


class Fragments:
    """Frames and shared fragments of a bundle; read-only."""

    def __init__(
        self,
        table: FrameTable,
        shared: Sequence[Fragment],
        indexes: Sequence[faiss.Index],
        named: HashCounts,
        repairs: Sequence[NameRepair] = (),
    ) -> None:
        """`shared`: sorted by gaps. `indexes`: of each kind of gaps in that order, inner product over the sound
        vectors of its fragments. `named`: people, times and tries of every name, the rare ones included, by hash.
        `repairs`: by names that are shared; others are left out."""
        self.table, self.shared, self._named = table, shared, named
        self._indexes = list(indexes)
        self._first_row: dict[str, int] = {}
        for row, fragment in enumerate(shared):
            self._first_row.setdefault(fragment.gaps, row)
        if len(self._first_row) != len(self._indexes):
            raise ValueError("fragments: one index for each kind of gaps is needed")
        self._index_of = dict(zip(self._first_row, self._indexes, strict=True))
        self.patterns = sorted({frame.gaps for frame in table.frames})
        self._fillable: dict[frozenset[str], list[str]] = {}
        offered = {(fragment.gaps, fragment.text): fragment for fragment in shared}
        self._repairs = [repair for repair in repairs if (repair.gaps, repair.meant) in offered]
        self._repaired: dict[Name, dict[str, tuple[Fragment, int]]] = {}
        for repair in self._repairs:
            found = offered[repair.gaps, repair.meant], repair.people
            self._repaired.setdefault((repair.gaps, repair.heard), {})[repair.meant] = found

    @classmethod
    def build(
        cls,
        table: FrameTable,
        fragments: Iterable[Fragment],
        sound: TextEncoder,
        min_people: int,
        heard: HeardNames | None = None,
    ) -> Fragments:
        """`heard`: what became of names where they were heard, if known."""
        fragments = list(fragments)
        heard = heard or HeardNames()
        shared = sorted((f for f in fragments if f.people >= min_people), key=lambda f: (f.gaps, f.text))
        groups = [[f.text for f in theirs] for _, theirs in groupby(shared, key=lambda f: f.gaps)]
        indexes = [build_index(sound.encode(texts)) for texts in groups]
        counts = {(f.gaps, f.text): (f.people, f.times) for f in fragments}
        names = {*counts, *heard.tries}
        named = HashCounts.pack(
            {key_hash(*name): (*counts.get(name, (0, 0.0)), heard.tries.get(name, 0.0)) for name in names}, 3
        )
        return cls(table, shared, indexes, named, heard.repairs)

    def known(self, fitting: Sequence[tuple[Frame, str]]) -> np.ndarray:
        """float32 (n, 3): for each fit of a query, how many people named just that and how often, with success, and how
        often anybody said it at all."""
        return self._named.get_many([key_hash(frame.gaps, rest) for frame, rest in fitting])

    def repaired(self, gaps: str, heard: str) -> Mapping[str, tuple[Fragment, int]]:
        """The names that repaired just these words, in whatever frame, each with the people for whom it did."""
        return self._repaired.get((gaps, heard), _NO_REPAIRS)

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

    def names_in(self, said: str, reading: Interpretation) -> list[Fragment]:
        """What a request in normal form, which served one person and was understood so, names; with its reading where
        one of its frames holds the name in just these words, and as its fuller text where one holds more."""
        fitting = self.table.fitting(said)
        in_words = {(frame.gaps, rest) for frame, rest in fitting}
        whole = [
            named_slots(frame.gaps)
            for frame, rest in fitting
            if says_all(frame, reading) and spoken(frame.gaps, reading) == rest
        ]
        out = []
        for gaps in self._patterns_for(frozenset(name for name, _ in reading.slots)):
            if text := spoken(gaps, reading):
                wanted = named_slots(gaps)
                slots = tuple(slot for slot in reading.slots if slot[0] in wanted)
                here = (reading,) if (gaps, text) in in_words else ()
                fuller = ((said, reading),) if not here and any(wanted < more for more in whole) else ()
                out.append(Fragment(text, gaps, slots, here, 1, 1.0, fuller))
        return out

    def _patterns_for(self, slots: frozenset[str]) -> list[str]:
        """The gaps that a meaning with these slots can fill."""
        known = self._fillable.get(slots)
        if known is None:
            known = self._fillable[slots] = [gaps for gaps in self.patterns if named_slots(gaps) <= slots]
        return known

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        frames = [[f.before, f.after, f.intent, f.gaps, f.constants, f.people] for f in self.table.frames]
        shared = [
            [f.text, f.gaps, f.slots, [[r.intent, r.slots] for r in f.readings], f.people, f.times] for f in self.shared
        ]
        fuller = {
            str(row): [[text, r.intent, r.slots] for text, r in f.fuller]
            for row, f in enumerate(self.shared)
            if f.fuller
        }
        (directory / "frames.json").write_bytes(orjson.dumps(frames))
        (directory / "fragments.json").write_bytes(orjson.dumps(shared))
        (directory / _FULLER).write_bytes(orjson.dumps(fuller))
        for number, index in enumerate(self._indexes):
            faiss.write_index(index, str(directory / f"names{number}.faiss"))
        repairs = [[r.gaps, r.heard, r.meant, r.people, r.times] for r in self._repairs]
        (directory / "repairs.json").write_bytes(orjson.dumps(repairs))
        self._named.save(directory, "named")

    @classmethod
    def open(cls, directory: Path) -> Fragments:
        frames = orjson.loads((directory / "frames.json").read_bytes())
        fragments = orjson.loads((directory / "fragments.json").read_bytes())
        # Bundles of before these were mined have no such file, and are served as they were.
        fuller = orjson.loads((directory / _FULLER).read_bytes()) if (directory / _FULLER).exists() else {}
        shared = [
            Fragment(
                text,
                gaps,
                _slots(slots),
                tuple(Interpretation(intent, _slots(all_slots)) for intent, all_slots in readings),
                people,
                times,
                tuple((said, Interpretation(i, _slots(s))) for said, i, s in fuller.get(str(row), ())),
            )
            for row, (text, gaps, slots, readings, people, times) in enumerate(fragments)
        ]
        kinds = len({f.gaps for f in shared})
        return cls(
            FrameTable([Frame(b, a, i, g, None if c is None else _slots(c), n) for b, a, i, g, c, n in frames]),
            shared,
            [open_index(directory / f"names{number}.faiss") for number in range(kinds)],
            HashCounts.open(directory, "named"),
            [NameRepair(*record) for record in orjson.loads((directory / "repairs.json").read_bytes())],
        )


_NO_REPAIRS: Mapping[str, tuple[Fragment, int]] = {}



def _slots(record: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in record)


def named_slots(gaps: str) -> frozenset[str]:
    """The slots that gaps such as "{track} by {artist}" are for."""
    return frozenset(word[1:-1] for word in gaps.split() if word.startswith("{"))


def says_all(frame: Frame, reading: Interpretation) -> bool:
    """Whether the frame with the reading's values in its gaps means just that reading, nothing added to it."""
    if frame.constants is None or frame.intent != reading.intent:
        return False
    gaps = named_slots(frame.gaps)
    return sorted((*frame.constants, *(slot for slot in reading.slots if slot[0] in gaps))) == sorted(reading.slots)


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
