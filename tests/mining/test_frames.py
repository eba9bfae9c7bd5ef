"""Frames and names: mined from what worked, composed anew for what was heard wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mining.defects import assess
from mining.frames import mine_frames, split
from retriever import composition
from retriever.composition import Composition, Heard
from retriever.fragments import Fragment, Fragments, by_gaps, named_slots, of_person, spoken
from retriever.frames import Frame, FrameTable, foretold
from retriever.hearing import Hearing, prior_shares
from retriever.interaction import Interaction, Interpretation
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


SONGS = [*zip(FILMS, ARTISTS, strict=False), ("brazil", "blue hats"), ("brazil", "red lions")]


def asks(user: str, *texts: tuple[str, str, str]) -> list[Interaction]:
    """Requests for a song in these words; each with its title and artist."""
    return [
        turn(text, i * DAY_S, "Song", user, slots={"track": track, "artist": artist})
        for i, (text, track, artist) in enumerate(texts)
    ]


def both_ways(user: str) -> list[Interaction]:
    """All songs by their artist, and the first by their title alone too; not the last, which two artists have."""
    full = [(f"play {track} by {artist}", track, artist) for track, artist in SONGS]
    return asks(user, *full, *((f"play {track}", track, artist) for track, artist in SONGS[:11]))


def mined(*people: list[Interaction]) -> tuple[list[Frame], list[Fragment]]:
    return mine_frames([(turns, assess(turns)) for turns in people])


def test_a_name_that_was_never_said_alone_is_asked_for_in_full(tmp_path: Path) -> None:
    frames, found = mined(both_ways("ann"), both_ways("bob"))
    assert {f.gaps: f.constants for f in frames} == {"{track}": None, "{track} by {artist}": ()}
    Fragments.build(FrameTable(frames), found, SOUND, 2).save(tmp_path)
    fragments = Fragments.open(tmp_path)
    assert fragments.shared == sorted(found, key=lambda f: (f.gaps, f.text))

    def made(query: str) -> dict[str, Interpretation | None]:
        return {c.text: c.reading for c in compose(fragments, query) if c.fragment.gaps == "{track}"}

    jaws, titanic = dict(SONGS)["jaws"], dict(SONGS)["titanic"]
    assert made("play chaws")["play jaws"] == Interpretation("Song", (("artist", jaws), ("track", "jaws")))
    assert f"play jaws by {jaws}" not in made("play chaws"), "the words say it all"
    full = f"play titanic by {titanic}"
    assert made("play titan nick")[full] == Interpretation("Song", (("artist", titanic), ("track", "titanic")))
    assert "play titanic" not in made("play titan nick"), "nobody knows what that would give"
    assert full in made("play titanic"), "what is heard right may have to be said in full"
    assert {"play brazil by blue hats", "play brazil by red lions"} <= made("play bra zil").keys()


def test_bundles_of_before_fuller_texts_are_served_as_they_were(tmp_path: Path) -> None:
    frames, found = mined(both_ways("ann"), both_ways("bob"))
    Fragments.build(FrameTable(frames), found, SOUND, 2).save(tmp_path)
    (tmp_path / "fuller.json").unlink()
    made = {c.text: c.reading for c in compose(Fragments.open(tmp_path), "play titan nick")}
    assert made["play titanic"] is None


def test_what_one_person_says_in_full_is_not_shared() -> None:
    def with_band(user: str, band: str) -> list[Interaction]:
        return [*both_ways(user), *asks(user, (f"play the hedge by {band}", "the hedge", band))]

    people = with_band("ann", "my new band"), with_band("bob", "my old band")
    frames, found = mined(*people)
    shared = next(f for f in found if (f.gaps, f.text) == ("{track}", "the hedge"))
    assert (shared.people, shared.fuller) == (2, ()), "both know the name, and each what is theirs"
    fragments = Fragments.build(FrameTable(frames), found, SOUND, 2)
    last = people[0][-1]
    own = of_person(fragments.names_in(last.request.query, last.interpretation))
    made = {c.text: c.own for c in compose(fragments, "play the edge", own)}
    assert made["play the hedge by my new band"] and "play the hedge by my old band" not in made
    assert not any("band" in c.text for c in compose(fragments, "play the edge"))


def test_a_text_whose_meaning_is_not_all_in_its_words_is_no_fuller_one() -> None:
    """Of one song the assistant adds where it plays, too."""
    last = SONGS[12][0]

    def adds(t: Interaction) -> Interaction:
        assert t.interpretation is not None
        more = (*t.interpretation.slots, ("where", "den")) if f" {last} " in t.request.query else t.interpretation.slots
        return replace(t, interpretation=replace(t.interpretation, slots=more))

    people = [[adds(t) for t in both_ways(user)] for user in ("ann", "bob")]
    _, found = mined(*people)
    fuller = {f.text: f.fuller for f in found if f.gaps == "{track}"}
    assert fuller["brazil"] and fuller[SONGS[11][0]] and not fuller[last]


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
