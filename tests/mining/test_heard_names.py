"""A name that repaired what was heard in one frame repairs it in others; of several people alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mining.defects import assess
from mining.frames import mine_frames
from mining.heard_names import MOST_NAMES, heard_names
from mining.tables import Tables, collect_shared
from retriever import composition
from retriever.composition import Composition, Heard
from retriever.evidence import Repair, TextEvidence
from retriever.fragments import Fragments, HeardNames, NameRepair
from retriever.frames import Frame, FrameTable
from retriever.hearing import Hearing, prior_shares
from retriever.interaction import Channel, Interaction, Interpretation
from retriever.sound import SoundSpace
from tests.turns import DAY_S, turn

NAMES = ["mary", "philip", "sean", "aunt rose", "doctor who", "lee", "kim", "tom", "eve", "ben", "ida", "max", "sue"]
SOUND = SoundSpace.fit(NAMES)
HEARING = Hearing.of_shares(prior_shares())


def said(user: str, verb: str, name: str, day: int) -> Interaction:
    return turn(f"{verb} {name}", day * DAY_S, "Contact", user, slots={"action": verb, "name": name})


def repaired(user: str, verb: str, heard: str, name: str, day: int) -> list[Interaction]:
    """Heard wrong, no answer, and then typed."""
    at = day * DAY_S + 1000
    slots = {"action": verb, "name": name}
    typed = turn(f"{verb} {name}", at + 9, "Contact", user, slots=slots, channel=Channel.APP)
    return [turn(f"{verb} {heard}", at, user=user), typed]


def everybody() -> list[list[Interaction]]:
    out = []
    for user in ("ann", "bob", "cleo"):
        turns = [said(user, verb, name, day) for day, name in enumerate(NAMES) for verb in ("call", "message")]
        out.append(sorted(turns, key=lambda t: t.request.timestamp_ms))
    out[0] += repaired("ann", "call", "shawn", "sean", 40)
    out[0] += repaired("ann", "call", "fill up", "philip", 41)
    out[1] += repaired("bob", "call", "shawn", "sean", 40)
    out[2] += [*repaired("cleo", "message", "shawn", "sean", 40), turn("call shawn", 50 * DAY_S, user="cleo")]
    return out


def mined(people: Sequence[Sequence[Interaction]], min_people: int = 2) -> tuple[Fragments, HeardNames]:
    assessed = [(turns, assess(turns)) for turns in people]
    frames, names = mine_frames(assessed)
    table = FrameTable(frames)
    heard = heard_names(table, collect_shared(assessed), min_people)
    return Fragments.build(table, names, SOUND, min_people, heard), heard


def compose(fragments: Fragments, query: str) -> dict[str, Composition]:
    made = composition.compose([Heard(query, fragments.table.fitting(query))], fragments, SOUND, HEARING)[0]
    return {c.text: c for c in made}


def test_repairs_of_one_name_in_several_frames_are_put_together() -> None:
    _, heard = mined(everybody())
    assert heard.repairs == [NameRepair("{name}", "shawn", "sean", people=2, times=3)]
    assert heard.tries["{name}", "shawn"] == 4
    assert heard.tries["{name}", "sean"] == 9, "right or wrong"


def test_what_was_repaired_in_one_frame_is_tried_in_another() -> None:
    fragments, _ = mined(everybody())
    made = compose(fragments, "message shawn")["message sean"]
    assert (made.repaired, made.own) == (2, False)
    assert made.reading == Interpretation("Contact", (("action", "message"), ("name", "sean")))
    assert compose(fragments, "message mary ann")["message mary"].repaired == 0


def test_one_persons_repair_is_nobody_elses() -> None:
    fragments, _ = mined(everybody())
    assert all(c.repaired == 0 for c in compose(fragments, "message fill up").values())
    alone = [turns for turns in everybody() if turns[0].request.user_id != "bob"]
    fragments, heard = mined(alone)
    assert heard.repairs == [], "one in each of two frames: nobody says that these are two"
    assert all(c.repaired == 0 for c in compose(fragments, "message shawn").values())


def test_however_it_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "MAX_COST", -1.0)
    monkeypatch.setattr(composition, "MAX_SHARED", 0)
    fragments, _ = mined(everybody())
    assert list(compose(fragments, "message shawn")) == ["message sean"]


def test_what_a_text_means_for_one_person_alone_is_nobody_elses() -> None:
    people = everybody()
    for turns, called in zip(people, ("sue", "max", "ida"), strict=True):
        user = turns[0].request.user_id
        slots = {"action": "call", "name": called}
        at = 60 * DAY_S
        turns += [turn("call mum", at, user=user), turn("call mom", at + 9, "Contact", user, slots=slots)]
    _, heard = mined(people)
    assert [r.heard for r in heard.repairs] == ["shawn"], "all three call their mothers, each by another name"
    assert heard.tries["{name}", "mum"] == 3


def test_of_many_names_for_the_same_words_those_of_most_people_stay() -> None:
    table = FrameTable([Frame("call", "", "Contact", "{name}", (), 9)])
    tables = Tables()
    for people, name in enumerate(NAMES[:8], 2):
        row = tables.texts[f"call {name}"] = TextEvidence(f"call {name}")
        reading = Interpretation("Contact", (("name", name),))
        row.understood[False][reading] = row.understood_by[reading] = 9
        tables.repairs["call mumble", row.text] = Repair("call mumble", row.text, 9.0, people)
    found = heard_names(table, tables, 2).repairs
    assert [(r.meant, r.people) for r in found] == [(NAMES[n], n + 2) for n in range(7, 7 - MOST_NAMES, -1)]


def test_saved_and_opened_again(tmp_path: Path) -> None:
    fragments, _ = mined(everybody())
    fragments.save(tmp_path)
    again = Fragments.open(tmp_path)
    assert compose(again, "message shawn")["message sean"].repaired == 2
    fitting = again.table.fitting("call shawn")
    assert again.known(fitting).tolist() == fragments.known(fitting).tolist() == [[0, 0, 4]]
