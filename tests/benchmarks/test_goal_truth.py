"""Which goal each turn of a session is of, by what first attempts wanted; on turns whose wants are written in them."""

from __future__ import annotations

from typing import cast

from benchmarks.labels.goal_truth import Counts, GoalTruth
from benchmarks.mining.dev_dialogues import DevDialogues
from mining.labels.turn_label import TurnLabel
from mining.sessions import sessions
from retriever.interaction import Interaction
from tests.turns import turn


class Wants:
    """Stands for the dev days: a first attempt's id begins with "first", and its first word names what was wanted."""

    def asked(self, attempt: Interaction) -> bool:
        return attempt.request.interaction_id.startswith("first") and "@" not in attempt.request.interaction_id

    def gives(self, attempt: Interaction, later: Interaction) -> bool:
        return later.interpretation is not None and later.interpretation.intent == attempt.request.query.split()[0]


TRUTH = GoalTruth(cast(DevDialogues, Wants()))


def session(*said: tuple[str, str, str | None]) -> list[Interaction]:
    return [turn(text, 20 * n, intent, id=id_) for n, (id_, text, intent) in enumerate(said)]


TURNS = session(
    ("first 0", "go please", None),
    ("again 1", "play a go", None),  # between the attempt and what gave it
    ("first 2@x", "time", "time"),  # put in between
    ("again 3", "watch go", "go"),
    ("again 4", "something", None),  # nobody knows
    ("first 5", "bob now", "rob"),
    ("again 6", "bop", None),  # given up
)


def test_a_later_turn_is_of_the_attempt_whose_want_it_led_to() -> None:
    (span,) = sessions(TURNS)
    assert TRUTH.goals(TURNS, span) == [0, 0, 2, 0, None, 5, None]
    assert TRUTH.goals(TURNS, span, everything=True) == [0, 0, 2, 0, 0, 5, 5]
    assert [TRUTH.reached(TURNS, i, span) for i in (0, 5)] == [3, None]


def labels(*goals: int) -> list[TurnLabel]:
    return [TurnLabel((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), goal, None, 0.0) for goal in goals]


def test_pairs_of_turns_are_counted() -> None:
    right = TRUTH.segmentation(TURNS, labels(0, 0, 2, 0, 4, 5, 6), everything=False)
    assert right == Counts(together=3, said=3, both=3, unknown=2) and right.f1 == 1.0
    one_goal = TRUTH.segmentation(TURNS, labels(*[0] * 7), everything=True)
    assert one_goal == Counts(together=7, said=21, both=7, unknown=0) and one_goal.f1 == 0.5
    assert TRUTH.segmentation(TURNS, labels(*range(7)), everything=True).f1 == 0.0
    assert (right + one_goal).together == 10


def test_sessions_without_a_first_attempt_are_not_judged() -> None:
    alone = session(("again", "go", "go"), ("again too", "go", "go"))
    assert TRUTH.segmentation(alone, labels(0, 0), everything=True) == Counts()
