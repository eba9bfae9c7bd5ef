"""Dialogues made of the log's: the truth about them is known from how they were made."""

from __future__ import annotations

import random

from mining.defects import assess
from mining.dialogue import LONGEST
from mining.dialogue_examples import NONE, Strangers, examples, held_out, put_between
from retriever.interaction import Interaction
from tests.turns import turn

DAY = 86_400


def household() -> dict[str, list[Interaction]]:
    """Ann repairs one failure a day; both also say things that stand alone."""
    ann, ben = [], []
    for day in range(6):
        at = day * DAY
        ann += [turn("play ago", at), turn("play go", at + 9, "Film", slots={"film": "go"})]
        ann.append(turn(f"set a timer for {day + 2} minutes", at + 9000, "Timer", slots={"minutes": str(day + 2)}))
        ben.append(turn(f"weather in springfield {day}", at + 50, "Weather", user="ben", slots={"day": str(day)}))
    return {"ann": ann, "ben": ben}


def assessed(people: dict[str, list[Interaction]]) -> dict:
    return {user: (turns, assess(turns)) for user, turns in people.items()}


def test_a_rephrase_is_still_pointed_to_when_others_come_between() -> None:
    found = examples(assessed(household()), seed=1)
    assert len(found) == 6 * (1 + 2 + 1), "as it is, twice interrupted, once given up"
    kinds = [0, 0, 0]
    for e in found:
        texts = e.dialogue.texts
        assert len(texts) == len(e.goal) == len(e.weight) <= LONGEST
        assert texts[0] == "play ago"
        if e.goal[0] == NONE:
            kinds[2] += 1
            assert "play go" not in texts
        else:
            kinds[e.goal[0] > 1] += 1
            assert texts[e.goal[0]] == "play go" and e.weight[0] == 1
            assert all(goal == NONE for goal in e.goal[1:])
    assert kinds == [6, 12, 6]


def test_the_same_seed_gives_the_same_examples() -> None:
    people = assessed(household())
    one, other, third = (examples(people, seed) for seed in (1, 1, 2))
    assert [(e.dialogue.texts, e.goal, e.weight) for e in one] == [(e.dialogue.texts, e.goal, e.weight) for e in other]
    assert [e.dialogue.texts for e in one] != [e.dialogue.texts for e in third]


def test_held_out_days_are_not_learned_from() -> None:
    people = assessed(household())
    cut = household()["ann"][9].request.timestamp_ms
    early, late = examples(people, 1, until_ms=cut), list(held_out(people, 1, cut))
    assert len(early) == 3 * 4 and len(late) == 3
    for told, example, other, _ in late:
        assert told.turns[0].request.timestamp_ms >= cut and example.goal == (1, NONE)
        assert len(other.turns) > 2 and other.turns[other.goal[0]].request.query == "play go"


def test_what_is_put_between_means_something_else_and_moves_the_rest() -> None:
    people = household()
    strangers, dialogue = Strangers.of(people), people["ann"][:2]
    for seed in range(50):
        longer, n = put_between(dialogue, 0, "ann", strangers, random.Random(seed), 3)
        assert 1 <= n <= 3 and len(longer) == 2 + n
        stamps = [t.request.timestamp_ms for t in longer]
        assert stamps == sorted(stamps) and stamps[-1] - stamps[-2] == 9000, "the pause before the rephrase stays"
        assert all(t.request.user_id == "ann" for t in longer)
        assert all(t.interpretation != dialogue[1].interpretation for t in longer[1:-1])


def test_without_anything_to_put_between_a_dialogue_stays_as_it_is() -> None:
    alone = {"ann": household()["ann"][:2]}
    assert {e.dialogue.texts for e in examples(assessed(alone), 1)} == {("play ago", "play go")}
