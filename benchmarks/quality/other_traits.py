"""The same settings on logs that lack what HabitBench's has: an assistant that says when it does not understand, users
whose reactions are seen, a recogniser that says how sure it is and what else it may have heard.

Everything is learned and chosen anew on the changed log, and judged on the dev days, changed likewise, with the truth
as it is: what a rewrite would have done does not hang on what the assistant answered. Without triage.

Wrong answers are made: a turn without an answer gets that of the words known most like it, but none that whoever said
it first was ever given, and the same words always get the same; and a reaction drawn, by the turn's id, from those to
real wrong answers of the dev days. What the users did next stays as it was. A log is the same whichever are made.

usage: python -m benchmarks.quality.other_traits [NAME ...]   (HABITBENCH: its folder; some three minutes each)
    NAME: of logs; default: all.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from rapidfuzz import fuzz, process

from benchmarks.quality.tables import keep, percent, show, span
from benchmarks.quality.truth import Truth, decide, figures, folder, intervals
from mining.reader import read_log
from mining.schema import to_record
from retriever.interaction import Feedback, Interaction, Interpretation, Outcome, Request
from rewrite_service.build import BuildSettings, build
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.progress import Progress

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


def _unseen(turns: Turns) -> list[Interaction]:
    return [replace(turn, feedback=Feedback()) for turn in turns]


def _as_heard_alone(request: Request) -> Request:
    return replace(request, asr_confidence=None, alternatives=())


def _heard_alone(turns: Turns) -> list[Interaction]:
    return [replace(turn, request=_as_heard_alone(turn.request)) for turn in turns]


def _ways(wrong: WrongAnswers) -> dict[str, Callable[[Turns], Iterable[Interaction]]]:
    return {
        "as it is": lambda turns: turns,
        "half of what is not understood is answered wrongly": lambda turns: wrong.answered(turns, 0.5),
        "all of it is": lambda turns: wrong.answered(turns, 1.0),
        "no reactions are seen": _unseen,
        "no confidence, no further hypotheses": _heard_alone,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    truth = Truth()
    log = read_log([folder() / "log.jsonl.gz"]).turns
    history, requests = truth.history, truth.requests
    ways = _ways(WrongAnswers(log, reactions_to_wrong_answers(truth)))
    names = parser.parse_args().names or list(ways)
    if unknown := set(names) - set(ways):
        parser.error(f"{', '.join(sorted(unknown))}: no such log; there are: {'; '.join(ways)}")
    rows, kept = [], {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="query-rewrite-traits-") as place:
            changed = Path(place) / "log.jsonl"
            lines = (orjson.dumps(to_record(turn), option=orjson.OPT_APPEND_NEWLINE) for turn in ways[name](log))
            changed.write_bytes(b"".join(lines))
            bundle_at = Path(place) / "bundle"
            told = build([changed], bundle_at, BuildSettings(), Progress()).learned.report
            bundle = open_bundle(bundle_at, encoder_of(bundle_at), 1 << 30)
            truth.history = list(ways[name](history))
            truth.requests = list(map(_as_heard_alone, requests)) if ways[name] is _heard_alone else requests
            asked = truth.ask(bundle)
            outcomes = decide(asked, bundle.model, bundle.policy)
        found, spans = figures(outcomes), intervals(outcomes)
        reachable = sum(a.failed and bool(a.right[1:].any()) for a in asked) / found.failed
        rows.append(
            (
                name,
                percent(reachable),
                f"{percent(found.reduction)} ({span(spans['reduction'], as_percent=True)})",
                f"{found.ratio:.1f} ({span(spans['ratio'])})",
                percent(found.needless / found.requests),
                f"{percent(told['reduction'])} at {told['wins_per_harm']:.1f}",
            )
        )
        kept[name] = {
            "with_right_candidate": round(reachable, 4),
            "reduction": round(found.reduction, 4),
            "wins_per_harm": round(found.ratio, 2),
            "wins": found.wins,
            "losses": found.losses,
            "missed": found.missed,
            "needless": found.needless,
            "threshold": round(bundle.policy.threshold, 4),
            "intervals": spans,
            "on_the_log": {key: told[key] for key in ("reduction", "wins_per_harm")},
        }
        print(rows[-1], flush=True)
    columns = ("log", "right candidate", "reduction", "wins : harms", "needless", "by the log itself")
    show(f"other logs, {len(requests):,} dev requests with their truth", columns, rows)
    keep("other-traits", {"logs": kept})


if __name__ == "__main__":
    main()
