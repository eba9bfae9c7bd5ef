"""Names heard wrong inside a frame heard right: "watch the movie the manors in spider man".

A frame is what people say around a name ("watch the movie {video}"), a fragment is what fills it ("the amazing spider
man"). A query whose beginning and end fit a frame is composed anew with the fragments that sound like its middle, so
that a wish can be met which nobody has uttered in just these words. Frames and fragments are mined from requests that
worked (`mining.frames`); a fragment is offered to others only when enough people named it with success.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import orjson
from rapidfuzz import fuzz

from retriever.global_index import build_index, open_index
from retriever.interaction import Interpretation
from retriever.normalise import normalise
from retriever.packed import HashCounts, key_hash
from retriever.sound import DIMENSION, sound_key
from retriever.views import TextEncoder

SEARCHED = 40
MAX_SHARED, MAX_OWN = 8, 6
OWN_LIKENESS = 0.5
"""A fragment of the user's own is offered from this likeness of letters or sound on."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`before`, `after`: the words around the name, either may be "". `group`: which fragments fill it: an intent and
    the gaps between, such as ("PlayTrack", "{track} by {artist}"). `people`: who used it with success."""

    before: str
    after: str
    group: tuple[str, str]
    people: int

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
    """A name as spoken in the frames of `group`. `reading`: what it was understood as, most often. `people`: who named
    it with success; `times`: how often."""

    text: str
    group: tuple[str, str]
    reading: Interpretation
    people: int
    times: float


@dataclass(frozen=True, slots=True)
class Composition:
    """A query composed anew. `rest`: the words replaced. `sound`: cosine of fragment and rest by sound, -1 to 1.
    `own`: the fragment is of this user's past."""

    text: str
    fragment: Fragment
    rest: str
    sound: float
    own: bool


