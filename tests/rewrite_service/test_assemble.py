"""What the recogniser may have heard besides is tried where a user keeps failing, with what it is expected to mean."""

from __future__ import annotations

import pytest

from retriever.candidates import Candidate
from retriever.encoder import Encoder
from retriever.interaction import Interaction, Interpretation
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge, assemble
from rewrite_service.examples import learn_knowledge
from tests.turns import DAY_S, request, turn

NAMES = ["mary", "philip", "sean", "aunt rose", "doctor who", "lee", "kim", "tom", "eve", "ben", "ida", "max", "sue"]
NOW_S = 60 * DAY_S


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    people = {
        user: [
            turn(f"call {name}", day * DAY_S, "Contact", user, slots={"action": "call", "name": name})
            for day, name in enumerate(NAMES)
        ]
        for user in ("bob", "cat")
    }
    return learn_knowledge(people, CachedEncoder(Encoder(), Encoder.DIMENSION, 64 << 20), 2)


def offered(knowledge: Knowledge, past: list[Interaction], shared: bool = True) -> Candidate | None:
    """"call alan", which nobody has ever been heard to say, for somebody who is heard to say "call allen"."""
    asked = request("call allen", NOW_S, alternatives=("call alan", "fall allan"))
    made = assemble(asked, past[-8:], knowledge.personal_layer(past), knowledge, use_shared=shared)
    assert made is not None
    return next((c for c in made.candidates if c.text == "call alan"), None)


def test_a_hypothesis_is_tried_for_who_keeps_failing_with_what_its_frame_foretells(knowledge: Knowledge) -> None:
    past = [turn("call allen", NOW_S - days * DAY_S) for days in (3, 2)]
    found = offered(knowledge, past)
    assert found is not None and found.hypothesis
    assert found.reading == Interpretation("Contact", (("action", "call"), ("name", "alan")))
    assert offered(knowledge, past[:1]) is None, "once is no habit"


def test_without_everybodys_frames_nothing_is_foretold(knowledge: Knowledge) -> None:
    past = [turn("call allen", NOW_S - days * DAY_S) for days in (3, 2)]
    found = offered(knowledge, past, shared=False)
    assert found is not None and found.hypothesis and found.reading is None


def test_what_it_meant_before_outweighs_what_is_foretold(knowledge: Knowledge) -> None:
    past = [turn("call allen", NOW_S - days * DAY_S) for days in (3, 2)]
    past.insert(0, turn("call alan", NOW_S - 9 * DAY_S, "Song", slots={"track": "call alan"}))
    found = offered(knowledge, past)
    assert found is not None and found.reading == Interpretation("Song", (("track", "call alan"),))
