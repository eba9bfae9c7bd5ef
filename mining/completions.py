"""Mines the rules that make follow-ups whole (`retriever.completion`) from repairs.

A failed query, the last answered turn before it, and the turn that reached the goal: what of the goal's words stands in
the answered turn's slots, in the situation, or in the query's own tail becomes a gap; the words left must be the same
for several people. "switch it off" after Device(den light), repaired by "turn off the den light", gives
"switch it off" + Device -> "turn off the {slot:device}". What of the query stands in the situation may become a gap as
well: "weather in denver", asked in Denver, North Carolina, gives "weather in {city}" -> "weather in {city} {state}".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mining.defects import TurnEvidence
from mining.sessions import SESSION_GAP_MS
from retriever.completion import REST, Completer, Rule, distinct_intents, fire, gap_values, gapped, patterns_of
from retriever.interaction import Context, Interaction, Interpretation, Request
from retriever.normalise import normalise

MIN_PEOPLE = 2
MIN_PRECISION = 0.2
_MAX_RULES_A_PATTERN = 4
MAX_TRIED_A_PATTERN = 32
"""Of rules that fire on the same words after the same intent, those with most people behind them. Among very many
people any two agree on something: without a bound each repair would be tried on ever more rules."""


class Example(NamedTuple):
    """One repair with as much of its situation as a gap may be filled from. `answered`: the readings of the answered
    turns before it, of each intent the latest (`distinct_intents`). `devices_on`: where it is just one that is on.
    `goal`, `reading`: the text that reached the goal, and what it was understood as."""

    query: str
    room: str
    city: str
    state: str
    devices_on: tuple[str, ...]
    answered: tuple[Interpretation, ...]
    goal: str
    reading: Interpretation | None

    @property
    def request(self) -> Request:
        """The failed request, as far as it is kept."""
        state = {device: "on" for device in self.devices_on}
        context = Context(room=self.room, city=self.city, state=self.state, device_state=state)
        return Request("", "", 0, self.query, context=context)


Key = tuple[str, bool, str, str]
"""Of a rule: pattern, open-ended or not, intent, template."""
Foretold = tuple[str, tuple[tuple[str, str], ...]] | None
"""Intent and slot templates of what a rule's result means; None where not all is known."""


def answered_before(turns: Sequence[Interaction], end: int, now_ms: int) -> tuple[Interpretation, ...]:
    """The readings of the answered turns before `turns[end]`, latest first, in the session that reaches `now_ms`."""
    out = []
    for k in range(end - 1, -1, -1):
        if now_ms - turns[k].request.timestamp_ms > SESSION_GAP_MS:
            break
        reading = turns[k].interpretation
        if reading is not None:
            out.append(reading)
    return tuple(out)


def _tail(query: str, goal: str, values: Collection[str]) -> tuple[str, str] | None:
    """(first words, last words) of the query, the last words being one of the goal's slot `values`; where there is no
    such, as many as stand in the goal together."""
    words = query.split()
    tails = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    said = [tail for tail in tails if f" {tail[1]} " in f" {goal} "]
    return next((tail for tail in said if tail[1] in values), said[0] if said else None)


def rules_of(example: Example) -> Iterator[tuple[Key, Foretold]]:
    """Each way to read one repair as a rule, with what its result means."""
    made = example.reading
    tail = _tail(example.query, example.goal, {normalise(v) for _, v in made.slots} if made else ())
    context = example.request.context
    patterns = patterns_of(example.query, context)
    for answered in [*example.answered, None]:
        values = gap_values(context, answered)
        variants = [(pattern, False, values) for pattern, more, _ in patterns if not more]
        if tail:
            variants.append((tail[0], True, values | {REST: tail[1]}))
        for pattern, open_ended, gaps in variants:
            template = gapped(example.goal, gaps)
            if "{" not in template or (open_ended and f"{{{REST}}}" not in template):
                continue
            if _gaps(template) <= _gaps(pattern):
                continue  # which would only be another way to say the same
            needs_answer = "{slot:" in template
            if needs_answer != (answered is not None):
                continue  # read without the answered turn, or with another one
            key = pattern, open_ended, answered.intent if answered else "", template
            yield key, _foretold(example, template, gaps)


def _gaps(template: str) -> set[str]:
    return {word for word in template.split() if word.startswith("{")}


def _foretold(example: Example, template: str, gaps: dict[str, str]) -> Foretold:
    """None where a value is not in the words: it was the assistant's to find, and cannot be foretold."""
    made = example.reading
    if made is None:
        return None
    slots = tuple((name, gapped(normalise(value), gaps)) for name, value in made.slots)
    said = set(template.split())
    known = all(set(value.split()) <= said for _, value in slots)
    return (made.intent, slots) if known else None


