"""Follow-ups made whole: "turn it off", after the den light, as "turn off the den light".

An assistant that understands only full requests fails on what people leave out because the situation says it. Rules for
filling it in are mined from repairs (`mining.completions`): what is said, what the last answered turn was about, and
how people then said it in full. A rule is general: its gaps are filled from the slots of the last answered turn, from
the rest of the query, or from the situation. What is said may have gaps too: whoever asks for the weather in the town
where they are means that one, and not its greater namesake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from retriever.interaction import Context, Interpretation, Request
from retriever.normalise import normalise

REST = "rest"
"""The gap filled with what follows the pattern in the query."""
SAID_GAPS = ("room", "city", "state")
"""Gaps of the situation that a pattern may have: the query names the place where it is asked."""
MAX_PATTERN_WORDS = 6
MAX_COMPLETIONS = 6


@dataclass(frozen=True, slots=True)
class Completion:
    """A query made whole. `support`: people behind the rule; `precision`: share of its firings, in the log, that gave
    what the user then asked for, 0 to 1; `rest`: the part of the query that filled a gap, "" where none did;
    `steps_back`: how many answered turns lie between the one that filled a gap and the request; `heard_rank`: 0 where
    made of the query, n where of the recogniser's nth other hypothesis."""

    text: str
    reading: Interpretation | None
    support: int
    precision: float
    rest: str = ""
    steps_back: int = 0
    heard_rank: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern`: the query's words, with gaps ("{city}") where it names its own place, or its first words when a gap
    takes the rest (`open_ended`). `intent`: of the last answered turn, "" where the rule needs none. `template`: words
    and gaps ("{slot:device}", "{room}", "{rest}"). `reading`: intent and slots of the result, values being templates
    likewise; None where not all are known. `precision`: share of its firings that were right; `precision_again`: the
    same of those whose result means what the last answered turn did, since few want at once what they just got."""

    pattern: str
    open_ended: bool
    intent: str
    template: str
    reading: tuple[str, tuple[tuple[str, str], ...]] | None
    support: int
    precision: float
    precision_again: float

    def to_record(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def from_record(cls, r: list[Any]) -> Rule:
        reading = None if r[4] is None else (r[4][0], tuple((k, v) for k, v in r[4][1]))
        return cls(r[0], r[1], r[2], r[3], reading, r[5], r[6], r[7])


def distinct_intents(answered: Sequence[Interpretation]) -> list[Interpretation]:
    """The latest reading of each intent, latest first, at most three."""
    latest: dict[str, Interpretation] = {}
    for reading in answered:
        latest.setdefault(reading.intent, reading)
    return list(latest.values())[:3]


def gap_values(context: Context, answered: Interpretation | None) -> dict[str, str]:
    """What the situation offers to fill gaps with: gap name to value in normal form."""
    values = {f"slot:{name}": normalise(value) for name, value in (answered.slots if answered else ())}
    values |= {"room": normalise(context.room), "city": normalise(context.city), "state": normalise(context.state)}
    on = [normalise(device) for device, state in context.device_state.items() if state == "on"]
    if len(on) == 1:
        values["device_on"] = on[0]
    return {name: value for name, value in values.items() if value}


def gapped(text: str, values: Mapping[str, str]) -> str:
    """`text` with every value in it replaced by its gap, longest values first, each whole words."""
    padded = f" {text} "
    for name, value in sorted(values.items(), key=lambda kv: (-len(kv[1]), kv[0])):
        padded = padded.replace(f" {value} ", f" {{{name}}} ")
    return padded.strip()


def patterns_of(query: str, context: Context) -> list[tuple[str, bool, str]]:
    """The patterns that `query` (normal form) fits: each with whether it is open-ended, and the rest that it leaves;
    whole ones first, then those of most words."""
    words = query.split()
    out = [(query, False, "")]
    values = gap_values(context, None)
    placed = gapped(query, {name: values[name] for name in SAID_GAPS if name in values})
    if placed != query:
        out.append((placed, False, ""))
    longest = min(len(words) - 1, MAX_PATTERN_WORDS)
    return out + [(" ".join(words[:n]), True, " ".join(words[n:])) for n in range(longest, 0, -1)]


def fill(template: str, values: Mapping[str, str]) -> str | None:
    """The template with its gaps filled; None where a value is missing."""
    words = []
    for word in template.split():
        if word.startswith("{"):
            value = values.get(word[1:-1])
            if value is None:
                return None
            words.append(value)
        else:
            words.append(word)
    return " ".join(words)


def _says(rest: str, template: str, values: Mapping[str, str]) -> bool:
    """Whether the rest of the query already says what a gap of the template would be filled with: then nothing was
    left out."""
    gaps = (word[1:-1] for word in template.split() if word.startswith("{"))
    return any(f" {values[gap]} " in f" {rest} " for gap in gaps if gap in values)


def fire(rule: Rule, query: str, rest: str, values: Mapping[str, str]) -> tuple[str, Interpretation | None] | None:
    """What the rule makes of a query that fits its pattern: a text, and its reading where that is known; None where a
    gap cannot be filled, or nothing was left out. `rest`: of the query, "" for a rule that takes none. `values`: see
    `gap_values`."""
    if _says(rest, rule.template, values):
        return None
    values = {**values, REST: rest}
    text = fill(rule.template, values)
    if not text or text == query:
        return None
    if rule.reading is None:
        return text, None
    slots = tuple((name, fill(value, values)) for name, value in rule.reading[1])
    known = all(value is not None for _, value in slots)
    return text, Interpretation(rule.reading[0], slots) if known else None  # type: ignore[arg-type]


class Completer:
    """The rules of a bundle, found by the query's words."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = sorted(rules, key=lambda r: (-r.support, r.pattern, r.template))
        self._of: dict[tuple[str, bool, str], list[Rule]] = {}
        for rule in self.rules:
            self._of.setdefault((rule.pattern, rule.open_ended, rule.intent), []).append(rule)

    def complete(self, query: str, request: Request, answered: Sequence[Interpretation]) -> list[Completion]:
        """At most six completions of `query` (normal form), best first. `answered`: the readings of the session's
        answered turns, the latest first; something else may lie between a request and what it goes on from."""
        out: dict[str, Completion] = {}
        patterns = patterns_of(query, request.context)
        for steps_back, reading in enumerate([*distinct_intents(answered), None]):
            values = gap_values(request.context, reading)
            for rule, rest in self.matching(patterns, reading.intent if reading else ""):
                fired = fire(rule, query, rest, values)
                if fired is not None and fired[0] not in out:
                    filled, made = fired
                    again = bool(answered) and made == answered[0]
                    precision = rule.precision_again if again else rule.precision
                    out[filled] = Completion(filled, made, rule.support, precision, rest, steps_back)
        return sorted(out.values(), key=lambda c: -c.support * c.precision / (1 + c.steps_back))[:MAX_COMPLETIONS]

    def matching(self, patterns: Iterable[tuple[str, bool, str]], intent: str) -> list[tuple[Rule, str]]:
        """The rules of these patterns that fire after a turn of `intent`, each with the rest that it takes."""
        return [(rule, rest) for pattern, more, rest in patterns for rule in self._of.get((pattern, more, intent), ())]
