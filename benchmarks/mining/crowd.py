"""A log of any size: the people of the sample log again and again, with fresh ids, contacts, names and times.

Written day by day, one file each, as a service exports them; nothing but one day of the sample is in memory.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson

from rewrite_service.sample.generate import generate

DAY_MS = 86_400_000
_FRESH_SHARE = 4
"""One copy of a person in so many calls some things by names of its own, which nobody else says."""
_OWN_SLOTS = ("contact", "artist", "song", "film")


def write_crowd(folder: Path, turns: int) -> list[Path]:
    """At least `turns` turns as JSON lines, gzipped, one file a day. Returns the files, in order of time."""
    by_day: dict[int, list[dict[str, Any]]] = defaultdict(list)
    total = 0
    for record in generate():
        by_day[record["timestamp_ms"] // DAY_MS].append(record)
        total += 1
    folder.mkdir(parents=True, exist_ok=True)
    copies, paths = -(-turns // total), []
    for day, records in sorted(by_day.items()):
        path = folder / f"{day}.jsonl.gz"
        lines = [_Template(record) for record in records]
        left = turns * len(records) // total + 1
        with gzip.open(path, "wb", compresslevel=1) as out:
            for copy in range(copies):
                out.write(b"".join(line.of(copy) for line in lines[: max(0, left - copy * len(lines))]))
        paths.append(path)
    return paths


class _Template:
    """A record whose copies are made by joining bytes: parsing and writing JSON anew would take most of the time."""

    def __init__(self, record: dict[str, Any]) -> None:
        own = (record["interpretation"] or {}).get("slots", {})
        self._names = [value for name, value in own.items() if name in _OWN_SLOTS and len(value) > 3]
        marked = record | {
            "user_id": record["user_id"] + "\x01",
            "interaction_id": record["interaction_id"] + "\x01",
            "timestamp_ms": 0,
            "context": record["context"] | {"device_id": record["context"]["device_id"] + "\x01"},
        }
        before, after = orjson.dumps(marked).split(b'"timestamp_ms":0', 1)
        self._stamp = record["timestamp_ms"]
        self._before, self._after = before, after

    def of(self, copy: int) -> bytes:
        """The copy with this number. A copy's day is moved by some milliseconds, so that its pauses stay."""
        before, after = self._before, self._after
        if copy % _FRESH_SHARE == 1:
            for name in self._names:
                mine = f"{name} {_word(copy)}".encode()
                before, after = (part.replace(name.encode(), mine) for part in (before, after))
        number = f"x{copy}".encode()
        line = b'%b"timestamp_ms":%d%b\n' % (before, self._stamp + copy % 60_000, after)
        return line.replace(b"\\u0001", number)


def _word(number: int) -> str:
    """A word of its own for each number."""
    syllables = ["ba", "do", "ki", "lu", "me", "na", "po", "ri", "su", "te", "va", "zo"]
    out = ""
    while True:
        number, digit = divmod(number, len(syllables))
        out += syllables[digit]
        if not number:
            return out + "n"
