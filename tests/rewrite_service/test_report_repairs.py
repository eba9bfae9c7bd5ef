"""What a bundle is found to repair: asked as nobody, of turns as they were, told only where enough people share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mining.labels.report_rows import FAILURES
from mining.labels.turn_label import FailurePoint, TurnLabel
from retriever.interaction import Interaction
from rewrite_service.bundle import read_manifest
from rewrite_service.defect_report.repairs import FailedTurn, Repairs, failed_turns, repairs_of
from tests.mining.labels.report_logs import label
from tests.turns import NOON_S, turn

HEARD, MEANT = "play we don't talk about brew no", "play we don't talk about bruno"
ADAS = "what's the weather in wilkerson"
ASR = FAILURES.index(FailurePoint.ASR)


class Labels:
    """A labeller that knows what was given to it."""

    def __init__(self, labels: Sequence[TurnLabel]) -> None:
        self._labels = labels

    def labels(self, turns: Sequence[Interaction]) -> Sequence[TurnLabel]:
        return self._labels


def failed(user: str, heard: str, meant: str, at_s: float = 0) -> list[FailedTurn]:
    served = turn(meant, at_s + 10, "music.song", user=user)
    turns = [turn("what time is it", at_s - 60, "clock.time", user=user), turn(heard, at_s, user=user), served]
    return list(failed_turns([turns], Labels([label(), label(FailurePoint.ASR, served), label()])))


def asked(bundle: Path, turns: Sequence[FailedTurn], said: set[str], min_people: int = 2) -> Repairs:
    return repairs_of(bundle, turns, [HEARD, ADAS], said, min_people)


def test_a_failed_turn_is_asked_as_it_was_heard_in_its_situation() -> None:
    (found,) = failed("ann", HEARD, MEANT)
    assert (found.text, found.point, len(found.earlier)) == (HEARD, FailurePoint.ASR, 1)
    assert found.correction is not None and found.correction.text == MEANT
    rewritten = replace(turn("play it", 0), heard=HEARD)
    (again,) = failed_turns([[rewritten]], Labels([label(FailurePoint.NLU)]))
    assert again.text == HEARD and again.turn.heard is None and again.correction is None


def test_what_the_bundle_repairs_for_anybody(bundle_dir: Path) -> None:
    turns = [one for n in range(30) for one in failed(f"u{n % 3}", HEARD, MEANT, n * 3600)]
    found = asked(bundle_dir, turns, {MEANT})
    repair = found.of[HEARD]
    assert (repair.asked, repair.rewritten, repair.text, repair.share) == (8, 8, MEANT, 1.0)
    assert found.by_point[ASR] == 1.0 and found.of_wanted == {MEANT: 1.0} and found.asked == 30
    assert [share for n, share in enumerate(found.by_point) if n != ASR] == [None] * 4
    assert found.bundle == read_manifest(bundle_dir)["version"] and not found.later
    hidden = asked(bundle_dir, turns, set())
    assert hidden.of[HEARD].text is None, "too few have said it"
    assert asked(bundle_dir, turns, {MEANT}, 4).of[HEARD].text is None, "too few get it"


def test_the_personal_layer_has_no_say(bundle_dir: Path) -> None:
    meant = f"{ADAS} california"  # as the bundle knows of Ada, and would answer her
    found = asked(bundle_dir, failed("ada", ADAS, meant), {meant})
    assert found.of[ADAS].share == 0.0 and found.of[ADAS].rewritten == 0
    assert found.by_point == (None,) * 5, "one turn tells nothing"


def test_turns_that_the_bundle_has_not_learned_from_are_asked_where_there_are_enough(bundle_dir: Path) -> None:
    later_s = read_manifest(bundle_dir)["built_from"]["to_ms"] / 1000 - NOON_S + 3600
    new = [one for n in range(100) for one in failed("ann", HEARD, MEANT, later_s + n * 3600)]
    old = failed("bob", HEARD, "play something else", 0)
    found = asked(bundle_dir, [*old, *new], {MEANT})
    assert found.later and found.asked == 100 and found.by_point[ASR] == 1.0
