"""What came of rewrites: which turns count for which pair, and that reactions of users tell failures from successes."""

from __future__ import annotations

import math

from mining.served import came_of
from retriever.interaction import Explicit, Interaction
from tests.turns import DAY_S, turn

HEARD, ASKED = "play ago", "watch the movie go"


def served(at_s: float, *, well: bool, user: str = "ann") -> list[Interaction]:
    """The heard text, rewritten and answered; where that failed, the user barges in, says no, and says it again."""
    made = turn(HEARD, at_s, "Video", user, slots={"title": "go"}, dwell_s=120.0 if well else 0.4, barge_in=not well)
    if well:
        return [made]
    denied = turn(
        HEARD, at_s, "Video", user, slots={"title": "go"}, dwell_s=0.4, barge_in=True, explicit=Explicit.NO
    )
    return [denied, turn("play a song by argo", at_s + 10, "Song", user, slots={"artist": "argo"}, dwell_s=100.0)]


def rewritten(*turns: Interaction) -> dict[str, str]:
    return {t.request.interaction_id: ASKED for t in turns}


def test_a_rewrite_that_failed_is_told_from_one_that_worked() -> None:
    good, bad = served(0, well=True), served(DAY_S, well=False)
    found = came_of([*good, *bad], rewritten(good[0], bad[0]))
    assert list(found) == [(HEARD, ASKED)], "what was said next was left alone, and nothing of it matters"
    (first, good_odds), (second, bad_odds) = found[HEARD, ASKED]
    assert (first, second) == (good[0].request.timestamp_ms, bad[0].request.timestamp_ms)
    assert good_odds < 0 < 4 < bad_odds


def test_the_same_words_left_alone_count_apart() -> None:
    alone, asked = turn(HEARD, 0), served(DAY_S, well=True)
    found = came_of([alone, *asked], rewritten(*asked))
    assert set(found) == {(HEARD, HEARD), (HEARD, ASKED)}
    assert found[HEARD, HEARD] == [(alone.request.timestamp_ms, math.inf)], "no answer is a failure"


def test_nothing_is_looked_at_where_nothing_was_served() -> None:
    turns = [turn(HEARD, 0), turn("play jazz", DAY_S, "Song")]
    assert came_of(turns, {}) == {}
    assert set(came_of(turns, {}, watched=lambda heard: heard == HEARD)) == {(HEARD, HEARD)}


def test_a_rewrite_to_the_same_words_is_none() -> None:
    made = turn("Play Ago!", 0, "Video")
    assert came_of([made], {made.request.interaction_id: HEARD}) == {}
    assert came_of([made], {made.request.interaction_id: "?!"}) == {}


def test_a_repair_in_the_users_own_words_counts_against_the_rewrite() -> None:
    """Taken with the rewrite's words, what the user said next would look like another wish."""
    wrong = turn("weather in ripon", 0, "Weather", slots={"city": "ripon", "state": "ohio"}, dwell_s=3.0)
    right = turn(
        "weather in ripon california", 15, "Weather", slots={"city": "ripon", "state": "california"}, dwell_s=30.0
    )
    found = came_of([wrong, right], {wrong.request.interaction_id: "forecast at home"})
    (_, odds), = found["weather in ripon", "forecast at home"]
    assert odds > 2
