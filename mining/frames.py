"""Mines frames and fragments (`retriever.fragments`) from requests that worked.

Only slots with many values that people say are names; a slot with few (an action, "on" and "off") belongs to the frame.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mining.defects import TurnEvidence
from retriever.fragments import Fragment, Frame, named_slots, spoken
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

MIN_VALUES = 12
MIN_SPOKEN = 0.3
"""Of a name's values at least this share stands in the words of the request; others are keys that nobody says."""
MIN_PEOPLE = 2
MIN_CLOSED = 0.9
"""Share of a frame's uses whose meaning is all in its words, from which on a new name's meaning can be foretold."""
_MAX_FRAME_WORDS = 8


def _name_slots(turns: Iterable[Interaction]) -> set[str]:
    """The slots that take many values which people say, whatever the intent."""
    values: dict[str, set[str]] = defaultdict(set)
    said: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for turn in turns:
        assert turn.interpretation is not None
        text = f" {normalise(turn.request.query)} "
        for name, value in turn.interpretation.slots:
            values[name].add(value)
            times[name] += 1
            said[name] += f" {normalise(value)} " in text
    return {name for name, seen in values.items() if len(seen) >= MIN_VALUES and said[name] >= MIN_SPOKEN * times[name]}


def split(text: str, reading: Interpretation, names: set[str]) -> tuple[str, str, str] | None:
    """(before, gaps, after) of a text with its reading; None where no name of it stands in the text."""
    gapped = f" {text} "
    values = [(slot, normalise(value)) for slot, value in reading.slots if slot in names]
    for slot, value in sorted(values, key=lambda sv: -len(sv[1])):
        if value and f" {value} " in gapped:
            gapped = gapped.replace(f" {value} ", f" {{{slot}}} ", 1)
    words = gapped.split()
    at = [i for i, word in enumerate(words) if word.startswith("{")]
    if not at or len(words) - len(at) > _MAX_FRAME_WORDS:
        return None
    return " ".join(words[: at[0]]), " ".join(words[at[0] : at[-1] + 1]), " ".join(words[at[-1] + 1 :])


class _Place(NamedTuple):
    """A frame before it is known how its slots behave."""

    before: str
    after: str
    intent: str
    gaps: str


def mine_frames(
    people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]], min_people: int = MIN_PEOPLE
) -> tuple[list[Frame], list[Fragment]]:
    """Frames that at least `min_people` people used, and all names that fit into their gaps, with their people.

    A name counts wherever its slots occur: whoever asked for a song named its artist too, as far as the assistant knew.
    """
    worked = [
        [t for t, e in zip(turns, evidence, strict=True) if t.interpretation is not None and not e.failed]
        for turns, evidence in people
    ]
    names = _name_slots(turn for turns in worked for turn in turns)
    users: dict[_Place, set[int]] = defaultdict(set)
    others: dict[_Place, Counter[tuple[tuple[str, str], ...]]] = defaultdict(Counter)
    for person, turns in enumerate(worked):
        for turn in turns:
            assert turn.interpretation is not None
            parts = split(normalise(turn.request.query), turn.interpretation, names)
            if parts is None or not (parts[0] or parts[2]):
                continue
            place = _Place(parts[0], parts[2], turn.interpretation.intent, parts[1])
            users[place].add(person)
            gaps = named_slots(place.gaps)
            others[place][tuple(slot for slot in turn.interpretation.slots if slot[0] not in gaps)] += 1
    frames = [_frame(place, users[place], others[place], names) for place in sorted(users)]
    frames = [frame for frame in frames if frame.people >= min_people]
    return frames, _fragments(worked, sorted({frame.gaps for frame in frames}), names, min_people)


def _frame(place: _Place, users: set[int], others: Counter[tuple[tuple[str, str], ...]], names: set[str]) -> Frame:
    constants = max(others, key=lambda slots: (others[slots], slots))
    found_by_assistant = sum(n for slots, n in others.items() if any(name in names for name, _ in slots))
    foretold = others[constants] >= MIN_CLOSED * others.total() and not found_by_assistant
    return Frame(*place, constants=constants if foretold else None, people=len(users))


def _fragments(
    worked: Sequence[Sequence[Interaction]], patterns: Sequence[str], names: set[str], min_people: int
) -> list[Fragment]:
    named_by: dict[tuple[str, str], set[int]] = defaultdict(set)
    times: Counter[tuple[str, str]] = Counter()
    read_by: dict[tuple[str, str], dict[Interpretation, set[int]]] = defaultdict(lambda: defaultdict(set))
    slots: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    for person, turns in enumerate(worked):
        for turn in turns:
            assert turn.interpretation is not None
            parts = split(normalise(turn.request.query), turn.interpretation, names)
            for gaps in patterns:
                text = spoken(gaps, turn.interpretation)
                if text:
                    key = gaps, text
                    named_by[key].add(person)
                    times[key] += 1
                    # What the assistant adds to a name is known only from requests that said no more than this.
                    if parts is not None and parts[1] == gaps:
                        read_by[key][turn.interpretation].add(person)
                    wanted = named_slots(gaps)
                    slots.setdefault(key, tuple(s for s in turn.interpretation.slots if s[0] in wanted))
    return [
        Fragment(
            text,
            gaps,
            slots[gaps, text],
            readings=_usual(read_by[gaps, text], min_people),
            people=len(who),
            times=float(times[gaps, text]),
        )
        for (gaps, text), who in sorted(named_by.items())
    ]


def _usual(read_by: Mapping[Interpretation, set[int]], min_people: int) -> tuple[Interpretation, ...]:
    """The reading that most people share, of each intent: what the assistant takes from one person's account is nobody
    else's business."""
    best: dict[str, Interpretation] = {}
    for reading, people in sorted(read_by.items(), key=lambda kv: -len(kv[1])):
        if len(people) >= min_people:
            best.setdefault(reading.intent, reading)
    return tuple(best.values())
