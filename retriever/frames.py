"""What people say around a name: "watch the movie {video}". A frame that fits a query says where in it a name may be.

Frames are mined from requests that worked (`mining.frames`); what fills them: `retriever.fragments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.interaction import Interpretation


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

    def reading_of(self, name: str) -> Interpretation | None:
        """What the frame is expected to mean with a name that nobody has said in it, taken as it stands; None where
        that cannot be told, or where several names stand in it."""
        if self.constants is None or len(self.gaps.split()) > 1:
            return None
        return Interpretation(self.intent, tuple(sorted((*self.constants, (self.gaps[1:-1], name)))))


class FrameTable:
    """The frames of a log, found by a query's words; read-only."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self._by_first: dict[str, list[Frame]] = {}
        for frame in sorted(frames, key=lambda f: (-len(f.before) - len(f.after), -f.people, f.before, f.group)):
            self._by_first.setdefault(frame.before.split(" ", 1)[0], []).append(frame)
        self._unfilled: dict[str, list[Frame]] = {}
        for frame in frames:
            if frame.after:  # where a name ends the request, what is left of it is no request
                self._unfilled.setdefault(frame.around("").replace("  ", " "), []).append(frame)

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


def foretold(fitting: Sequence[tuple[Frame, str]]) -> Interpretation | None:
    """What a query is expected to mean whose name nobody has said: as `FrameTable.fitting` gives it. None where its
    frames mean different things, or where that cannot be told."""
    readings = {frame.reading_of(rest) for frame, rest in fitting}
    return readings.pop() if len(readings) == 1 else None
