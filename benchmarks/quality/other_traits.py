"""The same settings on logs that lack what HabitBench's has: an assistant that says when it does not understand, users
whose reactions are seen, a recogniser that says how sure it is and what else it may have heard, people by the hundred.

Everything is learned and chosen anew on the changed log, and judged on the dev days, changed likewise, with the truth
as it is: what a rewrite would have done does not hang on what the assistant answered. Without triage.

Wrong answers are made: a turn without an answer gets that of the words known most like it, but none that whoever said
it first was ever given, and the same words always get the same; and a reaction drawn, by the turn's id, from those to
real wrong answers of the dev days. What the users did next stays as it was. A log is the same whichever are made.

Logs of fewer people: all are dealt out, by their ids, into four parts or ten; each part's log is learned from alone and
asked for its own people, and the parts' dev requests are counted together.

usage: python -m benchmarks.quality.other_traits [NAME ...]   (HABITBENCH: its folder; some three minutes each)
    NAME: of logs; default: all.
"""

from __future__ import annotations

import argparse
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rapidfuzz import fuzz, process

from benchmarks.quality.tables import keep, percent, show, span
from benchmarks.quality.truth import Outcome as Result
from benchmarks.quality.truth import Truth, decide, figures, folder, intervals, learned, reachable
from mining.reader import read_log
from retriever.interaction import Feedback, Interaction, Interpretation, Outcome, Request

Turns = Sequence[Interaction]
_NEAREST = 25
"""Known texts from which a wrong answer is taken."""


class WrongAnswers:
    """Answers for turns that got none."""

    def __init__(self, log: Turns, reactions: Sequence[Feedback]) -> None:
        self._reading: dict[str, Interpretation] = {}
        self._own: dict[str, set[Interpretation]] = {}
        self._made: dict[str, Interpretation] = {}
        self._reactions = reactions
        for turn in log:
            if turn.interpretation is not None:
                self._reading.setdefault(turn.request.query, turn.interpretation)
                self._own.setdefault(turn.request.user_id, set()).add(turn.interpretation)
        self._texts = list(self._reading)

    def answered(self, turns: Turns, share: float) -> list[Interaction]:
        """The turns, of those without an answer `share` (0 to 1) answered wrongly, by their words."""
        return [self._answered(turn, share) for turn in turns]

    def _answered(self, turn: Interaction, share: float) -> Interaction:
        text = turn.request.query
        if turn.interpretation is not None or random.Random(text).random() >= share:
            return turn
        reaction = random.Random(turn.request.interaction_id).choice(self._reactions)
        return replace(turn, interpretation=self._wrong(turn.request), outcome=Outcome.OK, feedback=reaction)

    def _wrong(self, request: Request) -> Interpretation:
        made = self._made.get(request.query)
        if made is None:
            near = process.extract(request.query, self._texts, scorer=fuzz.ratio, limit=_NEAREST)
            readings = [self._reading[text] for text, _, _ in near]
            own = self._own.get(request.user_id, set())
            made = next((reading for reading in readings if reading not in own), readings[-1])
            self._made[request.query] = made
        return made


def reactions_to_wrong_answers(truth: Truth) -> list[Feedback]:
    """What users of the dev days did after an answer that was wrong."""
    asked = {r.interaction_id: r for r in truth.requests}
    answered = [t for t in truth.history if t.interpretation is not None and t.request.interaction_id in asked]
    return [t.feedback for t in answered if not truth.right(asked[t.request.interaction_id], t.request.query)]


def _as_it_is(turns: Turns) -> Turns:
    return turns


def _unseen(turns: Turns) -> list[Interaction]:
    return [replace(turn, feedback=Feedback()) for turn in turns]


def _as_heard_alone(request: Request) -> Request:
    return replace(request, asr_confidence=None, alternatives=())


def _heard_alone(turns: Turns) -> list[Interaction]:
    return [replace(turn, request=_as_heard_alone(turn.request)) for turn in turns]


