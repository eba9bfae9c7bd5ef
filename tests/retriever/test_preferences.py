"""What preferences make of a request: only where they apply exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.frames import Frame
from retriever.normalise import normalise
from retriever.preferences import MAX_TAUGHT, NOTHING_TAUGHT, PreferenceKind, Preferences, noun_forms, preference

ALIAS, NAME, LIKE = PreferenceKind.ALIAS, PreferenceKind.NAME, PreferenceKind.LIKE
HELD = Preferences(
    [
        preference(NAME, "my sister", "anna"),
        preference(NAME, "my sister in law", "beth"),
        preference(NAME, "my team", "the warriors"),
        preference(ALIAS, "movie time", "turn on my sister's den light"),
        preference(LIKE, "restaurants", "italian"),
        preference(LIKE, "movie", "funny"),
        preference(LIKE, "movie", "old"),
    ]
)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("call my sister", "call anna"),
        ("call my sister on my sister's phone", "call anna on anna's phone"),
        ("call my sister in law", "call beth"),
        ("call my sisters", None),
        ("call sister", None),
        ("did my team win", "did the warriors win"),
        ("did my favourite team win", "did the warriors win"),
        ("movie time", "turn on anna's den light"),
        ("movie time trivia", None),
        ("find a restaurant", "find an italian restaurant"),
        ("find some restaurants for my sister", "find some italian restaurants for anna"),
        ("restaurants nearby", "italian restaurants nearby"),
        ("restaurant nearby", None),
        ("find a chinese restaurant", None),
        ("call the restaurant", None),
        ("what is the best restaurant", None),
        ("play jazz", None),
    ],
)
def test_exactly(query: str, wanted: str | None) -> None:
    made = HELD.apply(query)
    assert [m.text for m in made] == ([] if wanted is None else [wanted])
    assert all(m.exact for m in made)


def test_tastes_that_compete_are_no_instruction() -> None:
    made = HELD.apply("play a movie")
    assert {m.text for m in made} == {"play a funny movie", "play an old movie"} and not any(m.exact for m in made)


def test_a_slot_is_open_where_the_logs_requests_have_a_name() -> None:
    frame = Frame("book me", "restaurant at eight", "book", "{cuisine}", None, 9)
    assert HELD.apply("book me restaurant at eight") == []
    assert [m.text for m in HELD.apply("book me restaurant at eight", [frame])] == [
        "book me italian restaurant at eight"
    ]


def test_an_id_is_what_is_replaced() -> None:
    assert preference(NAME, "My Sister!", "anna") == preference(NAME, "my sister", "Anna")
    ids = [preference(NAME, "my sister", value).preference_id for value in ("anna", "beth")]
    assert ids[0] == ids[1] != preference(ALIAS, "my sister", "anna").preference_id
    assert len({preference(LIKE, "movie", value).preference_id for value in ("old", "funny")}) == 2


def test_no_request_grows_beyond_what_a_request_may_be() -> None:
    long = Preferences([preference(NAME, "x", "y" * 500)])
    assert [len(m.text) for m in long.apply("x")] == [500] and long.apply("x x") == []


def test_nouns_in_the_plural() -> None:
    same = [("restaurant", "restaurants"), ("movie", "movies"), ("party", "parties"), ("dish", "dishes")]
    assert all(set(noun_forms(a)) & set(noun_forms(b)) for a, b in same)
    assert noun_forms("glass") == ["glass"] and noun_forms("bus") == ["bus"]


VOCABULARY = "a an some my favourite sister sister's team movie movies time in law restaurant anna"
WORD = st.sampled_from(VOCABULARY.split())
WORDS = st.lists(WORD, min_size=1, max_size=7).map(" ".join)
PHRASES = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
TAUGHT = st.lists(
    st.builds(preference, st.sampled_from([ALIAS, NAME]), PHRASES, PHRASES)
    | st.builds(preference, st.just(LIKE), WORD, PHRASES),
    max_size=5,
)


@given(TAUGHT, WORDS)
def test_whatever_is_taught_gives_a_few_other_texts_in_normal_form(held: list, query: str) -> None:
    made = Preferences(held).apply(query)
    assert len(made) <= MAX_TAUGHT and query not in {m.text for m in made}
    assert len({m.text for m in made}) == len(made)
    for m in made:
        assert m.text == normalise(m.text) and m.preferences and set(m.preferences) <= set(held)
    assert sum(m.exact for m in made) == (len(made) == 1)
    assert Preferences(held).apply(query) == made and NOTHING_TAUGHT.apply(query) == []
