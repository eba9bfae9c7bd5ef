"""The servicer around a pipeline that breaks: it fails open, in time, and says nothing of anybody."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog
from conftest import PATIENCE_S, a_request, a_turn

from rewrite_service.access.door import Access
from rewrite_service.call import way_back_s
from rewrite_service.decision import Decision, Reason
from rewrite_service.errors import StoreError
from rewrite_service.grpc_errors import PUSHBACK_KEY
from rewrite_service.logs import configure_logging
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.servicer import RewriteServicer
from rewrite_service.settings import Settings

SECRET = "tangerine"
REMEMBERED = "play it again"
AT_HAND = "play it once more"


class FaultyPipeline:
    """Does what a test asks for in the place of real work."""

    bundle_version = "v-test"

    def __init__(self, rewrite: Callable[[Any], Decision], record: Callable[[], int] = lambda: 0) -> None:
        self._rewrite, self._record = rewrite, record
        self.closed = False
        self.deadlines: list[float | None] = []

    def rewrite(self, request: Any, deadline: float | None = None, *, explain: bool = False) -> Decision:
        self.deadlines.append(deadline)
        return self._rewrite(request)

    recall_s = 0.0

    def at_hand(self, request: Any) -> Decision | None:
        return passes(request) if request.query == AT_HAND else None

    def remembered(self, request: Any, deadline: float | None = None) -> Decision | None:
        return passes(request) if request.query == REMEMBERED else None

    def record(self, turns: Any, feedback: Any = ()) -> int:
        return self._record()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    stream = io.BytesIO()
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    configure_logging(Settings(), stream)
    yield stream
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@asynccontextmanager
async def serving(
    pipeline: FaultyPipeline, access: Access | None = None, **settings: Any
) -> AsyncIterator[rewrite_pb2_grpc.RewriteServiceStub]:
    servicer = RewriteServicer(Settings(**settings), access)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((servicer.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await servicer.open(lambda: pipeline)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield rewrite_pb2_grpc.RewriteServiceStub(channel)
    await server.stop(None)
    servicer.close(5)
    assert pipeline.closed


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE_S))


async def until(reached: Callable[[], object]) -> None:
    """For as long as `run` lets it."""
    while not reached():
        await asyncio.sleep(0.005)


def breaks(request: Any) -> Decision:
    raise KeyError(request.query)


def passes(request: Any) -> Decision:
    return Decision(None, Reason.NO_CANDIDATES, bundle_version="v-test")


def test_a_pipeline_that_breaks_is_a_pass(log: io.BytesIO) -> None:
    async def test() -> None:
        async with serving(FaultyPipeline(breaks)) as stub:
            reply = await stub.Rewrite(a_request(query=f"play {SECRET}"))
            assert (reply.decision, reply.reason) == (pb.DECISION_PASS, pb.REASON_INTERNAL_ERROR)
            explained = await stub.Explain(pb.ExplainRequest(request=a_request(query=f"play {SECRET}")))
            assert explained.response.reason == pb.REASON_INTERNAL_ERROR

    run(test)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    failed = [line for line in lines if line["event"] == "failed open"]
    assert [line["error"] for line in failed] == ["KeyError", "KeyError"]
    assert any("breaks" in frame for frame in failed[0]["frames"])
    assert SECRET not in log.getvalue().decode()


def test_a_call_that_cannot_be_counted_is_answered(log: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr("rewrite_service.servicer.count_call", fails)

    async def test() -> None:
        async with serving(FaultyPipeline(passes), metrics_port=0) as stub:
            assert (await stub.Rewrite(a_request())).reason == pb.REASON_NO_CANDIDATES
            with pytest.raises(grpc.RpcError) as refused:
                await stub.Rewrite(a_request(user_id=""))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(test)
    assert log.getvalue().count(b"a call was not counted") == 2
    assert SECRET not in log.getvalue().decode()


def test_a_tokens_file_without_tokens_lets_nobody_in(log: io.BytesIO) -> None:
    """It is not the same as none: somebody has withdrawn the last one."""

    async def test() -> None:
        async with serving(FaultyPipeline(passes), Access([])) as stub:
            assert await _code(stub.Rewrite(a_request())) is grpc.StatusCode.UNAUTHENTICATED

    run(test)


def test_a_reply_that_cannot_be_sent_is_a_pass(log: io.BytesIO) -> None:
    async def test() -> None:
        unsendable = Decision("play \ud800", Reason.CONFIDENT)
        async with serving(FaultyPipeline(lambda _: unsendable)) as stub:
            reply = await stub.Rewrite(a_request())
            assert (reply.decision, reply.reason, reply.text) == (pb.DECISION_PASS, pb.REASON_INTERNAL_ERROR, "")

    run(test)


def test_a_pipeline_that_is_late_is_a_pass_in_time(log: io.BytesIO) -> None:
    release = threading.Event()

    def late(request: Any) -> Decision:
        release.wait(PATIENCE_S)
        return passes(request)

    async def test() -> None:
        pipeline = FaultyPipeline(late)
        async with serving(pipeline, default_deadline_ms=100) as stub:
            took = []
            for _ in range(3):
                begun = time.monotonic()
                replies = await asyncio.gather(*(stub.Rewrite(a_request()) for _ in range(5)))
                took.append(time.monotonic() - begun)
                assert {reply.reason for reply in replies} == {pb.REASON_OUT_OF_TIME}
            assert min(took) < 1
            release.set()
            assert (await stub.Rewrite(a_request(), timeout=60)).reason == pb.REASON_NO_CANDIDATES
            # What nobody waited for any more was not done: only the first and the last reached the pipeline.
            assert len(pipeline.deadlines) == 2

    run(test)


def test_three_times_what_it_bears_is_shed_at_the_door_and_over_in_a_moment(log: io.BytesIO) -> None:
    """Three come for each that is worked on. What is let in is decided, and mostly in time."""
    deadline_s, work_s, times, asked_in_all = 0.2, 0.02, 3, 300
    worked = 0

    def work(request: Any) -> Decision:
        nonlocal worked
        time.sleep(work_s)
        worked += 1
        return passes(request)

    async def test() -> None:
        answers: list[str] = []

        async def ask(stub: Any) -> None:
            try:
                answers.append(pb.Reason.Name((await stub.Rewrite(a_request())).reason))
            except grpc.aio.AioRpcError as error:
                assert int(dict(error.trailing_metadata())[PUSHBACK_KEY]) >= 0
                answers.append(error.code().name)

        async with serving(FaultyPipeline(work), default_deadline_ms=1000 * deadline_s) as stub:
            for _ in range(20):
                await ask(stub)
            answers.clear()
            asked, before = list[asyncio.Task[None]](), worked
            while len(asked) < asked_in_all:
                asked.append(asyncio.create_task(ask(stub)))
                await until(lambda: len(asked) < times * (worked - before + 4) or all(task.done() for task in asked))
            await asyncio.gather(*asked)
            during = Counter(answers)
            answers.clear()
            await asyncio.sleep(2 * deadline_s)
            for _ in range(20):
                await ask(stub)
            after = Counter(answers)
        assert set(during) <= {"REASON_NO_CANDIDATES", "RESOURCE_EXHAUSTED", "REASON_OUT_OF_TIME"}
        assert during["RESOURCE_EXHAUSTED"] > 50, during
        assert during["REASON_NO_CANDIDATES"] > 15, during
        assert during["REASON_OUT_OF_TIME"] < during["RESOURCE_EXHAUSTED"], during
        assert after["REASON_NO_CANDIDATES"] > 15, after

    run(test)


def test_what_is_remembered_is_answered_when_there_is_time_for_nothing_else(log: io.BytesIO) -> None:
    release = threading.Event()

    def hangs(request: Any) -> Decision:
        release.wait(PATIENCE_S)
        return passes(request)

    async def test() -> None:
        async with serving(FaultyPipeline(hangs), default_deadline_ms=100, explain_deadline_ms=300) as stub:
            assert (await stub.Rewrite(a_request())).reason == pb.REASON_OUT_OF_TIME
            await asyncio.sleep(0.1)  # it has hung for longer than the next has time
            passed = [await stub.Rewrite(a_request()) for _ in range(3)]
            assert {p.reason for p in passed} == {pb.REASON_OUT_OF_TIME}, "not refused: it is not too much"
            assert min(p.stage_us["total"] for p in passed) < 50_000, "at once, though it had 100 ms"
            assert (await stub.Rewrite(a_request(query=REMEMBERED))).reason == pb.REASON_NO_CANDIDATES
            explained = pb.ExplainRequest(request=a_request(query=REMEMBERED))
            assert (await stub.Explain(explained)).response.reason == pb.REASON_OUT_OF_TIME
            release.set()

    run(test)


def test_what_is_at_hand_waits_for_nobody(log: io.BytesIO) -> None:
    release = threading.Event()

    def hangs(request: Any) -> Decision:
        release.wait(PATIENCE_S)
        return passes(request)

    async def test() -> None:
        async with serving(FaultyPipeline(hangs), default_deadline_ms=10_000, explain_deadline_ms=100) as stub:
            waiting = [asyncio.ensure_future(stub.Rewrite(a_request())) for _ in range(3)]
            await asyncio.sleep(0.1)
            answer = await stub.Rewrite(a_request(query=AT_HAND))
            assert answer.reason == pb.REASON_NO_CANDIDATES and not any(w.done() for w in waiting)
            assert answer.stage_us["queue"] == 0
            explained = await stub.Explain(pb.ExplainRequest(request=a_request(query=AT_HAND)))
            assert explained.response.reason == pb.REASON_OUT_OF_TIME, "an explanation is made for whoever asks for it"
            release.set()
            await asyncio.gather(*waiting)

    run(test)


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(0.0, 0.0), (0.002, 0.0002), (0.02, 0.001), (0.2, 0.01), (0.4, 0.02), (5.0, 0.25), (60.0, 0.25)],
)
def test_a_patient_client_leaves_more_for_the_way_back(remaining: float, expected: float) -> None:
    assert way_back_s(remaining) == pytest.approx(expected)


def test_the_deadline_is_the_clients_or_the_settings(log: io.BytesIO) -> None:
    async def test() -> None:
        pipeline = FaultyPipeline(passes)
        async with serving(pipeline, default_deadline_ms=20_000, explain_deadline_ms=40_000) as stub:
            begun = time.monotonic()
            await stub.Rewrite(a_request())
            await stub.Explain(pb.ExplainRequest(request=a_request()))
            left = [deadline - begun for deadline in pipeline.deadlines]
            assert left == [pytest.approx(20, abs=9), pytest.approx(40, abs=9)]
            beyond = []
            for _ in range(3):  # at one of them the machine may stop just where the time that is left was asked for
                await stub.Rewrite(a_request(), timeout=5)
                beyond.append(pipeline.deadlines[-1] - time.monotonic())
            assert 0 < min(beyond) <= 5 - 0.2, "the way back is kept free, however long the call was on its way here"

    run(test)


def test_a_slow_disk_holds_up_no_rewrite(log: io.BytesIO) -> None:
    release = threading.Event()

    async def test() -> None:
        pipeline = FaultyPipeline(passes, lambda: release.wait(PATIENCE_S) and 1)
        async with serving(pipeline, max_records_in_flight=2, max_in_flight=2) as stub:
            recording = [
                asyncio.create_task(_code(stub.Record(pb.RecordRequest(interactions=[a_turn()])))) for _ in range(4)
            ]
            await until(lambda: sum(call.done() for call in recording) == 2)
            assert (await stub.Rewrite(a_request(), timeout=60)).reason == pb.REASON_NO_CANDIDATES
            release.set()
            codes = sorted(code.name for code in await asyncio.gather(*recording))
            assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]

    run(test)


def test_an_explanation_holds_up_no_rewrite(log: io.BytesIO) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(request: Any) -> Decision:
        if request.query == "why":
            begun.set()
            release.wait(PATIENCE_S)
        return passes(request)

    async def test() -> None:
        async with serving(FaultyPipeline(slow)) as stub:
            explaining = asyncio.create_task(
                _code(stub.Explain(pb.ExplainRequest(request=a_request(query="why")), timeout=60))
            )
            await until(begun.is_set)
            assert (await stub.Rewrite(a_request(), timeout=60)).reason == pb.REASON_NO_CANDIDATES
            assert not explaining.done()
            release.set()
            assert (await explaining).name == "OK"

    run(test)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError(f"a row of {SECRET}"), grpc.StatusCode.UNAVAILABLE),
        (ValueError(f"play {SECRET}"), grpc.StatusCode.INTERNAL),
    ],
)
def test_a_record_that_fails_is_an_opaque_error(log: io.BytesIO, error: Exception, code: grpc.StatusCode) -> None:
    def fail() -> int:
        raise error

    async def test() -> None:
        async with serving(FaultyPipeline(passes, fail)) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.Record(pb.RecordRequest(interactions=[a_turn()]))
            assert raised.value.code() is code
            error_id = raised.value.details().rpartition("error ")[2].rstrip(")")
            [line] = [json.loads(line) for line in log.getvalue().splitlines() if error_id.encode() in line]
            assert line["error"] == type(error).__name__
            assert SECRET not in raised.value.details()

    run(test)
    assert SECRET not in log.getvalue().decode()


def test_a_caller_that_leaves_has_its_line_too(log: io.BytesIO) -> None:
    begun, release = threading.Event(), threading.Event()

    def wait(request: Any) -> Decision:
        begun.set()
        release.wait(PATIENCE_S)
        return passes(request)

    async def test() -> None:
        async with serving(FaultyPipeline(wait), default_deadline_ms=60_000) as stub:
            call = stub.Rewrite(a_request())
            await until(begun.is_set)
            call.cancel()
            await until(log.getvalue)
            release.set()
            assert (await stub.Rewrite(a_request(), timeout=60)).reason == pb.REASON_NO_CANDIDATES

    run(test)
    codes = [json.loads(line)["code"] for line in log.getvalue().splitlines()]
    assert codes == ["CANCELLED", "OK"]


def test_before_it_is_open_it_is_unavailable(log: io.BytesIO) -> None:
    async def test() -> None:
        servicer = RewriteServicer(Settings())
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((servicer.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = rewrite_pb2_grpc.RewriteServiceStub(channel)
            assert await _code(stub.Rewrite(a_request())) is grpc.StatusCode.UNAVAILABLE
        await server.stop(None)
        servicer.close(5)

    run(test)


async def _code(call: Awaitable[Any]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