def _ways(wrong: WrongAnswers) -> dict[str, Callable[[Turns], Iterable[Interaction]]]:
    return {
        "as it is": _as_it_is,
        "half of what is not understood is answered wrongly": lambda turns: wrong.answered(turns, 0.5),
        "all of it is": lambda turns: wrong.answered(turns, 1.0),
        "no reactions are seen": _unseen,
        "no confidence, no further hypotheses": _heard_alone,
    }


FEWER = {"a quarter of the people, each alone": 4, "a tenth of the people, each alone": 10}


def _part(user: str, parts: int) -> int:
    return zlib.crc32(user.encode()) % parts


@dataclass(frozen=True, slots=True)
class Made:
    """What the bundle of one log did for the dev requests of its people. `reachable`: of those that failed, how many
    had a right candidate. `told`: what is expected of it on the log itself."""

    outcomes: list[Result]
    reachable: int
    told: dict[str, Any]
    threshold: float


def make(truth: Truth, log: Turns, users: frozenset[str]) -> Made:
    """Learns from `log` and answers the dev requests of `users`."""
    with learned(log) as (bundle, told):
        asked = truth.ask(bundle, users=users)
        return Made(decide(asked, bundle.model, bundle.policy), reachable(asked), told, bundle.policy.threshold)


def make_parts(truth: Truth, log: Turns, parts: int) -> Iterator[Made]:
    """The people dealt out into `parts`, each of them made of its own log."""
    everybody = {r.user_id for r in truth.requests} | {t.request.user_id for t in log}
    for number in range(parts):
        users = frozenset(user for user in everybody if _part(user, parts) == number)
        yield make(truth, [t for t in log if t.request.user_id in users], users)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    truth = Truth()
    log = read_log([folder() / "log.jsonl.gz"]).turns
    history, requests = truth.history, truth.requests
    ways = _ways(WrongAnswers(log, reactions_to_wrong_answers(truth)))
    names = parser.parse_args().names or [*ways, *FEWER]
    if unknown := set(names) - set(ways) - set(FEWER):
        parser.error(f"{', '.join(sorted(unknown))}: no such log; there are: {'; '.join([*ways, *FEWER])}")
    rows, kept = [], {}
    for name in names:
        way = ways.get(name, _as_it_is)
        truth.history = list(way(history))
        truth.requests = list(map(_as_heard_alone, requests)) if way is _heard_alone else requests
        made = list(make_parts(truth, list(way(log)), FEWER.get(name, 1)))
        outcomes = [outcome for part in made for outcome in part.outcomes]
        found, spans = figures(outcomes), intervals(outcomes)
        right = sum(part.reachable for part in made) / found.failed
        told = {key: sum(part.told[key] for part in made) for key in ("failed", "wins", "losses", "missed")}
        expected = {
            "reduction": round((told["wins"] - told["losses"]) / told["failed"], 4),
            "wins_per_harm": round(told["wins"] / max(1.0, told["losses"] + told["missed"]), 3),
        }
        rows.append(
            (
                name,
                percent(right),
                f"{percent(found.reduction)} ({span(spans['reduction'], as_percent=True)})",
                f"{found.ratio:.1f} ({span(spans['ratio'])})",
                percent(found.needless / found.requests),
                f"{percent(expected['reduction'])} at {expected['wins_per_harm']:.1f}",
            )
        )
        kept[name] = {
            "with_right_candidate": round(right, 4),
            **found.record(),
            "thresholds": [round(part.threshold, 4) for part in made],
            "intervals": spans,
            "on_the_log": expected,
        }
        print(rows[-1], flush=True)
    columns = ("log", "right candidate", "reduction", "wins : harms", "needless", "by the log itself")
    show(f"other logs, {len(requests):,} dev requests with their truth", columns, rows)
    keep("other-traits", {"logs": kept})


if __name__ == "__main__":
    main()
