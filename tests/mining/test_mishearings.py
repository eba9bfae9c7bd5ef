"""What a recogniser mistakes for what is learned from repairs and from its own doubts."""

from __future__ import annotations

import pytest

from mining.defects import assess
from mining.mishearings import differing, learn_hearing, pairs
from retriever.interaction import Interaction
from retriever.pronunciation import PHONEMES, pronounce
from tests.turns import DAY_S, turn

NAMES = ["fan", "fill", "ferry", "fox", "fig", "feather", "forest", "fun"]


def misheard(f_as: str, times: int = 12) -> list[Interaction]:
    """Somebody whose F is always heard as something else, and who then says it again."""
    turns = []
    for day in range(times):
        name = NAMES[day % len(NAMES)]
        heard = f_as + name[1:]
        turns.append(turn(f"play {heard}", day * DAY_S))
        turns.append(turn(f"play {name}", day * DAY_S + 20, "Play", slots={"title": name}))
    return turns


def test_only_the_words_that_differ_are_compared() -> None:
    assert differing("play brew no now", "play bruno now") == ("brew no", "bruno")
    assert differing("play go", "play go") == ("", "")


def test_a_recognisers_habit_becomes_cheap() -> None:
    f, s = PHONEMES.index("F") + 1, PHONEMES.index("S") + 1
    before = learn_hearing([]).costs
    turns = misheard("s", 40)
    after = learn_hearing([(turns, assess(turns))]).costs
    assert after[f, s] < before[f, s] - 1
    assert abs(after[s, f] - before[s, f]) < 0.5, "the other way round nothing was learned"


def test_the_recognisers_doubts_count_where_the_query_served() -> None:
    served = turn("play fan", 0, "Play", slots={"title": "fan"}, alternatives=("play san", "play fan"))
    failed = turn("play gan", 500, alternatives=("play can",))
    found = pairs([served, failed], assess([served, failed]))
    assert [(p.heard, p.said) for p in found] == [(pronounce("san"), pronounce("fan"))]


@pytest.mark.parametrize("said", ["play the very long title of a song", "play"])
def test_words_added_or_left_out_are_no_mishearings(said: str) -> None:
    turns = [turn("play song", 0), turn(said, 20, "Play", slots={"title": "song"})]
    assert not pairs(turns, assess(turns))
