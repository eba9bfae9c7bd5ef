"""Mines the rules that make follow-ups whole (`retriever.completion`) from repairs.

A failed query, the last answered turn before it, and the turn that reached the goal: what of the goal's words stands in
the answered turn's slots, in the situation, or in the query's own tail becomes a gap; the words left must be the same
for several people. "switch it off" after Device(den light), repaired by "turn off the den light", gives
"switch it off" + Device -> "turn off the {slot:device}".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from mining.defects import TurnEvidence
from mining.sessions import SESSION_GAP_MS
from retriever.completion import REST, Completer, Rule, distinct_intents, gap_values
from retriever.interaction import Interaction, Interpretation
from retriever.normalise import normalise

MIN_PEOPLE = 2
MIN_PRECISION = 0.2
_MAX_RULES_A_PATTERN = 4


@dataclass(frozen=True, slots=True)
class Example:
    """One repair with its situation."""

    person: str
    query: str
    failed: Interaction
    answered: tuple[Interpretation, ...]
    goal: Interaction


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


def _gapped(text: str, values: dict[str, str]) -> str:
    """`text` with every value in it replaced by its gap, longest values first, each whole words."""
    padded = f" {text} "
    for name, value in sorted(values.items(), key=lambda kv: (-len(kv[1]), kv[0])):
        padded = padded.replace(f" {value} ", f" {{{name}}} ")
    return padded.strip()


def _tail(query: str, goal: str, values: Collection[str]) -> tuple[str, str] | None:
    """(first words, last words) of the query, the last words being one of the goal's slot `values`; where there is no
    such, as many as stand in the goal together."""
    words = query.split()
    tails = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    said = [tail for tail in tails if f" {tail[1]} " in f" {goal} "]
    return next((tail for tail in said if tail[1] in values), said[0] if said else None)


def _rules_of(example: Example) -> Iterable[tuple[str, bool, str, str, tuple[str, tuple[tuple[str, str], ...]] | None]]:
    """(pattern, open-ended, intent, template, reading) of each way to read one repair as a rule."""
    goal = normalise(example.goal.request.query)
    made = example.goal.interpretation
    tail = _tail(example.query, goal, {normalise(v) for _, v in made.slots} if made else ())
    for answered in [*distinct_intents(example.answered), None]:
        values = gap_values(example.failed.request.context, answered)
        variants = [(example.query, False, values)]
        if tail:
            variants.append((tail[0], True, values | {REST: tail[1]}))
        for pattern, open_ended, gaps in variants:
            template = _gapped(goal, gaps)
            if "{" not in template or (open_ended and f"{{{REST}}}" not in template):
                continue
            needs_answer = "{slot:" in template
            if needs_answer != (answered is not None):
                continue  # read without the answered turn, or with another one
            yield pattern, open_ended, answered.intent if answered else "", template, _foretold(example, template, gaps)


def _foretold(example: Example, template: str, gaps: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Intent and slot templates of what the rule's result means. None where a value is not in the words: it was the
    assistant's to find, and cannot be foretold."""
    made = example.goal.interpretation
    if made is None:
        return None
    slots = tuple((name, _gapped(normalise(value), gaps)) for name, value in made.slots)
    said = set(template.split())
    known = all(set(value.split()) <= said for _, value in slots)
    return (made.intent, slots) if known else None


def _examples(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> Iterable[Example]:
    for turns, evidence in people:
        for i, (turn, e) in enumerate(zip(turns, evidence, strict=True)):
            query = normalise(turn.request.query)
            if e.goal is None or not query:
                continue
            answered = answered_before(turns, i, turn.request.timestamp_ms)
            yield Example(turn.request.user_id, query, turn, answered, turns[e.goal])


def mine_completions(
    people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]], min_people: int = MIN_PEOPLE
) -> Completer:
    """Rules that at least `min_people` people's repairs agree on, with the share of repairs that each gets right."""
    examples = list(_examples(people))
    who: dict[tuple, set[str]] = defaultdict(set)
    readings: dict[tuple, Counter] = defaultdict(Counter)
    for example in examples:
        for pattern, open_ended, intent, template, reading in _rules_of(example):
            key = (pattern, open_ended, intent, template)
            who[key].add(example.person)
            readings[key][reading] += 1
    kept = {key: people for key, people in who.items() if len(people) >= min_people}
    draft = [
        Rule(
            *key, reading=readings[key].most_common(1)[0][0], support=len(people), precision=1.0, precision_again=1.0
        )
        for key, people in kept.items()
    ]
    return Completer(_measured(draft, examples))


def _measured(rules: list[Rule], examples: list[Example]) -> list[Rule]:
    """The rules with their precision on the repairs where they fire; those below the bound, and the crowd, dropped."""
    tried: dict[Rule, _Tried] = defaultdict(_Tried)
    again: dict[Rule, _Tried] = defaultdict(_Tried)
    by_pattern: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in rules:
        by_pattern[rule.pattern, rule.intent].append(rule)
    for rule_group in by_pattern.values():
        single = [(rule, Completer([rule])) for rule in rule_group]
        for example in examples:
            if not f"{example.query} ".startswith(f"{rule_group[0].pattern} "):
                continue
            goal = normalise(example.goal.request.query)
            for rule, completer in single:
                for made in completer.complete(example.query, example.failed.request, example.answered):
                    right = made.text == goal or (
                        made.reading is not None and made.reading == example.goal.interpretation
                    )
                    tried[rule].add(right)
                    if example.answered and made.reading == example.answered[0]:
                        again[rule].add(right)
    out = []
    for group in by_pattern.values():
        measured = []
        for rule in group:
            precision = tried[rule].share(1 / 3, 1.5)
            kept = replace(rule, precision=precision, precision_again=again[rule].share(precision, 1.0))
            if precision >= MIN_PRECISION:
                measured.append(kept)
        out += sorted(measured, key=lambda r: (-r.precision * r.support, r.template))[:_MAX_RULES_A_PATTERN]
    return out


@dataclass(slots=True)
class _Tried:
    """How often something was tried, and how often that was right."""

    times: int = 0
    right: int = 0

    def add(self, right: bool) -> None:
        self.times += 1
        self.right += right

    def share(self, expected: float, weight: float) -> float:
        """The share that was right, drawn towards `expected`, which weighs as `weight` tries."""
        return (self.right + expected * weight) / (self.times + weight)
