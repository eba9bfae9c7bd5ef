"""Whatever one user does, another's answers are those of a world in which the first was never there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from retriever.preferences import PreferenceKind
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Decision
from rewrite_service.lesson import Lesson
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.base import TurnFeedback
from rewrite_service.store.embedded import EmbeddedStore
from tests.turns import request, turn

QUERIES = ("play go", "play ago", "call my sister", "movie time", "xylocarp", "find a restaurant")
TEXTS = st.sampled_from(QUERIES)
ACTS = st.one_of(
    st.tuples(st.just("ask"), TEXTS),
    st.tuples(st.just("record"), TEXTS, st.sampled_from(["", "film", "call"])),
    st.tuples(st.just("late"), TEXTS),
    st.tuples(st.just("teach"), st.sampled_from(PreferenceKind), TEXTS, st.sampled_from(["anna", "play go"])),
    st.tuples(st.just("take back")),
    st.tuples(st.just("forget")),
)
LIVES = st.lists(st.tuples(st.booleans(), ACTS), min_size=4, max_size=14)
_numbers = itertools.count()


class World:
    """A service and the two who may use it; `answers`: all that the second, who matters, was ever told."""

    def __init__(self, pipeline: Pipeline, first: str, second: str) -> None:
        self._pipeline, self._names = pipeline, (first, second)
        self.answers: list[object] = []

    def live(self, is_second: bool, act: tuple, at_s: int) -> None:
        told = self._do(self._names[is_second], act, at_s)
        if is_second:
            self.answers.append(told)

    def _do(self, user: str, act: tuple, at_s: int) -> object:
        people = self._pipeline.people
        match act:
            case ("ask", query):
                asked = request(query, at_s, user, id=f"i{at_s}")
                # Again at once: what was decided a moment ago must be the same.
                return [without_times(self._pipeline.rewrite(asked, explain=explain)) for explain in (0, 0, 1)]
            case ("record", query, intent):
                slots = {"what": query} if intent else None
                return self._pipeline.record([turn(query, at_s, intent or None, user, slots=slots, id=f"t{query}")])
            case ("late", query):
                late = turn(query, user=user, barge_in=True, explicit=None).feedback
                return self._pipeline.record([], [TurnFeedback(user, f"t{query}", late, "play go")])
            case ("teach", kind, subject, value):
                subject = "restaurant" if kind is PreferenceKind.LIKE else subject
                taught = people.teach(Lesson(user, None, (kind, subject, f"{value} please"), at_s))
                return taught.preference, taught.example
            case ("take back",):
                held = people.preferences(user)
                return held, held and people.remove_preference(user, held[0].preference_id)
            case ("forget",):
                return people.forget(user)
        raise AssertionError(act)


def without_times(decision: Decision) -> str:
    """All that it says; as text, since features that are not known are NaN, which is not even itself."""
    return repr(replace(decision, stage_us={}))


@pytest.fixture(scope="module")
def pipelines(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pipeline]]:
    """Two services with nothing in common."""
    made = [
        Pipeline(
            open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24),
            EmbeddedStore(tmp_path_factory.mktemp("state")),
            decision_cache_bytes=1 << 20,
        )
        for _ in range(2)
    ]
    yield made
    for pipeline in made:
        pipeline.close()


@settings(max_examples=10, phases=[Phase.generate])
@given(LIVES)
def test_nobody_can_tell_whether_another_was_there(pipelines: list[Pipeline], lives: list[tuple[bool, tuple]]) -> None:
    # Ids of one length that begin alike, new ones each time; the second ends as the first begins.
    first, second = f"user {next(_numbers)}", f"user {next(_numbers)}"
    with_first, alone = (World(pipeline, first, second) for pipeline in pipelines)
    for at_s, (is_second, act) in enumerate(lives):
        with_first.live(is_second, act, 20 * at_s)
        if is_second:
            alone.live(is_second, act, 20 * at_s)
    assert with_first.answers == alone.answers


def test_the_second_does_notice_what_they_do_themselves(pipelines: list[Pipeline]) -> None:
    """There is something to tell apart: otherwise the above would pass for nothing."""
    world = World(pipelines[0], "the first", "the second")
    lesson = ("teach", PreferenceKind.ALIAS, "movie time", "play go")
    ask = ("ask", "movie time")
    for act in (ask, lesson, ask, ("forget",), ask):
        world.live(True, act, 0)
    before, _, taught, _, after = world.answers
    assert before == after != taught and "text='play go please'" in taught[0]