def examples_of(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> Iterator[Example]:
    """One user's repairs, from turns in time order with their evidence."""
    for i, (turn, e) in enumerate(zip(turns, evidence, strict=True)):
        query = normalise(turn.request.query)
        if e.goal is None or not query:
            continue
        context, goal = turn.request.context, turns[e.goal]
        on = tuple(device for device, state in context.device_state.items() if state == "on")
        answered = tuple(distinct_intents(answered_before(turns, i, turn.request.timestamp_ms)))
        said = normalise(goal.request.query)
        place = context.room, context.city, context.state
        yield Example(query, *place, on if len(on) == 1 else (), answered, said, goal.interpretation)


def mine_completions(
    people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]], min_people: int = MIN_PEOPLE
) -> Completer:
    """Rules that at least `min_people` people's repairs agree on, with the share of repairs that each gets right."""
    examples: list[Example] = []
    who: Counter[Key] = Counter()
    readings: dict[Key, Counter[Foretold]] = defaultdict(Counter)
    for turns, evidence in people:
        own = list(examples_of(turns, evidence))
        examples += own
        found = [rule for example in own for rule in rules_of(example)]
        who.update({key for key, _ in found})
        for key, reading in found:
            readings[key][reading] += 1
    draft = drafted({key: n for key, n in who.items() if n >= min_people}, readings)
    tries = Tries(draft)
    tried: dict[Rule, Tried] = defaultdict(Tried)
    for example in examples:
        for rule, right, again in tries.of(example):
            tried[rule].add(right, again)
    return Completer(measured(draft, tried))


def drafted(people: Mapping[Key, int], readings: Mapping[Key, Mapping[Foretold, int]]) -> list[Rule]:
    """The rules that enough people agree on, in order of their keys, before it is known how often they are right; of
    each pattern those that most agree on. `readings`: how often each result was foretold for a rule; the most frequent
    is taken."""

    def usual(key: Key) -> Foretold:
        return max(readings[key].items(), key=lambda item: (item[1], item[0] is not None, item[0] or ()))[0]

    by_pattern: dict[tuple[str, bool, str], list[Key]] = defaultdict(list)
    for key in people:
        by_pattern[key[:3]].append(key)
    kept: list[Key] = []
    for keys in by_pattern.values():
        kept += sorted(keys, key=lambda key: (-people[key], key))[:MAX_TRIED_A_PATTERN]
    return [
        Rule(*key, reading=usual(key), support=people[key], precision=1.0, precision_again=1.0) for key in sorted(kept)
    ]


class Tries:
    """Tries rules on repairs, each by itself."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._completer = Completer(rules)

    def of(self, example: Example) -> Iterator[tuple[Rule, bool, bool]]:
        """The rules that fire on a repair, whether that was right, and whether it gave what was just answered."""
        context = example.request.context
        patterns = patterns_of(example.query, context)
        for answered in [*example.answered, None]:
            if fitting := self._completer.matching(patterns, answered.intent if answered else ""):
                values = gap_values(context, answered)
                for rule, rest in fitting:
                    made = fire(rule, example.query, rest, values)
                    if made is not None:
                        text, reading = made
                        right = text == example.goal or (reading is not None and reading == example.reading)
                        yield rule, right, bool(example.answered) and reading == example.answered[0]


def measured(draft: Sequence[Rule], tried: Mapping[Rule, Tried]) -> list[Rule]:
    """The rules with their precision on the repairs where they fire; those below the bound, and the crowd, dropped."""
    by_pattern: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in draft:
        seen = tried.get(rule, Tried())
        precision = _share(seen.right, seen.times, 1 / 3, 1.5)
        again = _share(seen.right_again, seen.times_again, precision, 1.0)
        if precision >= MIN_PRECISION:
            kept = replace(rule, precision=precision, precision_again=again)
            by_pattern[rule.pattern, rule.intent].append(kept)
    out = []
    for group in by_pattern.values():
        out += sorted(group, key=lambda r: (-r.precision * r.support, r.template))[:_MAX_RULES_A_PATTERN]
    return out


def _share(right: int, times: int, expected: float, weight: float) -> float:
    """The share that was right, drawn towards `expected`, which weighs as `weight` tries."""
    return (right + expected * weight) / (times + weight)


@dataclass(slots=True)
class Tried:
    """How often a rule fired, and how often that was right; the same of those firings whose result means what the last
    answered turn did."""

    times: int = 0
    right: int = 0
    times_again: int = 0
    right_again: int = 0

    def add(self, right: bool, again: bool) -> None:
        self.times += 1
        self.right += right
        self.times_again += again
        self.right_again += again and right
