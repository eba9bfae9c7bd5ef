"""Pairs of texts of one meaning: which turns give them, and which do not."""

from __future__ import annotations

from mining.defects import assess
from mining.text_pairs import Kind, Person, Repair, TextPair, repairs, served, text_pairs
from retriever.interaction import Channel, Interpretation
from tests.turns import NOON_S, turn

GO = Interpretation("PlayFilm", (("film", "go"),))
SLOTS = {"film": "go"}


def person(*turns) -> Person:
    return list(turns), assess(list(turns))


def repaired(user: str = "ann") -> Person:
    return person(
        turn("play ago", 0, user=user, alternatives=("Play a go", "play echo", "bray ago")),
        turn("play the film go", 12, "PlayFilm", user, slots=SLOTS, dwell_s=3000.0),
    )


def test_a_failure_and_what_else_was_heard_belong_to_the_repair() -> None:
    assert text_pairs([repaired()]) == [
        TextPair(heard, "play the film go", GO, Kind.MISHEARD) for heard in ("play ago", "play a go", "play echo")
    ]
    assert repairs([repaired()]) == [Repair("play ago", GO)]


def test_what_else_was_heard_belongs_to_a_query_that_served() -> None:
    once = person(turn("watch go", 0, "PlayFilm", slots=SLOTS, dwell_s=3000.0, alternatives=("watch ago", "watch go")))
    assert text_pairs([once]) == [TextPair("watch ago", "watch go", GO, Kind.MISHEARD)]


def test_typed_turns_are_not_misheard_and_failures_without_a_repair_give_nothing() -> None:
    typed = person(
        turn("watch go", 0, "PlayFilm", slots=SLOTS, dwell_s=3000.0, channel=Channel.APP, alternatives=("watch ago",))
    )
    lost = person(turn("wotch ko", 0, alternatives=("watch go",)))
    assert text_pairs([typed, lost]) == [] and repairs([typed, lost]) == []


def test_texts_that_served_one_meaning_are_pairs_whoever_said_them() -> None:
    people = [
        person(turn(text, 0, "PlayFilm", user, slots=SLOTS, dwell_s=3000.0))
        for user, text in (("ann", "watch go"), ("bob", "Play the film Go"), ("cy", "watch go"))
    ]
    assert served(people) == {GO: ["watch go", "play the film go"]}
    assert text_pairs(people) == [TextPair("watch go", "play the film go", GO, Kind.SAID_OTHERWISE)]


def test_only_repairs_of_later_days_are_asked_for() -> None:
    start_ms = NOON_S * 1000
    assert repairs([repaired()], start_ms) and not repairs([repaired()], start_ms + 1)