class Fragments:
    """Frames and shared fragments of a bundle; read-only."""

    def __init__(
        self, frames: Sequence[Frame], shared: Sequence[Fragment], index: faiss.Index, named: HashCounts
    ) -> None:
        """`index`: inner product over the sound vectors of `shared`, row by row. `named`: people and times of every
        name, the rare ones included, by hash."""
        self.frames, self.shared, self._index, self._named = frames, shared, index, named
        self._by_first: dict[str, list[Frame]] = {}
        for frame in sorted(frames, key=lambda f: (-len(f.before) - len(f.after), -f.people, f.before, f.group)):
            self._by_first.setdefault(frame.before.split(" ", 1)[0], []).append(frame)
        self._usual: dict[tuple[str, str], Frame] = {}
        for frame in sorted(frames, key=lambda f: (f.people, f.before)):
            self._usual[frame.group] = frame

    @classmethod
    def build(
        cls, frames: Sequence[Frame], fragments: Iterable[Fragment], sound: TextEncoder, min_people: int
    ) -> Fragments:
        fragments = list(fragments)
        shared = sorted((f for f in fragments if f.people >= min_people), key=lambda f: (f.group, f.text))
        vectors = sound.encode([f.text for f in shared]) if shared else np.zeros((0, DIMENSION), np.float32)
        named = HashCounts.pack({key_hash(*f.group, f.text): (f.people, f.times) for f in fragments}, 2)
        return cls(frames, shared, build_index(vectors), named)

    def known(self, fitting: Sequence[tuple[Frame, str]]) -> np.ndarray:
        """float32 (n, 2): for each fit of a query, how many people named just that, and how often, with success."""
        return self._named.get_many([key_hash(*frame.group, rest) for frame, rest in fitting])

    def fitting(self, query: str) -> list[tuple[Frame, str]]:
        """The frames that fit `query`, most words first, with the words to replace; of each group the first."""
        out: dict[tuple[str, str], tuple[Frame, str]] = {}
        first = query.split(" ", 1)[0]
        for frame in [*self._by_first.get(first, ()), *self._by_first.get("", ())]:
            if frame.group not in out and (rest := frame.rest_of(query)):
                out[frame.group] = (frame, rest)
        return list(out.values())

    def compose(
        self, query: str, fitting: Sequence[tuple[Frame, str]], sound: TextEncoder, own: Sequence[Fragment]
    ) -> list[Composition]:
        """The query with the names it may have meant, nearest by sound first. `fitting`: as `fitting` gives it for the
        query. `own`: this user's own fragments.
        `sound`: gives unit rows for texts (a cache will do)."""
        if not fitting:
            return []
        frame_of = {frame.group: (frame, rest) for frame, rest in fitting}
        rests = list(dict.fromkeys(rest for _, rest in fitting))
        vectors = dict(zip(rests, sound.encode(rests), strict=True))
        out: dict[str, Composition] = {}
        mine = [f for f in own if f.group in frame_of]
        if mine:
            rows = sound.encode([f.text for f in mine])
            for fragment, row in zip(mine, rows, strict=True):
                frame, rest = frame_of[fragment.group]
                if _likeness(rest, fragment.text) >= OWN_LIKENESS:
                    self._add(out, query, frame, fragment, rest, float(row @ vectors[rest]), True)
            kept = sorted(out.values(), key=lambda c: -c.sound)[:MAX_OWN]
            out = {c.text: c for c in kept}
        if self.shared:
            number = len(out)
            for rest in rests:
                cosines, rows = self._index.search(vectors[rest][None], min(SEARCHED, len(self.shared)))
                for cosine, row in zip(cosines[0].tolist(), rows[0].tolist(), strict=True):
                    fragment = self.shared[row] if row >= 0 else None
                    if fragment is None or fragment.group not in frame_of or frame_of[fragment.group][1] != rest:
                        continue
                    self._add(out, query, frame_of[fragment.group][0], fragment, rest, cosine, False)
                    if len(out) >= number + MAX_SHARED:
                        break
        return sorted(out.values(), key=lambda c: -c.sound)

    @staticmethod
    def _add(
        out: dict[str, Composition], query: str, frame: Frame, fragment: Fragment, rest: str, sound: float, own: bool
    ) -> None:
        text = frame.around(fragment.text)
        if text != query and text not in out:
            out[text] = Composition(text, fragment, rest, sound, own)

    def of_person(self, texts: Mapping[str, Interpretation]) -> list[Fragment]:
        """The fragments in one person's texts that worked, given with their readings."""
        out: dict[tuple[str, tuple[str, str]], Fragment] = {}
        for text, reading in texts.items():
            for frame, rest in self.fitting(text):
                if frame.group[0] == reading.intent and fills(frame.group[1], rest, reading):
                    out.setdefault((rest, frame.group), Fragment(rest, frame.group, reading, 1, 1.0))
        return list(out.values())

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        frames = [[f.before, f.after, f.group, f.people] for f in self.frames]
        shared = [[f.text, f.group, f.reading.intent, f.reading.slots, f.people, f.times] for f in self.shared]
        (directory / "frames.json").write_bytes(orjson.dumps(frames))
        (directory / "fragments.json").write_bytes(orjson.dumps(shared))
        faiss.write_index(self._index, str(directory / "fragments.faiss"))
        self._named.save(directory, "named")

    @classmethod
    def open(cls, directory: Path) -> Fragments:
        frames = orjson.loads((directory / "frames.json").read_bytes())
        shared = orjson.loads((directory / "fragments.json").read_bytes())
        return cls(
            [Frame(b, a, (g[0], g[1]), n) for b, a, g, n in frames],
            [
                Fragment(t, (g[0], g[1]), Interpretation(i, tuple((k, v) for k, v in s)), n, times)
                for t, g, i, s, n, times in shared
            ],
            open_index(directory / "fragments.faiss"),
            HashCounts.open(directory, "named"),
        )


def fills(gaps: str, text: str, reading: Interpretation) -> bool:
    """Whether `text` is what `gaps` become with the slot values of `reading`."""
    slots = {name: normalise(value) for name, value in reading.slots}
    words = [slots.get(w[1:-1], "") if w.startswith("{") else w for w in gaps.split()]
    return " ".join(words) == text


def _likeness(a: str, b: str) -> float:
    return max(fuzz.ratio(a, b), fuzz.ratio(sound_key(a), sound_key(b))) / 100
