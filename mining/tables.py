"""Who says what, with what success: tables of texts, repairs, words and slot values from turns and their evidence.

`collect` serves one person's turns (the personal layer, online too), `collect_shared` everybody's (the global layer, in
a build), where no one person may weigh too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import is_
from typing import TypeVar

from mining.defects import FAILED, Judged, TurnEvidence, judge
from mining.reactions import PUBLISHED, Reactions
from retriever.evidence import Repair, TextEvidence
from retriever.interaction import Interaction, Outcome
from retriever.normalise import normalise, word_pairs

T = TypeVar("T")

MOST_PER_PERSON = 10
"""What all turns of one person on one text, repair or slot value weigh at most in everybody's tables, in turns:
whoever repeats a thing a thousand times, by habit or to have others get it, counts as often as this."""


@dataclass(slots=True)
class Tables:
    """`texts`: by normal form. `repairs`: by (source, target). `slot_values`: successes by value of any slot."""

    texts: dict[str, TextEvidence] = field(default_factory=dict)
    repairs: dict[tuple[str, str], Repair] = field(default_factory=dict)
    slot_values: Counter[str] = field(default_factory=Counter)

    def words(self) -> Counter[str]:
        """Successes by word."""
        return self._served(str.split)

    def word_pairs(self) -> Counter[tuple[str, str]]:
        """Successes by two neighbouring words, borders included."""
        return self._served(word_pairs)

    def _served(self, parts: Callable[[str], Iterable[T]]) -> Counter[T]:
        out: Counter[T] = Counter()
        for e in self.texts.values():
            times = e.readings[0].total() + e.readings[1].total()
            for part in parts(e.text) if times else ():
                out[part] += times  # type: ignore[assignment]  # in everybody's tables turns have weights
        return out


@dataclass(frozen=True, slots=True)
class _Said:
    """One person's turns that said one text, and what they make of it. `defects`: of each, the probability that it
    failed; `values`: of the slots of each that served."""

    turns: Sequence[Interaction]
    defects: Sequence[float]
    row: TextEvidence
    values: Sequence[str]


def collect(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> Tables:
    """Tables over one person's turns, in time order with their evidence (`mining.defects.assess`)."""
    return _tables(turns, [normalise(turn.request.query) for turn in turns], evidence, {})[0]


def _tables(
    turns: Sequence[Interaction],
    texts: Sequence[str],
    evidence: Sequence[TurnEvidence],
    before: Mapping[str, _Said],
) -> tuple[Tables, dict[str, _Said]]:
    """As `collect`, with what each text came to. `texts`: of the turns, in normal form. `before`: what each text came
    to the last time; where its turns are still the same objects, and failed as surely, it is taken over."""
    places: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        if text:
            places.setdefault(text, []).append(i)
    said = {}
    for text, at in places.items():
        theirs, defects = [turns[i] for i in at], [evidence[i].defect for i in at]
        known = before.get(text)
        if known is None or known.defects != defects or not all(map(is_, known.turns, theirs)):
            known = _said(text, theirs, defects)
        said[text] = known
    repairs: Counter[tuple[str, str]] = Counter()
    for text, e in zip(texts, evidence, strict=True):
        if e.goal is not None and text and texts[e.goal] not in ("", text):
            repairs[text, texts[e.goal]] += 1
    tables = Tables(
        {text: known.row for text, known in said.items()},
        {pair: Repair(*pair, times) for pair, times in repairs.items()},
        Counter(chain.from_iterable(known.values for known in said.values())),
    )
    return tables, said


def _said(text: str, turns: Sequence[Interaction], defects: Sequence[float]) -> _Said:
    row, values = TextEvidence(text), []
    for turn, defect in zip(turns, defects, strict=True):
        row.attempts += 1
        row.successes += 1 - defect
        screen = turn.request.context.has_screen
        if turn.interpretation is not None and turn.outcome is Outcome.OK:
            row.understood[screen][turn.interpretation] += 1
            row.understood_by[turn.interpretation] = 1
        if defect >= FAILED or turn.interpretation is None:
            continue
        row.people = 1
        stamp = turn.request.timestamp_ms
        row.last_success_ms = max(row.last_success_ms, stamp)
        row.success_ms.append(stamp)
        row.readings[screen][turn.interpretation] += 1
        values += [normalise(value) for _, value in turn.interpretation.slots]
    return _Said(turns, defects, row, values)


