"""Frames and names: mined from what worked, composed anew for what was heard wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mining.defects import assess
from mining.frames import mine_frames, split
from retriever import composition
from retriever.composition import Composition, Heard
from retriever.fragments import Fragment, Fragments, by_gaps, named_slots, of_person, spoken
from retriever.frames import Frame, FrameTable, foretold
from retriever.hearing import Hearing, prior_shares
from retriever.interaction import Interpretation
from retriever.sound import SoundSpace
from tests.turns import DAY_S, turn

FILMS = ["the amazing spider man", "up", "the lion king", "jaws", "zombieland", "alien", "go", "the net", "heat"]
FILMS += ["twister", "the matrix", "gladiator", "titanic"]
SOUND = SoundSpace.fit(FILMS)
HEARING = Hearing.of_shares(prior_shares())


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
    return Fragments.build(FrameTable(frames), found, SOUND, 2)


def compose(fragments: Fragments, query: str, own: Sequence[Fragment] = ()) -> list[Composition]:
    heard = Heard(query, fragments.table.fitting(query), by_gaps(own))
    return composition.compose([heard], fragments, SOUND, HEARING)[0]


def test_every_name_is_known_by_its_counts_even_where_it_is_not_shared(fragments: Fragments) -> None:
    for name, people in (("jaws", 2), ("brazil", 1), ("nowhere", 0)):
        assert fragments.known(fragments.table.fitting(f"watch the movie {name}"))[:, 0].max() == people


def test_a_name_heard_wrong_is_found_in_another_frame(fragments: Fragments) -> None:
    made = compose(fragments, "show me the manors in spider man")
    assert made[0].text == "show me the amazing spider man"
    assert made[0].rest == "the manors in spider man"
    assert made[0].reading == Interpretation("Video", (("video", "the amazing spider man"),))


def test_only_names_of_several_people_are_shared(fragments: Fragments) -> None:
    assert "brazil" not in [f.text for f in fragments.shared]
    assert all("brazil" not in c.text for c in compose(fragments, "show me bra zil"))
    own = of_person(fragments.names_in("watch the movie brazil", Interpretation("Video", (("video", "brazil"),))))
    made = compose(fragments, "show me bra zil", own)
    assert (made[0].text, made[0].own) == ("show me brazil", True)


def test_a_name_that_several_requests_hold_is_one_with_the_readings_of_all(fragments: Fragments) -> None:
    seen = [Interpretation("Video", (("screen", where), ("video", "up"))) for where in ("den", "den", "hall")]
    named = [name for reading in seen for name in fragments.names_in("show me up", reading)]
    (own,) = of_person(named)
    assert (own.text, own.readings, own.people) == ("up", tuple(dict.fromkeys(seen)), 1)
    (elsewhere,) = of_person(fragments.names_in("up please", seen[0]))
    assert elsewhere.readings == (), "what is said around it is no frame"


def test_nothing_is_composed_outside_a_frame(fragments: Fragments) -> None:
    assert compose(fragments, "what time is it") == []
    assert compose(fragments, "show me") == []


def test_a_slot_with_few_values_is_no_name() -> None:
    turns = [
        turn(f"turn {a} the lamp", i * DAY_S, "Device", slots={"action": a}) for i, a in enumerate(["on", "off"] * 9)
    ]
    frames, found = mine_frames([(turns, assess(turns)), (turns, assess(turns))])
    assert not frames and not found


def test_a_slot_whose_values_nobody_says_is_no_name() -> None:
    turns = [turn(f"play number {i}", i * DAY_S, "Play", slots={"id": f"track:{i:04}"}) for i in range(40)]
    frames, found = mine_frames([(turns, assess(turns)), (turns, assess(turns))])
    assert not frames and not found


def test_split_takes_a_text_apart() -> None:
    reading = Interpretation("Call", (("action", "call"), ("name", "mary ann")))
    assert split("call mary ann please", reading, {"name"}) == ("call", "{name}", "please")
    assert split("call her", reading, {"name"}) is None


@pytest.mark.parametrize(
    ("query", "rest"),
    [("call anna please", "anna"), ("call please", None), ("recall anna please", None), ("call anna", None)],
)
def test_a_frame_fits_whole_words_only(query: str, rest: str | None) -> None:
    assert Frame("call", "please", "Call", "{name}", (), 2).rest_of(query) == rest


def test_gaps_are_spoken_with_a_readings_values() -> None:
    reading = Interpretation("Weather", (("city", "St. Paul"), ("state", "minnesota")))
    assert spoken("{city} {state}", reading) == "st paul minnesota"
    assert spoken("{city} in {country}", reading) == "", "a value is missing"
    assert named_slots("{track} by {artist}") == {"track", "artist"}


ARTISTS = [f"{name} {kind}" for name in ("blue", "red", "green") for kind in ("hats", "lions", "ships", "trees",
"rain")]


def _listeners() -> Fragments:
    """Everybody asks for songs, and two for music by a few artists: the assistant tells whose song it is."""
    people = []
    for user in ("ann", "bob"):
        turns = [
            turn(f"play song {i}", i * DAY_S, "Song", user, slots={"track": f"song {i}", "artist": artist})
            for i, artist in enumerate(ARTISTS)
        ]
        turns += [
            turn(f"play music by {artist}", (50 + i) * DAY_S, "Artist", user, slots={"artist": artist})
            for i, artist in enumerate(ARTISTS[:8])
        ]
        people.append(turns)
    frames, found = mine_frames([(turns, assess(turns)) for turns in people])
    return Fragments.build(FrameTable(frames), found, SoundSpace.fit(ARTISTS), 2)


def test_a_name_known_from_other_requests_fits_a_frame_it_was_never_said_in() -> None:
    assert "music by green rain" not in ARTISTS[:8]
    made = compose(_listeners(), "play music by grin rayne")
    best = next(c for c in made if c.fragment.gaps == "{artist}")
    assert best.text == "play music by green rain"
    assert best.reading == Interpretation("Artist", (("artist", "green rain"),)), "all that it says is in its words"


def test_what_the_assistant_adds_is_foretold_only_where_the_name_is_known() -> None:
    fragments = _listeners()
    made = {c.text: c.reading for c in compose(fragments, "play sung seven")}
    assert made["play song 7"] == Interpretation("Song", (("artist", "red ships"), ("track", "song 7")))


def test_a_hypothesis_is_offered_as_it_is_where_its_name_is_known(fragments: Fragments) -> None:
    def besides(query: str, own: Sequence[Fragment] = ()) -> list[str]:
        heard = Heard(query, fragments.table.fitting(query), by_gaps(own), 4, instead=True)
        return [c.text for c in composition.compose([heard], fragments, SOUND, HEARING)[0]]

    assert besides("show me jaws")[0] == "show me jaws" and besides("show me narnia")[:1] != ["show me narnia"]
    assert "show me jaws" not in [c.text for c in compose(fragments, "show me jaws")], "the query itself"
    own = [Fragment(name, "{video}", (("video", name),), (), 1, 1.0) for name in ("narnia", "nadia")]
    assert besides("show me narnia", own)[0] == "show me narnia"
    assert "show me nadia" not in besides("show me narnia", own), "which is for the query alone"


def test_a_name_that_nobody_has_said_is_taken_as_it_stands(fragments: Fragments) -> None:
    assert foretold(fragments.table.fitting("show me narnia")) == Interpretation("Video", (("video", "narnia"),))
    assert foretold(fragments.table.fitting("what time is it")) is None
    other = Frame("show me", "", "Picture", "{picture}", (), 9)
    assert foretold(FrameTable([*fragments.table.frames, other]).fitting("show me narnia")) is None, "which of the two?"
    unsure = Frame("show me", "", "Video", "{video}", None, 9)
    assert foretold(FrameTable([unsure]).fitting("show me narnia")) is None, "the assistant adds to it"
    two = Frame("play", "", "Song", "{track} by {artist}", (), 9)
    assert foretold(FrameTable([two]).fitting("play a by b")) is None, "where does the one end?"


def test_saved_and_opened_again(fragments: Fragments, tmp_path: Path) -> None:
    fragments.save(tmp_path)
    again = Fragments.open(tmp_path)
    query = "show me the manors in spider man"
    assert [c.text for c in compose(again, query)] == [c.text for c in compose(fragments, query)]


def test_what_one_persons_account_adds_to_a_name_is_not_shared() -> None:
    def calls(user: str, numbers: list[str]) -> list:
        return [
            turn(f"call friend {i}", i * DAY_S, "Call", user, slots={"contact": f"friend {i}", "number": number})
            for i, number in enumerate(numbers)
        ]

    people = [calls(user, [f"{prefix}-{i:04}" for i in range(14)]) for user, prefix in (("ann", "555"), ("bob", "777"))]
    frames, found = mine_frames([(turns, assess(turns)) for turns in people])
    assert [f.gaps for f in frames if f.constants is None] == ["{contact}"]
    assert {f.text for f in found} == {f"friend {i}" for i in range(14)}
    assert all(f.people == 2 and not f.readings for f in found)
