"""Who is let in, by the time it would take; with a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite_service.backlog import Backlog
from rewrite_service.errors import Momentary, Overloaded


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ran(seconds: float, times: int = 200) -> tuple[Backlog, Clock]:
    """A backlog whose jobs have taken so long each."""
    clock = Clock()
    backlog = Backlog(clock)
    for number in range(times):
        run(backlog, clock, number, seconds)
    assert backlog.run_s == pytest.approx(seconds)
    return backlog, clock


def run(backlog: Backlog, clock: Clock, job: object, seconds: float) -> None:
    backlog.join(job)
    backlog.begin(job)
    clock.now += seconds
    backlog.done()


def admitted(backlog: Backlog, patience_s: float | None, most_s: float = 1000.0) -> bool:
    try:
        backlog.admit(patience_s, most_s)
    except Overloaded:
        return False
    return True


def test_so_many_are_let_in_as_can_be_done_in_time() -> None:
    backlog, _ = ran(0.004)
    let_in = 0
    while admitted(backlog, 0.0201):
        backlog.join(let_in)
        let_in += 1
    assert let_in == 5, "five times 4 ms are 20 ms"
    assert admitted(backlog, 0.1), "another, who has more time"
    backlog.leave(0)
    assert admitted(backlog, 0.0201), "one has gone, its place is free"


def test_an_idle_worker_takes_any_job() -> None:
    """However slow jobs were: otherwise nobody would ever learn that they are quick again."""
    backlog, clock = ran(5.0)
    assert admitted(backlog, 0.001)
    for number in range(40):
        assert admitted(backlog, 0.001)
        run(backlog, clock, number, 0.001)
    backlog.join("a")
    assert admitted(backlog, 0.1), "40 quick ones on, the slow ones are all but forgotten"


def test_what_is_being_worked_on_counts_by_what_is_left_of_it() -> None:
    backlog, clock = ran(0.010)
    backlog.join("a")
    backlog.begin("a")
    assert not admitted(backlog, 0.015)
    clock.now += 0.006
    assert admitted(backlog, 0.015), "4 ms are left, and 10 ms of one's own"
    clock.now += 0.004
    assert backlog.rest_s() == pytest.approx(0)


def test_one_that_hangs_is_waited_for_by_fewer_and_fewer() -> None:
    backlog, clock = ran(0.002)
    backlog.join("a")
    backlog.begin("a")
    clock.now += 0.002 + 0.050
    assert not admitted(backlog, 0.020)
    assert admitted(backlog, 1.0)
    clock.now += 2.0
    assert not admitted(backlog, 1.0)
    backlog.done()
    assert admitted(backlog, 0.020)


def refusal(backlog: Backlog, patience_s: float | None, most_s: float = 1000.0) -> type[Overloaded]:
    with pytest.raises(Overloaded) as raised:
        backlog.admit(patience_s, most_s)
    return raised.type


def test_one_that_hangs_is_told_from_too_many() -> None:
    backlog, clock = ran(0.004)
    backlog.join("a")
    backlog.begin("a")
    clock.now += 0.050
    for _ in range(100):
        assert refusal(backlog, 0.020) is Momentary, "however many ask meanwhile"
    for job in range(4):
        backlog.join(job)
    assert refusal(backlog, 0.020) is Overloaded, "four before it are too many, however quick the first one were"
    assert refusal(backlog, None, 0.010) is Overloaded


def test_a_burst_is_told_from_too_much() -> None:
    backlog, _ = ran(0.004)
    for job in range(5):
        backlog.join(job)
    assert [refusal(backlog, 0.020) for _ in range(9)] == [Momentary] * 9
    assert {refusal(backlog, 0.020) for _ in range(50)} == {Overloaded}
    assert refusal(backlog, 0.020, 0.010) is Overloaded, "the queue is full"
    for job in range(5):
        backlog.leave(job)
    for _ in range(60):
        assert admitted(backlog, 0.020)
    backlog.join("a")
    assert refusal(backlog, 0.005) is Momentary, "it is over"


def test_a_full_queue_is_no_burst() -> None:
    backlog, _ = ran(0.010)
    for job in range(5):
        backlog.join(job)
    assert refusal(backlog, 60.0, 0.040) is Overloaded
    assert refusal(backlog, None, 0.040) is Overloaded


@pytest.mark.parametrize(("every", "expected"), [(50, Momentary), (6, Momentary), (3, Overloaded), (1, Overloaded)])
def test_only_who_asks_too_much_is_refused(every: int, expected: type[Overloaded]) -> None:
    """One of so many finds no time: `Momentary` as long as these are few."""
    backlog, clock = ran(0.004)
    told = []
    for n in range(400):
        if n % every:
            assert admitted(backlog, 0.001), "an idle worker takes any"
            continue
        backlog.join(n)
        backlog.begin(n)
        backlog.join("behind")
        told.append(refusal(backlog, 0.001))
        backlog.leave("behind")
        clock.now += 0.004
        backlog.done()
    assert set(told[-5:]) == {expected}
    assert expected is Overloaded or set(told) == {Momentary}


def test_patience_beyond_the_bound_does_not_help() -> None:
    backlog, _ = ran(0.010)
    for job in range(5):
        assert admitted(backlog, None, 0.0401)
        backlog.join(job)
    assert not admitted(backlog, None, 0.0401)
    assert not admitted(backlog, 60.0, 0.0401)


def test_the_refusal_says_how_long_the_wait_would_be() -> None:
    backlog, _ = ran(0.010)
    for job in range(3):
        backlog.join(job)
    with pytest.raises(Overloaded, match="about 30 ms") as raised:
        backlog.admit(0.020, 1.0)
    assert raised.value.retry_after_s == pytest.approx(0.030)


def test_what_is_no_request_says_nothing_of_requests() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.join("load")
    backlog.begin("load")
    clock.now += 30
    backlog.done(counts=False)
    assert backlog.run_s == 0 and backlog.rest_s() == 0


@given(st.lists(st.sampled_from(["join", "begin", "leave", "done"]), max_size=60))
def test_whoever_leaves_first_and_how_often_none_is_counted_twice(steps: list[str]) -> None:
    """The caller gives up, the worker begins, in any order: what waits is what has joined and done neither."""
    backlog, waiting, next_job = Backlog(Clock()), [], 0
    for step in steps:
        if step == "join":
            backlog.join(next_job)
            waiting.append(next_job)
            next_job += 1
        elif step == "done":
            backlog.done()
        elif waiting:
            job = waiting.pop(0)
            getattr(backlog, step)(job)
            backlog.leave(job)
            backlog.leave(job)
        assert len(backlog) == len(waiting)
