"""Frames and names: mined from what worked, composed anew for what was heard wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mining.defects import assess
from mining.frames import mine_frames, split
from retriever.fragments import Fragments, Frame, fills
from retriever.interaction import Interpretation
from retriever.sound import SoundSpace
from tests.turns import DAY_S, turn

FILMS = ["the amazing spider man", "up", "the lion king", "jaws", "zombieland", "alien", "go", "the net", "heat"]
FILMS += ["twister", "the matrix", "gladiator", "titanic"]


def watches(user: str, films: list[str]) -> list:
    frames = ["watch the movie {}", "show me {}"]
    return [
        turn(frames[i % 2].format(film), i * DAY_S, "Video", user, slots={"video": film})
        for i, film in enumerate(films)
    ]


@pytest.fixture(scope="module")
def fragments() -> Fragments:
    people = [watches("ann", FILMS), watches("bob", FILMS), watches("cleo", ["brazil", "brazil"])]
    frames, found = mine_frames([(turns, assess(turns)) for turns in people])
    return Fragments.build(frames, found, SoundSpace.fit([f"watch the movie {f}" for f in FILMS]), 2)


SOUND = SoundSpace.fit([f"watch the movie {f}" for f in FILMS])


def test_a_name_heard_wrong_is_found_in_another_frame(fragments: Fragments) -> None:
    made = fragments.compose("show me the manors in spider man", SOUND, ())
    assert made[0].text == "show me the amazing spider man"
    assert made[0].rest == "the manors in spider man"
    assert made[0].fragment.reading == Interpretation("Video", (("video", "the amazing spider man"),))


def test_only_names_of_several_people_are_shared(fragments: Fragments) -> None:
    assert "brazil" not in [f.text for f in fragments.shared]
    assert all("brazil" not in c.text for c in fragments.compose("show me bra zil", SOUND, ()))
    own = fragments.of_person({"watch the movie brazil": Interpretation("Video", (("video", "brazil"),))})
    made = fragments.compose("show me bra zil", SOUND, own)
    assert (made[0].text, made[0].own) == ("show me brazil", True)


def test_nothing_is_composed_outside_a_frame(fragments: Fragments) -> None:
    assert fragments.compose("what time is it", SOUND, ()) == []
    assert fragments.compose("show me", SOUND, ()) == []


def test_a_slot_with_few_values_is_no_name() -> None:
    turns = [
        turn(f"turn {a} the lamp", i * DAY_S, "Device", slots={"action": a}) for i, a in enumerate(["on", "off"] * 9)
    ]
    frames, found = mine_frames([(turns, assess(turns)), (turns, assess(turns))])
    assert not frames and not found


def test_split_takes_a_text_apart() -> None:
    reading = Interpretation("Call", (("action", "call"), ("name", "mary ann")))
    assert split("call mary ann please", reading, {("Call", "name")}) == ("call", "{name}", "please", "mary ann")
    assert split("call her", reading, {("Call", "name")}) is None


@pytest.mark.parametrize(
    ("query", "rest"),
    [("call anna please", "anna"), ("call please", None), ("recall anna please", None), ("call anna", None)],
)
def test_a_frame_fits_whole_words_only(query: str, rest: str | None) -> None:
    assert Frame("call", "please", ("Call", "{name}"), 2).rest_of(query) == rest


def test_fills_compares_with_the_reading() -> None:
    reading = Interpretation("Weather", (("city", "paris"), ("state", "texas")))
    assert fills("{city} {state}", "paris texas", reading) and not fills("{city}", "paris texas", reading)


def test_saved_and_opened_again(fragments: Fragments, tmp_path: Path) -> None:
    fragments.save(tmp_path)
    again = Fragments.open(tmp_path)
    query = "show me the manors in spider man"
    assert [c.text for c in again.compose(query, SOUND, ())] == [c.text for c in fragments.compose(query, SOUND, ())]
