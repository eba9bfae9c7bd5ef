"""Who has just said something is taken in beside requests; who does not fit a request is left for the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import until
from structlog.testing import capture_logs

from retriever.interaction import Feedback, Interaction, Request, TurnFeedback
from rewrite_service import user_loader
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.errors import StoreError
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.user_state import UserStates
from tests.turns import turn

HOUR_S = 3600


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 26)


@pytest.fixture
def pipeline(bundle: Bundle, tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(bundle, EmbeddedStore(tmp_path))
    pipeline.warm()
    yield pipeline
    pipeline.close()


def said(user: str, count: int, since: int = 0) -> list[Interaction]:
    return [
        turn(f"play song number {n}", n * HOUR_S, "Song", user, slots={"track": f"song number {n}"})
        for n in range(since, since + count)
    ]


def asking(user: str, at_h: float = 10_000) -> Request:
    return turn("play song numer seven", at_h * HOUR_S, user=user, id=f"{user}-asks").request


def loads(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Filled with each load: whose, and by which thread."""
    seen: list[tuple[str, str]] = []
    real = pipeline._users.load

    def load(user_id: str, *more: object) -> object:
        seen.append((user_id, threading.current_thread().name))
        return real(user_id, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline._users, "load", load)
    return seen


def is_current(pipeline: Pipeline, user: str) -> bool:
    return pipeline._users.look(user, counted=False).state is not None