_STEPS = float(1 << 20)


def exactly(amount: float) -> float:
    """`amount`, 0 to 2^32, to the nearest millionth or so (2^-20): such amounts add up without any rounding, in
    whatever order, so that the sums of a log are the same rows however it was split."""
    return round(amount * _STEPS) / _STEPS


def collect_shared(
    people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]], most_per_person: float = MOST_PER_PERSON
) -> Tables:
    """Tables over everybody's turns. `most_per_person`: see `MOST_PER_PERSON`; infinite for no bound.

    The result does not depend on the order of the people.
    """
    out = Tables()
    for turns, evidence in people:
        own = collect(turns, evidence)
        for text, row in own.texts.items():
            _add_text(out.texts, text, row, most_per_person)
        for pair, repair in own.repairs.items():
            known = out.repairs.get(pair)
            times, others = (known.times, known.people) if known else (0, 0)
            out.repairs[pair] = Repair(*pair, times + min(repair.times, most_per_person), others + 1)
        for value, times in own.slot_values.items():
            out.slot_values[value] += int(min(times, most_per_person))
    out.repairs = without_cycles(out.repairs)
    out.texts = {text: in_order(row) for text, row in out.texts.items()}
    return out


def weight_of(own: TextEvidence, most_per_person: float = MOST_PER_PERSON) -> float:
    """What each of one person's turns on a text weighs in everybody's tables, above 0 to 1: so that together they weigh
    no more than `most_per_person`, and shares stay what they are."""
    return min(1, most_per_person / own.attempts)


def _add_text(texts: dict[str, TextEvidence], text: str, own: TextEvidence, most_per_person: float) -> None:
    """Adds one person's record of a text."""
    weight = weight_of(own, most_per_person)
    row = texts.get(text)
    if row is None:
        row = texts[text] = TextEvidence(text)
    row.attempts += exactly(weight * own.attempts)
    row.successes += exactly(weight * own.successes)
    row.people += own.people
    row.last_success_ms = max(row.last_success_ms, own.last_success_ms)
    for reading, people in own.understood_by.items():
        row.understood_by[reading] += people
    for whole, part in zip((*row.readings, *row.understood), (*own.readings, *own.understood), strict=True):
        for reading, times in part.items():
            whole[reading] += exactly(weight * times)


def in_order(row: TextEvidence) -> TextEvidence:
    """A text's record with its readings in their own order, which settles ties."""
    for counts in (*row.readings, *row.understood):
        if len(counts) > 1:
            ordered = sorted(counts.items(), key=lambda item: (item[0].intent, item[0].slots))
            counts.clear()
            counts.update(dict(ordered))
    return row


def without_cycles(repairs: Mapping[tuple[str, str], Repair]) -> dict[tuple[str, str], Repair]:
    """The repairs without those that lead back: where each of two texts repaired the other, only what more people
    (then: more turns) did stays, and where they are even, neither. Or what one request is rewritten to would be
    rewritten back for the next."""
    kept = {}
    for (source, target), repair in repairs.items():
        back = repairs.get((target, source))
        if back is None or (repair.people, repair.times) > (back.people, back.times):
            kept[source, target] = repair
    return kept


@dataclass(frozen=True, slots=True)
class PersonalRecord:
    """What one person's turns came to: `tables`, and what a later record of theirs may take over."""

    tables: Tables
    judged: Judged
    said: Mapping[str, _Said]


def personal_record(
    turns: Sequence[Interaction], reactions: Reactions = PUBLISHED, before: PersonalRecord | None = None
) -> PersonalRecord:
    """One person's tables, from their turns in time order. `before`: their record by the same reactions before some
    turns came, went or changed; only what that makes a difference to is found anew, which takes a fraction of the
    time. The tables are the same with and without."""
    judged = judge(turns, reactions, before.judged if before else None)
    tables, said = _tables(turns, judged.texts, judged.evidence, before.said if before else {})
    return PersonalRecord(tables, judged, said)
