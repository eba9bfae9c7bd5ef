"""A favourite must not swallow what only looks like it: pairs of requests that are alike and mean different things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rapidfuzz import fuzz

from mining.reader import read_log
from mining.sessions import by_user
from retriever.interaction import Interaction, Interpretation, Request
from retriever.normalise import normalise
from rewrite_service.opening import open_pipeline
from rewrite_service.pipeline import Pipeline
from rewrite_service.settings import Settings

DAY_MS = 86_400_000
ALIKE = 60
MANY = 4


class Pair(NamedTuple):
    """A user's favourite, and what others ask with success in words much like it."""

    user: str
    favourite: str
    other: str
    turn: Interaction


@pytest.fixture(scope="module")
def pipeline(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    made = open_pipeline(bundle_dir, Settings(state_dir=tmp_path_factory.mktemp("state")))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pairs(sample_log: Path) -> list[Pair]:
    people = by_user(read_log([sample_log]).turns)
    said_by: dict[str, set[str]] = {}
    example: dict[str, Interaction] = {}
    failed: Counter[str] = Counter()
    for user, turns in people.items():
        for turn in turns:
            text = normalise(turn.request.query)
            if turn.interpretation is None or turn.feedback.barge_in:
                failed[text] += 1
            else:
                said_by.setdefault(text, set()).add(user)
                example[text] = turn
    plain = [t for t, users in said_by.items() if len(users) >= MANY and not failed[t]]
    out = []
    for user, turns in people.items():
        own = Counter(normalise(t.request.query) for t in turns if t.interpretation is not None)
        for favourite, times in own.items():
            meant = _meaning(example.get(favourite))
            out += [
                Pair(user, favourite, other, example[other])
                for other in plain
                if times >= 3 and other not in own and fuzz.ratio(favourite, other) >= ALIKE
                if _meaning(example[other]) != meant
            ]
    return out


def _meaning(turn: Interaction | None) -> Interpretation | None:
    return turn.interpretation if turn else None


def test_a_favourite_never_swallows_what_others_mean_by_like_words(pipeline: Pipeline, pairs: list[Pair]) -> None:
    assert len(pairs) > 100, "the sample log has enough of them"
    swallowed = []
    for n, pair in enumerate(pairs[:: max(1, len(pairs) // 400)]):
        request = Request(
            f"pair-{n}", pair.user, pair.turn.request.timestamp_ms + 40 * DAY_MS, pair.other,
            asr_confidence=0.8, context=pair.turn.request.context,
        )  # fmt: skip
        decision = pipeline.rewrite(request)
        if decision.text == pair.favourite:
            swallowed.append((pair.user, pair.other, pair.favourite, round(decision.probability, 3)))
    assert not swallowed


def test_what_works_for_many_is_seldom_rewritten_at_all(pipeline: Pipeline, pairs: list[Pair]) -> None:
    others = {pair.other: pair for pair in pairs}
    changed = []
    for n, pair in enumerate(others.values()):
        asked = pair.turn.request
        request = Request(
            f"other-{n}", f"nobody-{n}", asked.timestamp_ms, pair.other, asr_confidence=0.8, context=asked.context
        )
        decision = pipeline.rewrite(request)
        if decision.is_rewrite:
            changed.append((pair.other, decision.text))
    assert len(changed) <= 0.02 * len(others) + 1, changed
