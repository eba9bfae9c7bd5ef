"""Who names a place often means their own: it is offered where it was misheard, made whole, and to nobody elsewhere."""

from __future__ import annotations

import pytest

from retriever.candidates import Candidate
from retriever.encoder import Encoder
from retriever.interaction import Context, Interaction
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge, assemble
from rewrite_service.decision import Layer
from rewrite_service.examples import learn_knowledge
from rewrite_service.explanation import layer_of
from tests.turns import DAY_S, request, turn

TOWNS = ["austin", "boston", "denver", "houston", "lima", "salem", "dayton", "mobile", "fresno", "tampa", "reno"]
TOWNS += ["ames", "erie"]
NOW_S = 60 * DAY_S


def of_somebody(user: str, town: str, state: str) -> list[Interaction]:
    """Asks after many towns, and after the own one, which is taken for a greater one until the state is said."""
    here = Context(city=town, state=state)
    turns = []
    for day, name in enumerate(TOWNS):
        slots = {"city": name, "state": "ohio"}
        turns.append(turn(f"weather in {name}", day * DAY_S, "Weather", user, slots=slots, context=here))
        asked = f"weather in {name} ohio"
        turns.append(turn(asked, day * DAY_S + 3600, "Weather", user, slots=slots, context=here))
    for day in (20, 30):
        slots = {"city": town, "state": state}
        asked = f"weather in {town}" if day == 20 else f"how about {town}"
        turns.append(turn(asked, day * DAY_S, None, user, context=here))
        in_full = f"weather in {town} {state}"
        turns.append(turn(in_full, day * DAY_S + 10, "Weather", user, slots=slots, dwell_s=30, context=here))
    return turns


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    homes = {"bob": ("union", "iowa"), "cat": ("clinton", "maine"), "dan": ("milton", "utah")}
    people = {user: of_somebody(user, *home) for user, home in homes.items()}
    return learn_knowledge(people, CachedEncoder(Encoder(), Encoder.DIMENSION, 64 << 20), 2)


def offered(knowledge: Knowledge, query: str, town: str, state: str) -> dict[str, Candidate]:
    asked = request(query, NOW_S, context=Context(city=town, state=state))
    made = assemble(asked, [], knowledge.personal_layer([]), knowledge)
    assert made is not None
    return {c.text: c for c in made.candidates}


def test_the_own_town_misheard_is_offered_with_its_state_to_who_never_named_it(knowledge: Knowledge) -> None:
    found = offered(knowledge, "weather in fremont", "premont", "texas")
    whole = found["weather in premont texas"]
    assert whole.completion is not None and whole.composition is not None
    assert whole.composition.rest == "fremont" and whole.composition.own and 0 < whole.composition.cost < 1.5
    assert whole.reading is not None and dict(whole.reading.slots) == {"city": "premont", "state": "texas"}


def test_what_rules_make_of_a_place_is_no_past_of_the_users(knowledge: Knowledge) -> None:
    asked = request("weather in fremont", NOW_S, context=Context(city="premont", state="texas"))
    slots = {"city": "premont", "state": "texas"}
    for said, layer in (
        (None, Layer.GLOBAL),
        ("weather in premont texas", Layer.PERSONAL),
        ("premont weather", Layer.PERSONAL),  # another text that names it
    ):
        past = [turn(said, DAY_S, "Weather", slots=slots)] if said else []
        made = assemble(asked, [], knowledge.personal_layer(past), knowledge)
        assert made is not None
        found = [c for c in made.candidates if c.text in ("weather in premont", "weather in premont texas")]
        assert len(found) == 2 and {layer_of(made, c) for c in found} == {layer}, said


def test_nobody_is_offered_anothers_town(knowledge: Knowledge) -> None:
    found = offered(knowledge, "weather in fremont", "laredo", "texas")
    assert not [text for text in found if "premont" in text]
    for query in ("weather in unions", "weather in clintons", "weather in milltown"):
        named = " ".join(offered(knowledge, query, "laredo", "texas"))
        assert not any(f" {town} " in f" {named} " for town in ("union", "clinton", "milton"))


def test_a_name_that_is_quite_another_is_not_taken_for_the_town(knowledge: Knowledge) -> None:
    found = offered(knowledge, "weather in carthage", "north pembroke", "massachusetts")
    assert not [text for text in found if "pembroke" in text]


def test_words_that_are_no_request_are_made_one_with_the_own_town_in_them(knowledge: Knowledge) -> None:
    found = offered(knowledge, "how about fremont", "premont", "texas")
    assert "weather in premont texas" in found and "how about premont" not in found
    assert not [text for text in offered(knowledge, "how about fremont", "laredo", "texas") if "premont" in text]
