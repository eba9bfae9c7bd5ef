"""Rewrites computed ahead (`mining.chains`), found by a hash lookup on what was asked and the kind of device.

Privacy: the text that is asked is kept as a hash alone. What it is rewritten to is a row of the global layer, whose
texts enough people have said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retriever.global_layer import GlobalLayer
from retriever.packed import HashCounts, key_hash

_NAME, _COLUMNS = "known_rewrites", 5


@dataclass(frozen=True, slots=True)
class KnownRewrite:
    """That a text is better asked as `text`. `stays`, `goes`: of those who said it, the probabilities, 0 to 1, that
    they were served in their own words in the end, and by `text`. `people`: who went from the one to the other.
    `share`: of the turns that said it on such a device, above 0 to 1, those that this is known of: in the others the
    assistant made something else of the same words."""

    text: str
    stays: float
    goes: float
    people: int
    share: float = 1.0

    @property
    def score(self) -> float:
        """What is gained by asking it, -1 to 1, drawn towards 0 where few people are behind it."""
        return self.share * (self.goes - self.stays) * self.people / (self.people + 1)


class KnownRewrites:
    """Made by `build` or `open`; read-only afterwards, safe to share between threads. At most one rewrite for a text on
    a kind of device, as the same words may be understood otherwise on the other kind."""

    def __init__(self, table: HashCounts, shared: GlobalLayer) -> None:
        """`table`: target row + 1, and the figures of `KnownRewrite`."""
        self._table, self._shared = table, shared

    @classmethod
    def build(cls, found: Mapping[tuple[str, bool], KnownRewrite], shared: GlobalLayer) -> KnownRewrites:
        """`found`: by text in normal form and whether the device has a screen. What is no text of the global layer is
        left out."""
        targets = {known.text for known in found.values()}
        row = {text.text: text.row for text in shared.find(sorted(targets)) if text is not None}
        rows = {
            key_hash(*_key_parts(text, screen)): (row[k.text] + 1, k.stays, k.goes, k.people, k.share)
            for (text, screen), k in found.items()
            if k.text in row
        }
        return cls(HashCounts.pack(rows, _COLUMNS), shared)

    @classmethod
    def open(cls, directory: Path, shared: GlobalLayer) -> KnownRewrites:
        return cls(HashCounts.open(directory, _NAME), shared)

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._table.save(directory, _NAME)

    def __len__(self) -> int:
        return len(self._table)

    def find(self, text: str, has_screen: bool) -> KnownRewrite | None:
        """The rewrite of `text` (normal form) on such a device. One binary search in a mapped file."""
        row, stays, goes, people, share = self._table.get(*_key_parts(text, has_screen)).tolist()
        if not row:
            return None
        return KnownRewrite(self._shared.text_at(int(row) - 1).text, stays, goes, int(people), share)


def _key_parts(text: str, has_screen: bool) -> tuple[str, str]:
    return text, "screen" if has_screen else "no screen"
