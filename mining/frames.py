"""Mines frames and fragments (`retriever.fragments`) from requests that worked.

Only slots with many values are names; a slot with few (an action, "on" and "off") belongs to the frame.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mining.defects import TurnEvidence
from retriever.fragments import Fragment, Frame
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

MIN_VALUES = 12
MIN_PEOPLE = 2
_MAX_FRAME_WORDS = 8


def _open_slots(turns: Iterable[Interaction]) -> set[tuple[str, str]]:
    """(intent, slot) of the slots that take many values."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for turn in turns:
        assert turn.interpretation is not None
        for name, value in turn.interpretation.slots:
            values[turn.interpretation.intent, name].add(value)
    return {slot for slot, seen in values.items() if len(seen) >= MIN_VALUES}


def split(text: str, reading: Interpretation, names: set[tuple[str, str]]) -> tuple[str, str, str, str] | None:
    """(before, gaps, after, fragment) of a text with its reading; None where no name of it stands in the text."""
    gapped = f" {text} "
    values = [(slot, normalise(value)) for slot, value in reading.slots if (reading.intent, slot) in names]
    for slot, value in sorted(values, key=lambda sv: -len(sv[1])):
        if value and f" {value} " in gapped:
            gapped = gapped.replace(f" {value} ", f" {{{slot}}} ", 1)
    words = gapped.split()
    at = [i for i, word in enumerate(words) if word.startswith("{")]
    if not at or len(words) - len(at) > _MAX_FRAME_WORDS:
        return None
    before, gaps, after = words[: at[0]], words[at[0] : at[-1] + 1], words[at[-1] + 1 :]
    start, end = " ".join(before), " ".join(after)
    fragment = text[len(start) : len(text) - len(end)].strip()
    return start, " ".join(gaps), end, fragment


def mine_frames(
    people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]], min_people: int = MIN_PEOPLE
) -> tuple[list[Frame], list[Fragment]]:
    """Frames that at least `min_people` people used, and all fragments found in them, with their people."""
    people = list(people)
    worked = [
        [t for t, e in zip(turns, evidence, strict=True) if t.interpretation is not None and not e.failed]
        for turns, evidence in people
    ]
    names = _open_slots(turn for turns in worked for turn in turns)
    frame_people: dict[tuple[str, str, tuple[str, str]], set[int]] = defaultdict(set)
    named_by: dict[tuple[str, tuple[str, str]], set[int]] = defaultdict(set)
    readings: dict[tuple[str, tuple[str, str]], Counter[Interpretation]] = defaultdict(Counter)
    for person, turns in enumerate(worked):
        for turn in turns:
            assert turn.interpretation is not None
            parts = split(normalise(turn.request.query), turn.interpretation, names)
            if parts is None:
                continue
            before, gaps, after, fragment = parts
            group = (turn.interpretation.intent, gaps)
            frame_people[before, after, group].add(person)
            named_by[fragment, group].add(person)
            readings[fragment, group][turn.interpretation] += 1
    frames = [
        Frame(before, after, group, len(who))
        for (before, after, group), who in sorted(frame_people.items())
        if len(who) >= min_people and (before or after)
    ]
    groups = {frame.group for frame in frames}
    fragments = [
        Fragment(
            text, group, readings[text, group].most_common(1)[0][0], len(who), float(readings[text, group].total())
        )
        for (text, group), who in sorted(named_by.items())
        if group in groups
    ]
    return frames, fragments
