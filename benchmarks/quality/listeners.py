"""Would it help to know what people like this one like? Half of what people ask for is new for them.

For each candidate, how much those who named its values share with this user (user-based collaborative filtering over
the names in interpretations, from the days before the block; the user left out) becomes one more feature; the ranker
with and without it, on the log's last two blocks.

usage: python -m benchmarks.quality.listeners      (HABITBENCH: its folder; ten minutes)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.quality.further_feature import judge, with_column
from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import folder
from mining.reader import read_log
from mining.sessions import by_user
from retriever.encoder import Encoder
from retriever.interaction import Interaction
from retriever.normalise import normalise
from retriever.vector_cache import CachedEncoder
from rewrite_service.build import BuildSettings
from rewrite_service.examples import Example, Replay, block_starts
from rewrite_service.side_by_side import replayed

_PRIOR = 5.0
"""Listeners more that share nothing, so that one who shares everything says little."""


def values_of(turn: Interaction) -> set[str]:
    return set() if turn.interpretation is None else {normalise(v) for _, v in turn.interpretation.slots}


class Likings:
    """Who named what before some moment. `named`: float32 (people, values), 1 where the person named the value."""

    def __init__(self, people: Mapping[str, Sequence[Interaction]], before_ms: int) -> None:
        theirs = {
            user: set().union(*(values_of(t) for t in turns if t.request.timestamp_ms < before_ms))
            for user, turns in people.items()
        }
        self._column = {value: i for i, value in enumerate(sorted(set().union(*theirs.values())))}
        self._row = {user: i for i, user in enumerate(people)}
        self.named = np.zeros((len(people), len(self._column)), np.float32)
        for user, values in theirs.items():
            self.named[self._row[user], [self._column[v] for v in values]] = 1.0

    def of(self, user: str, own: set[str]) -> np.ndarray:
        """float32 (values,): how much those who named each share with this user, who named `own`."""
        columns = [self._column[v] for v in own if v in self._column]
        shared = self.named[:, columns].sum(1) / np.sqrt(self.named.sum(1) + 1)
        shared[self._row[user]] = 0.0
        others = self.named.sum(0) - self.named[self._row[user]]
        return (shared @ self.named) / (others + _PRIOR)

    def column(self, value: str) -> int | None:
        return self._column.get(value)


def with_liking(
    some: Sequence[Example], people: Mapping[str, Sequence[Interaction]], starts: Sequence[int]
) -> list[Example]:
    """The examples with the further column; NaN where nobody named a candidate's values."""
    likings: dict[int, Likings] = {}

    def column(e: Example) -> np.ndarray:
        if e.block not in likings:
            likings.clear()  # the blocks come one after another
            likings[e.block] = Likings(people, starts[e.block])
        liking = likings[e.block]
        own = set().union(*(values_of(t) for t in people[e.user] if t.request.timestamp_ms < e.timestamp_ms))
        score = liking.of(e.user, own)
        out = np.full(len(e.x), np.nan, np.float32)
        for row, candidate in enumerate(e.candidates):
            values = [] if candidate.reading is None else [normalise(v) for _, v in candidate.reading.slots]
            known = [c for v in values if (c := liking.column(v)) is not None]
            if known:
                out[row] = score[known].mean()
        return out

    return with_column(some, column)


def compare(made: Sequence[Example], people: Mapping[str, Sequence[Interaction]]) -> dict[str, dict[str, float]]:
    starts = block_starts(people, BuildSettings().blocks)
    return {"without": judge(made), "with": judge(with_liking(made, people, starts))}


def main() -> None:
    settings = BuildSettings()
    people = by_user(read_log([folder() / "log.jsonl.gz"]).turns)
    meaning = CachedEncoder(Encoder(), Encoder.DIMENSION, 1 << 30)
    replay = Replay.of(people, meaning, blocks=settings.blocks, min_people=settings.min_people)
    made = replayed(replay, settings.threads)
    results = compare(made, people)
    rows = [(name, percent(r["reduction"]), r["wins_per_harm"]) for name, r in results.items()]
    show("the ranker on the last days", ("", "reduction", "wins : harms"), rows)
    keep("listeners", {"results": results})


if __name__ == "__main__":
    main()
