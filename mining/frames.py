"""Mines frames (`retriever.frames`) and what fills them (`retriever.fragments`) from requests that worked.

Only slots with many values that people say are names; a slot with few (an action, "on" and "off") belongs to the frame.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from mining.defects import TurnEvidence
from retriever.fragments import Fragment, Said, named_slots, says_all, spoken
from retriever.frames import Frame
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

MIN_VALUES = 12
MIN_SPOKEN = 0.3
"""Of a name's values at least this share stands in the words of the request; others are keys that nobody says."""
MIN_PEOPLE = 2
MIN_CLOSED = 0.9
"""Share of a frame's uses whose meaning is all in its words, from which on a new name's meaning can be foretold."""
MAX_FULLER = 3
"""Texts that are kept of those that say a name and more."""
_MAX_FRAME_WORDS = 8

T = TypeVar("T")
Pair = tuple[str, Interpretation]
"""A text in normal form, and what it was understood as."""
CountPeople = Callable[[Iterable[tuple[Pair, Any]]], Mapping[Any, int]]
"""Given pairs with the group that each counts for (one pair may count for several): how many different people said any
pair of each group with success."""


def pairs_that_worked(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> Counter[Pair]:
    """How often each pair served one person."""
    return Counter(
        (text, turn.interpretation)
        for turn, e in zip(turns, evidence, strict=True)
        if turn.interpretation is not None and not e.failed and (text := normalise(turn.request.query))
    )


def _name_slots(times: Mapping[Pair, int]) -> set[str]:
    """The slots that take many values which people say, whatever the intent."""
    values: dict[str, set[str]] = defaultdict(set)
    said: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for (text, reading), n in times.items():
        padded = f" {text} "
        for name, value in reading.slots:
            values[name].add(value)
            seen[name] += n
            said[name] += n * (f" {normalise(value)} " in padded)
    return {name for name, vs in values.items() if len(vs) >= MIN_VALUES and said[name] >= MIN_SPOKEN * seen[name]}


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
    """`frames_of` the turns of some people, each one's in time order with their evidence."""
    times: Counter[Pair] = Counter()
    who: dict[Pair, set[int]] = defaultdict(set)
    for person, (turns, evidence) in enumerate(people):
        own = pairs_that_worked(turns, evidence)
        times.update(own)
        for pair in own:
            who[pair].add(person)

    def count_people(groups: Iterable[tuple[Pair, Any]]) -> Mapping[Any, int]:
        of: dict[Any, set[int]] = defaultdict(set)
        for pair, group in groups:
            of[group] |= who[pair]
        return {group: len(persons) for group, persons in of.items()}

    return frames_of(times, count_people, min_people)


def frames_of(
    times: Mapping[Pair, int], count_people: CountPeople, min_people: int = MIN_PEOPLE
) -> tuple[list[Frame], list[Fragment]]:
    """Frames that at least `min_people` people used, and all names that fit into their gaps, with their people.

    `times`: how often each pair served anybody. A name counts wherever its slots occur: whoever asked for a song named
    its artist too, as far as the assistant knew.
    """
    names = _name_slots(times)
    parts: dict[Pair, tuple[str, str, str]] = {}
    others: dict[_Place, Counter[tuple[tuple[str, str], ...]]] = defaultdict(Counter)
    places: list[tuple[Pair, Any]] = []
    for pair, n in times.items():
        text, reading = pair
        found = split(text, reading, names)
        if found is None:
            continue
        parts[pair] = found
        if found[0] or found[2]:
            place = _Place(found[0], found[2], reading.intent, found[1])
            places.append((pair, place))
            gaps = named_slots(place.gaps)
            others[place][tuple(slot for slot in reading.slots if slot[0] not in gaps)] += n
    users = count_people(places)
    frames = [_frame(place, users[place], others[place], names) for place in sorted(others)]
    frames = [frame for frame in frames if frame.people >= min_people]
    return frames, _fragments(times, parts, frames, count_people, min_people)


def _frame(place: _Place, people: int, others: Counter[tuple[tuple[str, str], ...]], names: set[str]) -> Frame:
    constants = max(others, key=lambda slots: (others[slots], slots))
    found_by_assistant = sum(n for slots, n in others.items() if any(name in names for name, _ in slots))
    foretold = others[constants] >= MIN_CLOSED * others.total() and not found_by_assistant
    return Frame(*place, constants=constants if foretold else None, people=people)


def _fragments(
    times: Mapping[Pair, int],
    parts: Mapping[Pair, tuple[str, str, str]],
    frames: Sequence[Frame],
    count_people: CountPeople,
    min_people: int,
) -> list[Fragment]:
    """`parts`: of each pair that holds a name (see `split`)."""
    named: list[tuple[Pair, Any]] = []
    read: list[tuple[Pair, Any]] = []
    more: list[tuple[Pair, Any]] = []
    patterns = sorted({frame.gaps for frame in frames})
    said: Counter[tuple[str, str]] = Counter()
    slots: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    for pair, n in times.items():
        reading = pair[1]
        for gaps in patterns:
            text = spoken(gaps, reading)
            if not text:
                continue
            key = gaps, text
            named.append((pair, key))
            said[key] += n
            # What the assistant adds to a name is known only from requests that said no more than this.
            if pair in parts and parts[pair][1] == gaps:
                read.append((pair, (key, reading)))
            elif pair in parts and named_slots(gaps) < named_slots(parts[pair][1]):
                more.append((pair, (key, (parts[pair][1], reading))))
            wanted = named_slots(gaps)
            own = tuple(s for s in reading.slots if s[0] in wanted)
            slots[key] = min(own, slots.get(key, own))
    read_by, more_by = _by_name(count_people(read)), _by_name(count_people(more))
    closed = sorted((f for f in frames if f.constants is not None), key=lambda f: (f.people, f.before, f.after))
    usual = {frame.group: frame for frame in closed}
    return [
        Fragment(
            key[1],
            key[0],
            slots[key],
            readings=_usual(read_by[key], min_people),
            people=people,
            times=float(said[key]),
            fuller=_fuller(more_by[key], usual, min_people),
        )
        for key, people in sorted(count_people(named).items())
    ]


def _by_name(people: Mapping[tuple[tuple[str, str], T], int]) -> dict[tuple[str, str], dict[T, int]]:
    out: dict[tuple[str, str], dict[T, int]] = defaultdict(dict)
    for (name, what), n in people.items():
        out[name][what] = n
    return out


def _fuller(
    more_by: Mapping[tuple[str, Interpretation], int], usual: Mapping[tuple[str, str], Frame], min_people: int
) -> tuple[Said, ...]:
    """The texts that say a name and more, of most people first. `more_by`: people by the gaps and the meaning that some
    text with the name had; `usual`: of each intent and gaps the frame to say that in."""
    order = sorted(more_by.items(), key=lambda item: (-item[1], item[0][0], item[0][1].intent, item[0][1].slots))
    out: dict[Interpretation, str] = {}
    for (gaps, reading), people in order:
        frame = usual.get((reading.intent, gaps))
        if people >= min_people and frame is not None and says_all(frame, reading):
            out.setdefault(reading, frame.around(spoken(gaps, reading)))
    return tuple((text, reading) for reading, text in out.items())[:MAX_FULLER]


def _usual(read_by: Mapping[Interpretation, int], min_people: int) -> tuple[Interpretation, ...]:
    """The reading that most people share, of each intent: what the assistant takes from one person's account is nobody
    else's business."""
    best: dict[str, Interpretation] = {}
    for reading, people in sorted(read_by.items(), key=lambda item: (-item[1], item[0].intent, item[0].slots)):
        if people >= min_people:
            best.setdefault(reading.intent, reading)
    return tuple(best.values())
