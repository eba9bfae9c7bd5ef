"""Which pairs of texts a recogniser may learn from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.labels.transcripts import transcribes


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("text shawn", "text sean"),
        ("play lucky by radio head", "play lucky by radiohead"),
        ("turn on the hall weigh light", "turn on the hallway light"),
        ("play music by cold plane", "play music by coldplay"),
    ],
)
def test_what_sounds_alike_is_a_transcript(heard: str, said: str) -> None:
    assert transcribes(heard, said)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("turn it off", "turn it off"),  # nothing to learn
        ("turn it off", "turn off the porch light"),  # meant, not said
        ("how about athens", "what's the weather in athens georgia"),
        ("play some where", "play somewhere by somebody else"),  # said in full the second time
        ("play the movie train spots", "watch the movie trainspotting"),  # another frame
        ("", "play"),
        ("play", ""),
    ],
)
def test_what_was_said_otherwise_is_none(heard: str, said: str) -> None:
    assert not transcribes(heard, said)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_are_judged(heard: str, said: str) -> None:
    assert transcribes(heard, said) in (True, False)
    assert not transcribes(heard, heard)
