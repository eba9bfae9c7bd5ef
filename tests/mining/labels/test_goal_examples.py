"""Dialogues that are made, and what is known of them; decoys, in which nothing that follows a failure repairs it."""

from __future__ import annotations

import random

import pytest

from mining.defects import assess, learn_reactions
from mining.dialogue_examples import Person
from mining.labels.decoys import Continuations, decoy_of
from mining.labels.goal_examples import UNKNOWN, Grouped, given_up, interrupted, made, strangers_of, told
from mining.schema import parse_interaction
from mining.sessions import by_user, sessions
from retriever.normalise import normalise
from rewrite_service.sample.generate import generate

END = 1 << 62


@pytest.fixture(scope="module")
def people() -> dict[str, Person]:
    turns = by_user(parse_interaction(record) for record in generate(people=16, days=8))
    reactions = learn_reactions(list(turns.values()))
    return {user: (theirs, assess(theirs, reactions)) for user, theirs in turns.items()}


@pytest.fixture(scope="module")
def dialogues(people: dict[str, Person]) -> list[tuple[str, Grouped]]:
    return list(told(people, 0, END))


def test_a_repair_and_what_it_repaired_are_one_goal(people: dict[str, Person]) -> None:
    repaired = 0
    for user, one in told(people, 0, END):
        turns, evidence = people[user]
        place = {turn.request.interaction_id: i for i, turn in enumerate(turns)}
        at = [place[turn.request.interaction_id] for turn in one.turns]
        for n, i in enumerate(at):
            goal = evidence[i].goal
            if goal is not None:
                repaired += 1
                assert one.same(n, at.index(goal)) and one.weight(n, at.index(goal)) == 1.0
            elif evidence[i].failed:
                assert one.group[n] == UNKNOWN
            elif evidence[i].defect < 0.1:
                assert one.group[n] == i
    assert repaired > 10


def test_who_nobody_knows_of_teaches_little(dialogues: list[tuple[str, Grouped]]) -> None:
    unknown = [one for _, one in dialogues if one.group.count(UNKNOWN) > 1]
    assert unknown
    for one in unknown:
        i, k = [n for n, group in enumerate(one.group) if group == UNKNOWN][:2]
        assert not one.same(i, k) and one.weight(i, k) == 0.0
        others = [n for n, group in enumerate(one.group) if group != UNKNOWN]
        assert all(one.weight(*sorted((i, n))) == 0.5 for n in others)


def test_an_interrupted_dialogue_keeps_its_goals(
    people: dict[str, Person], dialogues: list[tuple[str, Grouped]]
) -> None:
    rng, strangers = random.Random(3), strangers_of(people, 0, END)
    longer = 0
    for user, one in dialogues:
        other = interrupted(one, user, strangers, rng)
        own = [n for n, turn in enumerate(other.turns) if "@" not in turn.request.interaction_id]
        assert [other.group[n] for n in own] == list(one.group)
        put = [other.group[n] for n in range(len(other.turns)) if n not in own]
        assert len(set(put)) == len(put) and not set(put) & set(one.group)
        assert {turn.request.user_id for turn in other.turns} == {user}
        stamps = [turn.request.timestamp_ms for turn in other.turns]
        assert stamps == sorted(stamps)
        if one.pursued and put:
            longer += 1
            place = other.group.index(put[0])
            assert any(other.group.index(g) < place < _last(other.group, g) for g in one.pursued)
    assert longer > 5


def _last(group: tuple[int, ...], of: int) -> int:
    return len(group) - 1 - group[::-1].index(of)


def test_who_gives_up_is_followed_by_another_wish(
    people: dict[str, Person], dialogues: list[tuple[str, Grouped]]
) -> None:
    rng, strangers = random.Random(3), strangers_of(people, 0, END)
    seen = 0
    for user, one in dialogues:
        other = given_up(one, user, strangers, rng)
        if other is None:
            assert not one.pursued or not strangers.turn(user, one.turns, rng)
            continue
        seen += 1
        assert "@" in other.turns[-1].request.interaction_id and other.group[-1] not in other.group[:-1]
        assert other.turns[:-1] == one.turns[: len(other.turns) - 1]
    assert seen > 5


def test_the_same_seed_makes_the_same(people: dict[str, Person]) -> None:
    ids = lambda seed: [[t.request.interaction_id for t in one.turns] for one in made(people, seed, 0, END)]  # noqa: E731
    assert ids(1) == ids(1) != ids(2)


def test_nothing_of_what_followed_is_left_in_a_decoy(people: dict[str, Person]) -> None:
    rng, continuations = random.Random(1), Continuations(people, 0)
    changed = 0
    for user, person in people.items():
        turns, evidence = person
        decoy = decoy_of(person, continuations, 0, rng)
        assert {turn.request.user_id for turn in decoy.turns} == {user}
        stamps = [turn.request.timestamp_ms for turn in decoy.turns]
        assert stamps == sorted(stamps)
        before = {turn.request.interaction_id: i for i, turn in enumerate(turns)}
        spans = {span.start: span for span in sessions(decoy.turns)}
        assert set(decoy.cut) <= set(spans), "what was put in belongs to the session"
        for start, last in decoy.cut.items():
            changed += 1
            span = spans[start]
            put = decoy.turns[last + 1 : span.stop]
            assert put and all("@" in turn.request.interaction_id for turn in put)
            kept = [before[turn.request.interaction_id] for turn in decoy.turns[start : last + 1]]
            assert evidence[kept[-1]].failed
            meant = {turns[g].interpretation for i in kept if (g := evidence[i].goal) is not None}
            assert not meant & {turn.interpretation for turn in put}
            assert normalise(turns[kept[-1]].request.query) not in {normalise(t.request.query) for t in put}
    assert changed > 10


def test_earlier_days_are_left_as_they_are(people: dict[str, Person]) -> None:
    stamps = sorted(turn.request.timestamp_ms for turns, _ in people.values() for turn in turns)
    cut = stamps[len(stamps) // 2]
    for person in people.values():
        decoy = decoy_of(person, Continuations(people, cut), cut, random.Random(1))
        early = [turn for turn in person[0] if turn.request.timestamp_ms < cut]
        assert decoy.turns[: len(early)] == early or min(decoy.cut, default=0) < len(early)


def test_without_anybody_to_go_on_like_nothing_is_put_in(people: dict[str, Person]) -> None:
    person = next(person for person in people.values() if any(e.goal is not None for e in person[1]))
    decoy = decoy_of(person, Continuations({}, 0), 0, random.Random(1))
    assert not decoy.cut and len(decoy.turns) < len(person[0])
