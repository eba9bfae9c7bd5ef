"""What became of what was heard where a name should be: how often anybody said it, and which names repaired it.

A repair of "message shawn" by "message sean" says as much of "call shawn", which nobody may have repaired yet. So
repairs of whole texts (`mining.tables`) are taken apart by the frames that fit (`retriever.frames`), and those of one
name are put together.
"""

from __future__ import annotations

from collections import defaultdict

from mining.tables import Tables
from retriever.fragments import HeardNames, Name, NameRepair, spoken
from retriever.frames import FrameTable

MOST_NAMES = 4
"""Each is compared and offered at every request that is heard so, whatever else there is."""


def heard_names(table: FrameTable, tables: Tables, min_people: int) -> HeardNames:
    """Of everybody's texts and repairs, in which one person's turns weigh no more than `MOST_PER_PERSON`. A repair
    counts where at least `min_people` people made it in one and the same text, so that it is no single person's,
    whoever repaired it in other frames, and where as many were understood so: whom "call mom" calls is each one's own
    business. Of the names that repaired the same words, the `MOST_NAMES` of most people."""
    tries: dict[Name, float] = defaultdict(float)
    for text, row in tables.texts.items():
        for name in {(frame.gaps, rest) for frame, rest in table.fitting(text)}:
            tries[name] += row.attempts
    people: dict[tuple[str, str, str], int] = {}
    times: dict[tuple[str, str, str], float] = defaultdict(float)
    for repair in tables.repairs.values():
        target = tables.texts.get(repair.target)
        if target is None:
            continue
        readings = {r for screen in (False, True) if (r := target.reading(screen, min_people)) is not None}
        found = {
            (frame.gaps, rest, meant)
            for frame, rest in table.fitting(repair.source)
            for reading in readings
            if reading.intent == frame.intent and (meant := spoken(frame.gaps, reading)) not in ("", rest)
        }
        for key in found:
            people[key] = max(people.get(key, 0), repair.people)
            times[key] += repair.times
    of: dict[Name, list[NameRepair]] = defaultdict(list)
    for key in sorted(people):
        if people[key] >= min_people:
            of[key[:2]].append(NameRepair(*key, people[key], times[key]))
    repairs = [r for found in of.values() for r in sorted(found, key=lambda r: (-r.people, -r.times))[:MOST_NAMES]]
    return HeardNames(tries, repairs)
