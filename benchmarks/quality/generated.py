"""Quality on logs that the package generates itself, with their truth: for whoever has no HabitBench. The generated
people, their mishearings and their assistant are simpler than real ones, so that figures are higher than elsewhere.

Learns from the first 22 days of a month and judges on the rest, for logs of few people and of many, each with a seed of
its own. Without triage. A second table says what scores mean: of the rewrites with such a score, before and after
calibration, how many help, of those that help or harm; and the line in log odds that fits these scores best, from which
calibrations begin (`rewrite_service.held_out_days.MEANING_ELSEWHERE`).

usage: python -m benchmarks.quality.generated      (six minutes)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize

from benchmarks.quality.tables import keep, percent, show, span
from benchmarks.quality.truth import Asked, Outcome, assembled, decide, figures, intervals, learned, reachable
from ranker.calibration import Prior
from ranker.features import features
from ranker.policy import best_of
from retriever.interaction import Request
from rewrite_service.bundle import Bundle
from rewrite_service.sample.assistant import interpret
from rewrite_service.sample.conversation import DAY_MS, Turn
from rewrite_service.sample.generate import START_MS, turns
from rewrite_service.sample.people import inhabitants

LOGS = {200: (101,), 40: (102, 103, 104), 20: (105, 106, 107, 108)}
"""People, and the seeds of the logs of so many."""
_LEARNED_DAYS, _DAYS = 22, 30
_EDGES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
Scored = tuple[float, float, bool]
"""Of a rewrite that helps or harms: its score, its calibrated probability, and whether it helps."""


def ask(bundle: Bundle, people: int, seed: int, later: Sequence[Turn]) -> list[Asked]:
    """The first attempts of the later days, each after what came before it."""
    households = {person.id: person.household for person in inhabitants(people, seed)}
    wanted = {t.interaction.request.interaction_id: t.wish for t in later if t.attempt == 0}

    def right(request: Request, text: str) -> bool:
        here = request.context
        made = interpret(text, households[request.user_id], here.room, here.has_screen)
        return made == wanted[request.interaction_id].meaning

    requests = [t.interaction.request for t in later if t.attempt == 0]
    out = []
    for request, made in assembled(bundle, requests, [t.interaction for t in later]):
        rights = np.array([right(request, c.text) for c in made.candidates])
        out.append(Asked(request, wanted[request.interaction_id].meaning.intent, made, features(made), rights))
    return out


def scored(asked: Sequence[Asked], bundle: Bundle) -> list[Scored]:
    """The best candidates of those requests for which rewriting makes a difference."""
    out = []
    for a in asked:
        best = best_of(a.input.candidates, bundle.model.predict(a.x))
        if best is not None and best.win >= _EDGES[0] and (a.failed or not a.right[best.index]):
            probability = float(bundle.policy.calibration.apply(best.score))
            out.append((best.score, probability, bool(a.right[best.index])))
    return out


def judge(people: int, seed: int) -> tuple[list[Outcome], int, list[Scored]]:
    """Outcomes of the later days' first attempts, how many of the failed ones had a right candidate, and scores."""
    told = turns(people, _DAYS, seed)
    cut = START_MS + _LEARNED_DAYS * DAY_MS
    earlier = [t.interaction for t in told if t.interaction.request.timestamp_ms < cut]
    later = [t for t in told if t.interaction.request.timestamp_ms >= cut]
    with learned(earlier) as (bundle, _):
        asked = ask(bundle, people, seed, later)
        return decide(asked, bundle.model, bundle.policy), reachable(asked), scored(asked, bundle)


def main() -> None:
    rows, kept = [], {}
    scores: list[Scored] = []
    for people, seeds in LOGS.items():
        made = [judge(people, seed) for seed in seeds]
        numbered = [(n, outcome) for n, (of, _, _) in enumerate(made) for outcome in of]
        outcomes = [(f"{n}/{user}", failed, result) for n, (user, failed, result) in numbered]
        scores += [s for _, _, of in made for s in of]
        found, spans = figures(outcomes), intervals(outcomes)
        right = sum(n for _, n, _ in made) / found.failed
        rows.append(
            (
                f"{len(seeds)} of {people} people",
                f"{found.failed} of {found.requests:,}",
                percent(right),
                f"{percent(found.reduction)} ({span(spans['reduction'], as_percent=True)})",
                f"{found.ratio:.1f} ({span(spans['ratio'])})",
                percent(found.needless / found.requests),
            )
        )
        kept[f"{len(seeds)} of {people} people"] = {
            "with_right_candidate": round(right, 4),
            **found.record(),
            "intervals": spans,
        }
    columns = ("logs", "failed", "right candidate", "reduction", "wins : harms", "needless")
    show("generated logs, their last eight days", columns, rows)
    means = [meaning(scores, low, high) for low, high in pairwise(_EDGES)]
    of = "{} of {}".format
    table = [(f"{m['from']} to {m['to']}", of(*m["score"]), of(*m["calibrated"])) for m in means]
    show("rewrites that help, of those that help or harm", ("between", "by score", "by probability"), table)
    offset, slope = line(scores)
    print(f"log odds of helping = {offset:.2f} + {slope:.2f} x log odds of the score")
    keep("generated", {"logs": kept, "helpful": means, "offset": round(offset, 2), "slope": round(slope, 2)})


def line(scores: Sequence[Scored]) -> tuple[float, float]:
    """Offset and slope under which what came is likeliest (logistic regression of one variable)."""
    s, helped = np.array([(score, right) for score, _, right in scores], dtype=float).T

    def unlikeliness(of: np.ndarray) -> float:
        p = np.clip(Prior(of[0], of[1], 1).probability(s), 1e-9, 1 - 1e-9)
        return float(-np.mean(np.log(np.where(helped > 0, p, 1 - p))))

    offset, slope = minimize(unlikeliness, (0.0, 1.0), method="Nelder-Mead").x.tolist()
    return offset, slope


def meaning(scores: Sequence[Scored], low: float, high: float) -> dict[str, Any]:
    """Of the rewrites between two scores, and between two probabilities: [helpful, all]."""

    def counts(place: int) -> list[int]:
        some = [s[2] for s in scores if low <= s[place] < high or s[place] == high == _EDGES[-1]]
        return [sum(some), len(some)]

    return {"from": low, "to": high, "score": counts(0), "calibrated": counts(1)}


if __name__ == "__main__":
    main()
