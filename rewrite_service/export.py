"""Everything that is held of one user, as records that they can keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from mining.schema import to_record
from rewrite_service.people_archive import PeopleArchive
from rewrite_service.store.base import Store

Line = dict[str, Any]


def everything_of(
    user_id: str, store: Store, archives: Mapping[str, PeopleArchive], *, served: bool = True
) -> list[Line]:
    """All that store and bundles (by name) hold of the user. `served`: without what a bundle still holds of one who was
    forgotten. Each line: `type` is turn or preference, `held_in` is store
    or a bundle's name; the rest is a record of the log, with the rewrite it was served with, or a preference's fields.
    Raises StoreError."""
    held = store.user(user_id)
    lines: list[Line] = [
        {"type": "turn", "held_in": "store", **to_record(turn)}
        | {"rewritten_query": held.rewrites.get(turn.request.interaction_id)}
        for turn in held.turns
    ]
    lines += [{"type": "preference", "held_in": "store", **asdict(p)} for p in held.preferences]
    for name, archive in archives.items():
        archived = archive.user(user_id).turns
        if served and held.forgotten_ms is not None:
            archived = [turn for turn in archived if turn.request.timestamp_ms > held.forgotten_ms]
        lines += [{"type": "turn", "held_in": name, **to_record(turn)} for turn in archived]
    return lines


def written(line: Line) -> bytes:
    """The line as JSON, with its end."""
    try:
        return orjson.dumps(line) + b"\n"
    except orjson.JSONEncodeError:  # a lone surrogate, which UTF-8 cannot hold but an escape can
        return json.dumps(line).encode("ascii") + b"\n"
