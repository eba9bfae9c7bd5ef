"""Whether a log can be built from, and what is odd about it: looked at line by line, in bounded memory.

Pure: it is given records, and says what it found in figures, names of fields and rules. Nothing that anybody said or is
called is kept or told, but for the last turn of the users met of late, to see whether people repair what failed.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mining.counting import Distinct, Frequent
from mining.rephrases import AFFINITY_AFTER_FAILURE, REPHRASE_WINDOW_MS, affinity
from mining.schema import SchemaError, parse_as_heard
from retriever.interaction import Channel, Interaction, Outcome
from retriever.normalise import normalise

EXAMPLES = 3
"""Lines named of each kind of fault."""
_USERS_AT_HAND, _TEXT_AT_HAND = 50_000, 200
_YEAR_2000_MS = 946_684_800_000
_DAY_MS = 86_400_000
_ENOUGH = 100
"""Turns from which on shares mean something."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with some lines. `examples`: file and line (row of a Parquet file) of the first."""

    field: str
    rule: str
    count: int
    examples: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd. `name`: for programs. `warning`: it will harm what is learned; else it is worth knowing."""

    name: str
    message: str
    warning: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What a log is like. `users`, `duplicates`: estimates where not `exact`. Times: milliseconds since 1970 UTC, None
    without turns. `filled`: share of the turns that say anything in a field, 0 to 1."""

    lines: int
    turns: int
    malformed: int
    users: int
    duplicates: int
    exact: bool
    first_ms: int | None
    last_ms: int | None
    filled: dict[str, float]
    faults: tuple[Fault, ...]
    findings: tuple[Finding, ...]


