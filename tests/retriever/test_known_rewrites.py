"""Rewrites computed ahead: what is kept of them, and for which texts and devices they are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mining.chain_counts import TURN, ChainRow, Kind, State, reading_key, sum_rows
from mining.chains import Chains
from mining.known_rewrites import mine_known_rewrites
from retriever.evidence import Counts, TextEvidence
from retriever.global_layer import GlobalLayer
from retriever.interaction import Interpretation
from retriever.known_rewrites import KnownRewrite, KnownRewrites

SONG, FILM = Interpretation("Song", (("title", "go"),)), Interpretation("Film", (("title", "go"),))
RARE = "play the secret of ann"


class NoEncoder:
    def encode(self, texts: list[str]) -> np.ndarray:
        return np.zeros((len(texts), 384), np.float32)


def said(text: str, without_screen: Interpretation, on_screen: Interpretation, people: int = 2) -> TextEvidence:
    readings = Counts({without_screen: 2}), Counts({on_screen: 2})
    by = Counts({reading: people for reading in (without_screen, on_screen)})
    return TextEvidence(text, 4.0, 4.0, people, 1, readings=readings, understood=readings, understood_by=by)


@pytest.fixture(scope="module")
def shared() -> GlobalLayer:
    texts = [said("watch the movie go", FILM, FILM), said("play go", SONG, FILM), said(RARE, SONG, SONG, people=1)]
    return GlobalLayer.build({e.text: e for e in texts}, (), {}, {}, {}, NoEncoder())


def chains(target: str, meant: Interpretation, source: State, *said_rows: ChainRow, people: int = 2) -> Chains:
    """All who say `source` are served by `target` in the end."""
    to = State(target, reading_key(meant))
    rows = [
        ChainRow(Kind.MOVED, *source, *to, 4 * TURN),
        ChainRow(Kind.SERVED, *to, "", "", 4 * TURN),
        ChainRow(Kind.PEOPLE, *source, *to, people * TURN),
    ]
    return Chains.of_sums(sum_rows([*rows, *(said_rows or (on_device(source, False), on_device(source, True)))]))


def on_device(state: State, screen: bool, turns: int = 4) -> ChainRow:
    return ChainRow(Kind.SAID_ON_SCREEN if screen else Kind.SAID, *state, "", "", turns * TURN)


AGO = State("play ago")


def test_a_rewrite_is_found_by_the_text_and_the_kind_of_device(shared: GlobalLayer, tmp_path: Path) -> None:
    made = mine_known_rewrites(chains("watch the movie go", FILM, AGO), shared, 2)
    made.save(tmp_path)
    for known in (made, KnownRewrites.open(tmp_path, shared)):
        for screen in (False, True):
            found = known.find("play ago", screen)
            assert found == KnownRewrite("watch the movie go", 0.0, pytest.approx(1.0), 2, 1.0)
        assert known.find("play a go", True) is None and known.find("", False) is None


def test_a_target_that_means_something_else_on_the_device_is_none(shared: GlobalLayer) -> None:
    """"play go" is a song on a speaker and a film on a display."""
    made = mine_known_rewrites(chains("play go", SONG, AGO), shared, 2)
    assert made.find("play ago", False) is not None and made.find("play ago", True) is None


def test_a_text_that_is_understood_otherwise_on_the_device_is_none(shared: GlobalLayer) -> None:
    song = State("play ago", reading_key(SONG))
    of = chains("watch the movie go", FILM, AGO, on_device(AGO, False), on_device(song, True), on_device(AGO, True, 1))
    made = mine_known_rewrites(of, shared, 2)
    assert made.find("play ago", False) is not None and made.find("play ago", True) is None


def test_its_score_falls_with_what_else_the_text_may_mean_and_with_few_people(shared: GlobalLayer) -> None:
    song = State("play ago", reading_key(SONG))
    of = chains("watch the movie go", FILM, AGO, on_device(AGO, False, 3), on_device(song, False, 1))
    found = mine_known_rewrites(of, shared, 2).find("play ago", False)
    assert found is not None and found.share == 0.75 and found.score == pytest.approx(0.75 * 2 / 3)
    assert KnownRewrite("a", 0.2, 0.9, 9).score == pytest.approx(0.7 * 0.9)


def test_nobody_is_offered_what_one_person_said(shared: GlobalLayer, tmp_path: Path) -> None:
    """Not even where several went there, as of a build with other bounds; and of sources there are hashes alone."""
    assert not len(mine_known_rewrites(chains(RARE, SONG, AGO), shared, 2))
    assert not len(mine_known_rewrites(chains("watch the movie go", FILM, AGO, people=1), shared, 2))
    assert not len(KnownRewrites.build({(AGO.text, False): KnownRewrite(RARE, 0.0, 1.0, 5)}, shared))
    mine_known_rewrites(chains("watch the movie go", FILM, AGO), shared, 2).save(tmp_path)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert written and b"play ago" not in written and b"watch" not in written
