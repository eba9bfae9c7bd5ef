"""The names of the place where a request is made: which slots they fill is read off mined rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retriever.completion import Rule
from retriever.fragments import Fragment, by_gaps
from retriever.interaction import Context
from retriever.places import Places, with_places

TOWN = Rule(
    "weather in {city}",
    False,
    "",
    "weather in {city} {state}",
    ("Forecast", (("region", "{state}"), ("town", "{city}"))),
    5,
    0.9,
    0.9,
)
PATTERNS = ["{town}", "{town} {region}", "{song} by {artist}", "{town} with {person}"]
PREMONT = Context(city="Premont", state="Texas", room="den")


def texts(places: Places, context: Context) -> dict[str, list[str]]:
    return {gaps: list(names) for gaps, names in places.names(context).items()}


def in_mined(places: Places, context: Context) -> dict[str, list[str]]:
    return {gaps: names for gaps, names in texts(places, context).items() if gaps in PATTERNS}


def test_gaps_are_filled_by_the_slots_that_rules_take_from_the_situation() -> None:
    places = Places([TOWN], PATTERNS)
    assert in_mined(places, PREMONT) == {"{town}": ["premont"], "{town} {region}": ["premont texas"]}
    named = places.names(PREMONT)["{town} {region}"]["premont texas"]
    assert named.slots == (("region", "texas"), ("town", "premont"))


def test_what_is_not_known_of_a_place_fills_nothing() -> None:
    places = Places([TOWN], PATTERNS)
    assert in_mined(places, Context(city="Premont")) == {"{town}": ["premont"]}
    assert texts(places, Context()) == {}


@pytest.mark.parametrize(
    "changed",
    [{"reading": None}, {"reading": ("Forecast", (("town", "{city} town"),))}],
    ids=["meaning unknown", "more than the place"],
)
def test_rules_that_do_not_mean_the_place_itself_say_nothing_of_slots(changed: dict) -> None:
    assert in_mined(Places([replace(TOWN, **changed)], PATTERNS), PREMONT) == {}


@pytest.mark.parametrize("changed", [{"precision": 0.4}, {"open_ended": True}], ids=["seldom right", "takes the rest"])
def test_other_rules_say_nothing_of_places(changed: dict) -> None:
    places = Places([replace(TOWN, **changed)], PATTERNS)
    assert places.names(PREMONT) == {} and not places.fitting("weather in fremont")


@pytest.mark.parametrize(
    ("pattern", "query", "rest"),
    [
        ("weather in {city}", "weather in fremont", "fremont"),
        ("weather in {city}", "whether in fremont", None),
        ("how about {city}", "how about little rock", "little rock"),
        ("{city} weather", "new man weather", "new man"),
        ("{city}", "fremont", None),
        ("from {city} to {state}", "from fremont to texas", None),
    ],
)
def test_the_words_around_a_place_are_found_in_a_query(pattern: str, query: str, rest: str | None) -> None:
    places = Places([replace(TOWN, pattern=pattern)], [])
    found = places.fitting(query)
    assert [words for _, words in found] == ([rest] if rest else [])
    for frame, _ in found:
        (named,) = places.names(PREMONT)[frame.gaps].values()
        assert named.text == "premont" and not named.slots
        assert places.names(Context(state="texas")).get(frame.gaps) is None


def test_where_rules_disagree_most_people_are_right() -> None:
    other = Rule("x {city}", False, "", "y {city} {state}", ("Forecast", (("town", "{state}"),)), 4, 0.9, 0.9)
    for rules in ([TOWN, other], [other, TOWN]):
        assert texts(Places(rules, PATTERNS), PREMONT)["{town}"] == ["premont"]


def test_what_the_user_has_said_goes_before_what_the_place_is_called() -> None:
    said = Fragment("premont", "{town}", (("town", "premont"),), (), 1, 7.0)
    both = with_places(by_gaps([said]), Places([TOWN], PATTERNS).names(PREMONT))
    assert both["{town}"]["premont"] is said and list(both["{town} {region}"]) == ["premont texas"]
    assert with_places(by_gaps([said]), {}) == by_gaps([said])