def test_what_was_recorded_is_taken_in_before_the_next_request(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.record(said("ann", 30))
    pipeline.rewrite(asking("ann"))
    seen, missed = loads(pipeline, monkeypatch), pipeline.cache_figures()["users"]["misses"]
    new = said("ann", 1, 30)
    late = TurnFeedback("ann", new[0].request.interaction_id, Feedback(True))
    for change in (lambda: pipeline.record(new), lambda: pipeline.record([], [late])):
        change()
        assert not is_current(pipeline, "ann")
        until(lambda: is_current(pipeline, "ann"))
    decision = pipeline.rewrite(asking("ann", 10_001), time.monotonic() + 5)
    assert "personal" not in decision.skipped
    assert seen == [("ann", "load-user")] * 2, "the request found it made"
    assert pipeline.cache_figures()["users"]["misses"] == missed, "nor does what was looked up beside it count"


def test_nobody_is_read_who_is_not_at_hand(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.rewrite(asking("ann"))
    seen = loads(pipeline, monkeypatch)
    pipeline.record([*said("bob", 3), *said("ann", 1)])
    until(lambda: is_current(pipeline, "ann"))
    assert {user for user, _ in seen} == {"ann"} and "bob" not in pipeline._users


def test_turns_in_a_row_are_taken_in_together(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_loader, "SETTLE_S", 1.0)
    pipeline.rewrite(asking("ann"))
    seen = loads(pipeline, monkeypatch)
    for one in said("ann", 25):
        pipeline.record([one])
    until(lambda: is_current(pipeline, "ann"))
    assert 1 <= len(seen) <= 3 and len(pipeline._users.load("ann").layer.texts) == 25


def test_a_turn_that_comes_while_the_user_is_loaded_is_not_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.rewrite(asking("ann"))
    real, begun, go_on = pipeline._users.load, threading.Event(), threading.Event()

    def held_up(user_id: str, *more: object) -> object:
        state = real(user_id, *more)  # type: ignore[arg-type]
        begun.set()
        assert go_on.wait(60)
        return state

    monkeypatch.setattr(pipeline._users, "load", held_up)
    pipeline.record(said("ann", 1))
    assert begun.wait(60)
    pipeline.record(said("ann", 1, 1))
    go_on.set()
    until(lambda: is_current(pipeline, "ann"))
    assert len(real("ann").layer.texts) == 2


def test_who_has_said_too_much_to_be_read_in_time_is_there_for_the_next_request(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what a turn takes, not by what users take in general: many with little behind them came before."""
    pipeline.record(said("ann", 1500))
    for _ in range(20):
        pipeline._loader.costs.observe("load", 0.001)
    seen = loads(pipeline, monkeypatch)
    few = pipeline.rewrite(asking("somebody new"), time.monotonic() + 0.5)
    first = pipeline.rewrite(asking("ann"), time.monotonic() + 0.5)
    assert "personal" not in few.skipped and "personal" in first.skipped
    until(lambda: is_current(pipeline, "ann"))
    assert ("ann", "load-user") in seen and len(seen) == 2
    assert "personal" not in pipeline.rewrite(asking("ann", 10_001), time.monotonic() + 5).skipped


def test_what_a_load_costs_is_reckoned_by_the_turn(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    users, costs = pipeline._users, pipeline._loader.costs
    pipeline.record(said("ann", 798))
    stored = users.look("ann").stored
    nobody, archived = users.look("nobody").stored, users.look("cleo").stored
    assert stored is not None and nobody is not None and archived is not None
    assert users.effort("ann", stored) == ("load", 800) and users.effort("nobody", nobody) == ("load", 2)
    stage, turns = users.effort("cleo", archived)
    assert (stage, turns) == ("load", 2 + len(pipeline._bundle.people.user("cleo").texts)) and turns > 10
    monkeypatch.setattr(users, "load", lambda *told: time.sleep(0.4))
    for _ in range(9):
        pipeline._loader._load("ann", stored, 0, "load", 800)
    assert 0.4 <= 800 * costs.expected("load") < 4.0
    monkeypatch.undo()
    users.load("ann")
    assert users.effort("ann", stored)[0] == "refresh"


def test_what_a_load_costs_is_not_forgotten_in_a_quiet_hour(pipeline: Pipeline) -> None:
    costs, hour = pipeline._loader.costs, time.monotonic() + 3600
    for stage in ("load", "refresh", "query"):
        costs.observe(stage, 0.25)
    assert costs.expected("load", hour) == costs.expected("refresh", hour) == 0.25 > costs.expected("query", hour)


def test_a_store_that_fails_ends_no_thread_and_tells_no_name(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.rewrite(asking("ann"))
    real, failing = pipeline._users.look, True

    def look(user_id: str, counted: bool = True) -> object:
        if failing:
            raise StoreError("no disk for ann")
        return real(user_id, counted)

    monkeypatch.setattr(pipeline._users, "look", look)
    with capture_logs() as logs:
        pipeline.record(said("ann", 1))
        until(lambda: logs)
    assert [entry["event"] for entry in logs] == ["loading a user failed"] and "ann" not in str(logs)
    failing = False
    pipeline.record(said("ann", 1, 1))
    until(lambda: is_current(pipeline, "ann"))


def test_after_the_end_nobody_is_loaded_any_more(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.rewrite(asking("ann"))
    pipeline._loader.close(wait=True)
    seen = loads(pipeline, monkeypatch)
    pipeline.record(said("ann", 1))
    time.sleep(3 * user_loader.SETTLE_S)
    assert not seen and not pipeline._loader._due


def test_however_many_wait_is_bounded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2 * user_loader.MAX_LOADING):
        pipeline._loader.later(f"user {n}", 3600.0)
    assert len(pipeline._loader._due) == user_loader.MAX_LOADING


def test_a_user_who_is_forgotten_while_they_are_loaded_is_not_kept(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the load had read before would stay in memory, and no sweep would look for it any more."""
    pipeline.record(said("ann", 5))
    pipeline.rewrite(asking("ann"))
    real, begun, go_on, done = UserStates._archived, threading.Event(), threading.Event(), threading.Event()
    load = pipeline._users.load

    def held_up(*told: object) -> object:
        state = load(*told)  # type: ignore[arg-type]
        done.set()
        return state

    def slow(*told: object) -> object:
        begun.set()
        assert go_on.wait(60)
        return real(*told)  # type: ignore[arg-type]

    pipeline._users.drop(["ann"])  # so that all is read anew
    monkeypatch.setattr(UserStates, "_archived", slow)
    monkeypatch.setattr(pipeline._users, "load", held_up)
    pipeline._loader.later("ann")
    assert begun.wait(60)
    pipeline.people.forget("ann")
    pipeline.people.drop_forgotten()
    go_on.set()
    assert done.wait(60)
    assert "ann" not in pipeline._users
    pipeline.rewrite(asking("ann"))
    state = pipeline._users.cached("ann")
    assert state is not None and "song number" not in repr(state)


def test_who_is_forgotten_waits_no_more(pipeline: Pipeline) -> None:
    pipeline.record(said("ann", 2))
    for user in ("ann", "bob"):
        pipeline._loader.later(user, 3600.0)
    assert pipeline._loader.users() == {"ann", "bob"}
    pipeline.people.forget("ann")
    assert pipeline._loader.users() == {"bob"}
