"""What the build makes of rewrites computed ahead: whether the lookup serves them, and what is then left to the
ranker."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from ranker.calibration import Calibration
from ranker.feature_names import NAMES
from ranker.lookup import NEVER, LookupPolicy
from ranker.model import NEEDLESS, WIN, WRONG
from ranker.policy import Policy
from retriever.candidates import Candidate
from retriever.interaction import Interpretation
from retriever.known_rewrites import KnownRewrite
from rewrite_service.examples import Example
from rewrite_service.goals import Goal
from rewrite_service.held_out_days import Calibrations, Judged
from rewrite_service.learning import choose_lookup_policy, report

FILM = Interpretation("Film", (("film", "go"),))
SURE = KnownRewrite("watch the movie go", 0.0, 1.0, 9)


class NoModel:
    def importance(self) -> dict[str, float]:
        return {}


def example(outcome: int, known: KnownRewrite | None = SURE, block: int = 5, **more: object) -> Example:
    """A request with one candidate, for which a rewrite is known or not."""
    served = outcome == NEEDLESS
    given = {"first": True, "masked": False} | more
    return Example(
        user="ann",
        block=block,
        timestamp_ms=1000,
        x=np.zeros((2, len(NAMES)), np.float32),
        candidates=(Candidate("play ago", is_query=True), Candidate(SURE.text, FILM, known=known)),
        goal=Goal(served, True, "", FILM),
        outcome=np.array([NEEDLESS if served else WRONG, outcome], np.int8),
        weight=1.0,
        known=None if known is None else 1,
        **given,  # type: ignore[arg-type]
    )


def chosen(examples: Sequence[Example]) -> LookupPolicy:
    return choose_lookup_policy(examples, 20.0, 0.03)


def test_all_blocks_count_and_only_first_attempts_as_they_were() -> None:
    wins = [example(WIN, block=block % 8) for block in range(24)]
    assert chosen(wins).threshold < SURE.score
    for less in ({"first": False}, {"masked": True}):
        assert chosen([example(WIN, **less) for _ in range(24)]) == NEVER
    assert chosen([example(WIN, None) for _ in range(24)]) == NEVER
    assert chosen(wins + [example(WRONG) for _ in range(3)]) == NEVER


def judged(examples: Sequence[Example], win: float) -> list[Judged]:
    """As a model foretells them that knows neither good nor bad."""
    return [Judged.as_told(e, np.array([[0.5, 0.5, 0.0], [1 - win, 0.0, win]])) for e in examples]


def test_the_report_counts_what_the_lookup_serves_and_what_the_ranker_does_of_the_rest() -> None:
    cases = judged([example(WIN) for _ in range(5)] + [example(WIN, None) for _ in range(3)], win=0.9)
    calibrations = Calibrations(Calibration(), Calibration())
    timid, bold = Policy(2.0), Policy(0.5, 0.5)
    of = lambda policy, lookup: report(cases, calibrations, policy, lookup, NoModel(), 20.0)  # noqa: E731
    assert of(timid, NEVER)["wins"] == 0
    assert of(timid, LookupPolicy(0.5, 20.0, 0.9))["wins"] == 5
    both = of(bold, LookupPolicy(0.5, 20.0, 0.9))
    assert (both["wins"], both["rewrites"], both["requests"], both["failed"]) == (8, 8, 8, 8)
    assert both["reduction"] == pytest.approx(1.0) and both["blocks"][0]["wins"] == 8
    assert of(bold, LookupPolicy(math.inf)) == of(bold, NEVER)
