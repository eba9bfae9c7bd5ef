"""The sample log as a whole: everybody's turns in time order, as records of the interaction log or as a file."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from mining.schema import to_record
from rewrite_service.sample.conversation import Conversation, Turn
from rewrite_service.sample.people import inhabitants

START_MS = 1_767_571_200_000
"""The first day's midnight: 2026-01-05 UTC, a Monday."""


def turns(people: int = 200, days: int = 30, seed: int = 7) -> list[Turn]:
    """All turns with their truth, in time order. `people`: at least 3 to have all stories. `days`: at least 1."""
    told: list[Turn] = []
    for person in inhabitants(people, seed):
        conversation = Conversation(person, START_MS, days, random.Random(f"{seed}/{person.id}/days"))
        told += conversation.turns()
    told.sort(key=lambda t: (t.interaction.request.timestamp_ms, t.interaction.request.user_id))
    return [_numbered(turn, number) for number, turn in enumerate(told, start=1)]


def _numbered(turn: Turn, number: int) -> Turn:
    request = replace(turn.interaction.request, interaction_id=f"t{number:06d}")
    return replace(turn, interaction=replace(turn.interaction, request=request))


def generate(people: int = 200, days: int = 30, seed: int = 7) -> Iterator[dict[str, Any]]:
    """The records of the sample log, in time order: the same ones for the same arguments, on every machine."""
    for turn in turns(people, days, seed):
        yield to_record(turn.interaction)


def write(path: Path | str, people: int = 200, days: int = 30, seed: int = 7) -> int:
    """Writes the sample log as JSON lines, gzipped where the name ends in `.gz`. Returns the number of turns.

    The file appears under its name only once it is whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [orjson.dumps(record) + b"\n" for record in generate(people, days, seed)]
    data = b"".join(lines)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    half_done = path.with_name(f".{path.name}.half")
    half_done.write_bytes(data)
    half_done.replace(path)
    return len(lines)