class LogCheck:
    """`add` each record, then `report`."""

    def __init__(self, now_ms: int) -> None:
        """`now_ms`: the time of day; turns after it are odd."""
        self._now_ms = now_ms
        self._lines = self._turns = 0
        self._faults: dict[tuple[str, str], tuple[int, list[tuple[str, int]]]] = {}
        self._ids, self._users, self._frequent = Distinct(), Distinct(), Frequent()
        self._filled: Counter[str] = Counter()
        self._outcomes: Counter[Outcome] = Counter()
        self._first_ms: int | None = None
        self._last_ms: int | None = None
        self._before_ms = 0
        self._backwards = self._early = self._future = self._voiced = self._again = 0
        self._latest: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def add(self, file: str, number: int, record: Any) -> bool:
        """A record, or the error met in its place; whether it is well formed."""
        self._lines += 1
        try:
            if isinstance(record, Exception):
                raise SchemaError("(line)", "is no JSON, or too long")
            self._take(parse_as_heard(record))
        except SchemaError as error:
            count, examples = self._faults.get((error.field, error.rule), (0, []))
            if len(examples) < EXAMPLES:
                examples.append((file, number))
            self._faults[error.field, error.rule] = count + 1, examples
            return False
        return True

    def report(self, max_malformed: float = 0.05) -> Report:
        malformed = self._lines - self._turns
        faults = [Fault(f, rule, n, tuple(where)) for (f, rule), (n, where) in self._faults.items()]
        return Report(
            lines=self._lines,
            turns=self._turns,
            malformed=malformed,
            users=self._users.different,
            duplicates=self._ids.again,
            exact=self._ids.is_exact and self._users.is_exact,
            first_ms=self._first_ms,
            last_ms=self._last_ms,
            filled={name: self._filled[name] / self._turns for name in sorted(_PARTS)} if self._turns else {},
            faults=tuple(sorted(faults, key=lambda fault: -fault.count)),
            findings=tuple(self._findings(malformed, max_malformed)),
        )

    def _take(self, turn: Interaction) -> None:
        request = turn.request
        stamp = request.timestamp_ms
        self._turns += 1
        self._ids.add(f"{request.user_id}\x00{request.interaction_id}")
        self._users.add(request.user_id)
        self._frequent.add(request.user_id)
        self._outcomes[turn.outcome] += 1
        for name, says in _PARTS.items():
            self._filled[name] += bool(says(turn))
        self._voiced += request.channel is Channel.VOICE
        self._first_ms = stamp if self._first_ms is None else min(stamp, self._first_ms)
        self._last_ms = stamp if self._last_ms is None else max(stamp, self._last_ms)
        self._backwards += stamp < self._before_ms
        self._before_ms = stamp
        self._early += stamp < _YEAR_2000_MS
        self._future += stamp > self._now_ms + _DAY_MS
        self._follow(request.user_id, stamp, normalise(request.query)[:_TEXT_AT_HAND])

    def _follow(self, user: str, stamp: int, text: str) -> None:
        """Counts turns that say soon after, and much alike, what the same user said before."""
        before = self._latest.pop(user, None)
        self._latest[user] = stamp, text
        if len(self._latest) > _USERS_AT_HAND:
            self._latest.popitem(last=False)
        if before is not None and 0 <= stamp - before[0] <= REPHRASE_WINDOW_MS and text != before[1]:
            self._again += affinity(before[1], text) >= AFFINITY_AFTER_FAILURE

    def _findings(self, malformed: int, max_malformed: float) -> list[Finding]:
        found: list[Finding] = []

        def say(when: bool, name: str, message: str, warning: bool = True) -> None:
            if when:
                found.append(Finding(name, message, warning))

        turns, lines = self._turns, self._lines
        say(not lines, "empty", "there is no line in it")
        share = malformed / lines if lines else 0.0
        say(
            share > max_malformed, "malformed",
            f"{share:.1%} of the lines are malformed; build stops above {max_malformed:.0%} (--max-malformed)",
        )  # fmt: skip
        outside = sum(n for (field, _), (n, _) in self._faults.items() if field == "timestamp_ms")
        say(
            outside > lines / 10, "not_milliseconds",
            f"{outside} times cannot be read as milliseconds since 1970: are they microseconds, or texts?",
        )  # fmt: skip
        if not turns:
            return found
        say(
            self._early > turns / 10, "seconds",
            f"{self._early} turns are from before the year 2000: seconds in place of milliseconds? Multiply by 1000",
        )  # fmt: skip
        say(self._future > 0, "future", f"{self._future} turns are more than a day in the future: is a clock wrong?")
        again = self._ids.again
        say(
            again > turns / 100, "duplicates",
            f"{again} turns have the user_id and interaction_id of another; the last one of each counts",
        )  # fmt: skip
        say(
            self._backwards > 0, "unsorted",
            f"{self._backwards} lines are earlier than the line before; build sorts them, repairs are counted too low",
            False,
        )  # fmt: skip
        if turns < _ENOUGH:
            say(True, "small", f"{turns} turns are too few to learn from, or to say more about")
            return found
        highest = self._frequent.highest
        say(
            highest >= turns / 2, "one_user",
            f"one user has {highest / turns:.0%} of the turns: a test account, or an id that is not the user's?",
        )  # fmt: skip
        say(
            self._users.different < 2, "no_others",
            "all turns are one user's: nothing is offered to others that fewer than two people said",
        )  # fmt: skip
        say(
            not self._filled["feedback"], "no_feedback",
            "no turn says how the user reacted (barge_in, explicit, dwell_s): failures are harder to tell",
        )  # fmt: skip
        say(
            not self._again and self._backwards < turns / 10, "no_repairs",
            "nobody says anything again soon after: there are no repairs to learn from",
        )  # fmt: skip
        say(
            not self._filled["interpretation"], "no_interpretation",
            "no turn says what the assistant made of it: without interpretations next to nothing can be learned",
        )  # fmt: skip
        only = next(iter(self._outcomes)) if len(self._outcomes) == 1 else None
        say(only is not None, "one_outcome", f"every turn has the outcome '{only}': is it the assistant's own?")
        say(
            self._voiced > 0 and not self._filled["asr_confidence"], "no_confidence",
            "no spoken turn has asr_confidence: what was heard badly cannot be told", False,
        )  # fmt: skip
        say(
            self._filled["query"] < turns / 2, "empty_queries",
            "most queries are empty, or have neither letter nor digit: is it the right field?",
        )  # fmt: skip
        assert self._first_ms is not None and self._last_ms is not None
        days = (self._last_ms - self._first_ms) / _DAY_MS
        say(
            days < 3, "short",
            f"it covers {days:.1f} days; build holds back the last part to judge by, and needs some days before it",
        )  # fmt: skip
        return found


_PARTS: dict[str, Callable[[Interaction], object]] = {
    "query": lambda turn: normalise(turn.request.query),
    "alternatives": lambda turn: turn.request.alternatives,
    "asr_confidence": lambda turn: turn.request.asr_confidence is not None,
    "context.device_id": lambda turn: turn.request.context.device_id,
    "context.room": lambda turn: turn.request.context.room,
    "context.has_screen": lambda turn: turn.request.context.has_screen,
    "context.device_state": lambda turn: turn.request.context.device_state,
    "context.location": lambda turn: turn.request.context.city or turn.request.context.state,
    "interpretation": lambda turn: turn.interpretation is not None,
    "feedback": lambda turn: (
        turn.feedback.barge_in or turn.feedback.explicit is not None or turn.feedback.dwell_s is not None
    ),
}
"""Whether a turn says anything there."""
