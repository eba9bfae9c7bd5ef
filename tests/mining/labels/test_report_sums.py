"""The report's figures: what adds up does, and nothing in them is of fewer people than may be named."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.engines.rows import SUMMED
from mining.labels.report_figures import Count, Figures, Split, summed
from mining.labels.report_rows import DAYS, FAILURES, TABLES, WHOLE
from mining.labels.report_sums import figures_of
from mining.labels.turn_label import FailurePoint
from retriever.interaction import Context
from retriever.normalise import normalise
from tests.mining.labels.report_logs import People, failing, figures, label, logs, names_by_people
from tests.turns import DAY_S, turn

ASR = FailurePoint.ASR


@settings(max_examples=25)
@given(logs(), st.integers(2, 4))
def test_nothing_is_named_that_fewer_people_have(people: People, min_people: int) -> None:
    told = repr(figures(people, min_people))
    for name, whose in names_by_people(people).items():
        if len(whose) < min_people:
            assert not re.search(rf"['\" ]{re.escape(name)}['\"]", told), (name, whose)


@settings(max_examples=25)
@given(logs(), st.integers(2, 4))
def test_the_parts_add_up_to_the_whole(people: People, min_people: int) -> None:
    found = figures(people, min_people)
    whole = found.whole.count
    turns = sum(len(turns) for turns, _ in people.values())
    assert whole.turns == turns and found.whole.people == len(people)
    expected = [sum(told.points[n] for _, labels in people.values() for told in labels) for n in range(1, 6)]
    assert whole.by_point == pytest.approx(expected, abs=turns / 2**20)
    for split in (found.intents, found.devices, found.locales):
        assert _sum(split) == whole
        assert all(part.people >= min_people for part in split.parts)
    assert summed(day.count for day in found.days) + found.other_days == whole
    assert all(day.people >= min_people for day in found.days)
    requests = summed(request.count for request in found.requests)
    assert requests + found.other_requests + found.repeats == whole
    for count in (*_counts(found), found.other_requests, found.repeats, found.other_days):
        assert count.turns >= 0 and all(amount >= 0 for amount in count.by_point)
        assert count.defects <= count.turns + len(FAILURES) / 2**20 * turns
    for request in found.requests:
        assert min_people <= request.people <= request.said_by
        assert all(min_people <= meaning.people <= request.people for meaning in request.meanings)
        for n in range(len(FAILURES)):
            meant = sum(meaning.by_point[n] for meaning in request.meanings)
            assert meant <= request.count.by_point[n] + 1e-4


def _sum(split: Split) -> Count:
    return summed(part.count for part in split.parts) + split.others


def _counts(found: Figures) -> list[Count]:
    parts = [part for split in (found.intents, found.devices, found.locales) for part in (*split.parts,)]
    others = [split.others for split in (found.intents, found.devices, found.locales)]
    return [*(part.count for part in parts), *others, *(request.count for request in found.requests)]


def test_one_person_who_repeats_a_thing_makes_it_neither_known_nor_costly() -> None:
    people = {
        "ann": failing("ann", "my secret", "my own song", times=500),
        "bob": failing("bob", "play ago", "play go"),
        "cleo": failing("cleo", "play ago", "play go", times=400),
    }
    found = figures(people)
    assert [request.text for request in found.requests] == ["play ago"]
    assert found.requests[0].count.defects == 11, "ten of Cleo's turns and one of Bob's"
    assert found.requests[0].meanings[0].by_point[FAILURES.index(ASR)] == 11
    assert [(wanted.text, wanted.people, wanted.at(ASR)) for wanted in found.wanted] == [("play go", 2, 11)]
    assert found.other_requests.defects == 10 and found.repeats.defects == 490 + 390
    assert found.whole.count.defects == 901
    assert "secret" not in repr(found) and "own song" not in repr(found)


def test_a_request_that_many_say_and_one_was_failed_by_is_not_among_those_that_fail() -> None:
    people = {user: ([turn("play go", 0, "music.song", user=user)], [label()]) for user in ("ann", "bob", "cleo")}
    people["dan"] = failing("dan", "play go", "play no")
    found = figures(people)
    assert found.requests == () and found.other_requests.defects == 1
    assert "play go" in found.said and "play no" not in found.said


def test_what_most_people_meant_comes_first_and_as_most_understood_it() -> None:
    people = {f"u{n}": failing(f"u{n}", "play ago", "play go" if n < 3 else "play no") for n in range(5)}
    (request,) = figures(people).requests
    assert [(meaning.text, meaning.people) for meaning in request.meanings] == [("play go", 3), ("play no", 2)]
    assert request.meanings[0].interpretation is not None
    assert request.meanings[0].interpretation.slots == (("song", "play go"),)


def test_a_meaning_that_everybody_reads_otherwise_has_no_reading() -> None:
    people = {}
    for user in ("ann", "bob"):
        served = turn("call mum", 10, "phone.call", user=user, slots={"number": f"555-{user}"})
        people[user] = ([turn("call mam", 0, user=user), served], [label(ASR, served), label()])
    (request,) = figures(people).requests
    assert request.meanings[0].text == "call mum" and request.meanings[0].interpretation is None
    assert "555" not in repr(figures(people))


def test_a_text_that_was_only_served_in_place_of_anothers_is_not_what_somebody_said() -> None:
    people = {}
    for user in ("ann", "bob"):
        served = turn("play go by moby", 10, "music.song", user=user)
        served = replace(served, heard="play mow")
        people[user] = ([turn("play ago", 0, user=user), served], [label(ASR, served), label()])
    found = figures(people)
    assert found.requests[0].meanings == () and found.wanted == ()
    assert found.said == {"play ago", "play mow"} and found.whole.count.rewritten == 2
    assert found.whole.count.repaired == 2


def test_labels_that_are_not_sure_enough_name_nothing() -> None:
    people = {}
    for user in ("ann", "bob"):
        served = turn("play go", 10, "music.song", user=user)
        people[user] = ([turn("play ago", 0, user=user), served], [label(ASR, served, sure=0.4), label()])
    assert figures(people).requests[0].meanings == ()


def test_nothing_failed_and_nobody_there() -> None:
    nothing = figures({})
    assert nothing.whole.count == Count() and nothing.days == () and nothing.requests == ()
    fine = figures({user: ([turn("hi", 0, "greet", user=user)], [label()]) for user in ("ann", "bob")})
    assert fine.whole.count.turns == 2 and fine.whole.count.defects == 0 and fine.requests == ()
    assert [part.name for part in fine.intents.parts] == ["greet"]


def test_days_and_parts() -> None:
    people = {
        user: (
            [turn("hi", DAY_S * n, "greet", user=user, context=Context(device_type="tv")) for n in range(3)],
            [label(probability=0.0), label(ASR), label(ASR, probability=0.25)],
        )
        for user in ("ann", "bob")
    }
    found = figures(people | {"cleo": ([turn("hi", DAY_S * 9, "greet", user="cleo")], [label()])})
    assert [(str(day.day), day.people, day.count.defects) for day in found.days] == [
        ("2026-01-06", 2, 0.0),
        ("2026-01-07", 2, 2.0),
        ("2026-01-08", 2, 0.5),
    ]
    assert found.other_days.turns == 1
    assert [(part.name, part.count.turns) for part in found.devices.parts] == [("tv", 6)]
    assert found.devices.others.turns == 1
    assert math.isclose(found.whole.count.rate, 2.5 / 7)


def test_the_engine_itself_leaves_out_what_is_rare() -> None:
    asked: dict[str, int] = {}

    def ask(names: Sequence[str], least: int) -> dict[str, pa.Table]:
        asked.update(dict.fromkeys(names, least))
        return {name: SUMMED.empty_table() for name in names}

    figures_of(ask, 7)
    assert {name for name, least in asked.items() if least < 7} == {*WHOLE, *DAYS}, "which name nothing"
    assert set(asked) == set(TABLES)


def test_texts_are_one_in_normal_form() -> None:
    people = {"ann": failing("ann", "Play AGO!", "play go"), "bob": failing("bob", "play ago", "play go")}
    assert [request.text for request in figures(people).requests] == [normalise("Play AGO!")]
