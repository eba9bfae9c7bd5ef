"""Which sentences teach what, by what a log knows of names and requests; and which teach nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.teaching import Lexicon, understand
from rewrite_service.bundle import encoder_of, open_bundle


@pytest.fixture(scope="module")
def lexicon(bundle_dir: Path) -> Lexicon:
    knowledge = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 20).knowledge
    return Lexicon(knowledge.shared, knowledge.fragments, knowledge.sound)


@pytest.mark.parametrize(
    ("said", "taught"),
    [
        ("my sister is called anna", ("name", "my sister", "anna")),
        ("Remember that my sister's name is Anna.", ("name", "my sister", "anna")),
        ("the name of my dog is rex", ("name", "my dog", "rex")),
        ("my mother-in-law is called joan", ("name", "my mother in law", "joan")),
        ("by the boss I mean Carol", ("name", "the boss", "carol")),
        ("my favourite team is the lakers", ("name", "my team", "the lakers")),
        ("arsenal is my favorite team", ("name", "my team", "arsenal")),
        # What is no name in any other sense may be one that the log knows.
        ("my sister is carol", ("name", "my sister", "carol")),
        ("carol is my sister", ("name", "my sister", "carol")),
        ("my sister is tired", None),
        ("my phone is broken", None),
        # What one is a fan of: by what the log knows it as, else a team.
        ("i'm a warriors fan", ("name", "my team", "the warriors")),
        ("i am a huge fan of arsenal", ("name", "my team", "arsenal")),
        ("i'm a radiohead fan", ("name", "my artist", "radiohead")),
        ("i love the beatles", ("name", "my artist", "the beatles")),
        ("i like taylor swift", ("name", "my artist", "taylor swift")),
        ("i like italian restaurants", ("like", "restaurants", "italian")),
        ("i really like thai food best", ("like", "food", "thai")),
        ("i like jazz music", ("like", "music", "jazz")),
        ("i don't like jazz music", None),
        ("i like my coffee black", None),
        ("i like to run", None),
        ("i like it", None),
        ("i'm a fan", None),
        # Where the request begins is said, or told by how requests begin.
        ("when i say “lights out”, turn off the bedroom light", ("alias", "lights out", "turn off the bedroom light")),
        ("whenever i say bored: tell me a joke", ("alias", "bored", "tell me a joke")),
        ("if i say boring then tell me a joke", ("alias", "boring", "tell me a joke")),
        ("when i say movie time turn on the den light", ("alias", "movie time", "turn on the den light")),
        ("when i say let's play call carol", ("alias", "let's play", "call carol")),
        ("movie time means turn on the den light", ("alias", "movie time", "turn on the den light")),
        ("when i say xyzzy frobnicate the foo", None),
        ("when i say xyzzy, frobnicate the foo", ("alias", "xyzzy", "frobnicate the foo")),
        # Requests and questions teach nothing.
        ("call my sister", None),
        ("is anna my sister", None),
        ("what does love mean", None),
        ("what is my name", None),
        ("who is my favourite artist", None),
        ("play the song my name is", None),
        ("", None),
        ("...", None),
        ("my sister is called my sister", None),
    ],
)
def test_what_is_understood(lexicon: Lexicon, said: str, taught: tuple[str, str, str] | None) -> None:
    found = understand(said, lexicon)
    assert (found and (found.kind, found.subject, found.value)) == taught
    assert found is None or found.text == said


FORMS = st.sampled_from(
    ["when i say ", "my", " is called ", " is my ", "i like ", "i'm a ", " fan", " means ", "by ", " i mean ", ", "]
)


@given(st.lists(FORMS | st.text(max_size=8), max_size=12).map("".join))
def test_anything_may_be_said(lexicon: Lexicon, said: str) -> None:
    found = understand(said, lexicon)
    assert found is None or (found.subject and found.value and found.subject != found.value)


@pytest.mark.parametrize("part", ["my is my ", "by by by i ", "when i say when ", "then please ", "i like ", '" "'])
def test_the_longest_text_takes_no_long_time(lexicon: Lexicon, part: str) -> None:
    said = {"when i say when ": "when i say "}.get(part, "") + part * (1000 // len(part))
    took = []
    for _ in range(4):
        began = time.process_time()
        understand(said, lexicon)
        took.append(time.process_time() - began)
    assert min(took) < 0.25
