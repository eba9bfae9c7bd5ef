"""RewriteService: bytes in, bytes out; everything that has to do with rewriting is in the pipeline.

Each call passes the same way, over gRPC or another door (`rewrite_service.http_door`): who is calling, the gate, parse,
check and convert, run the pipeline on its worker, convert back, one log line. `call` takes and gives bytes, so that who
may not call is refused unread, and a message that cannot be parsed is answered like any other bad one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from retriever.interaction import Interaction, Request
from rewrite_service import converters, people_converters
from rewrite_service.access.door import Access
from rewrite_service.access.scopes import Scope, scope_of
from rewrite_service.access.tenants import enter_tenant
from rewrite_service.audit import audit_look
from rewrite_service.call import PROTOBUF, Call, Codec, Metadata, us_since
from rewrite_service.decision import Decision, Reason
from rewrite_service.errors import (
    InvalidRequest,
    Momentary,
    NotReady,
    Overloaded,
    PermissionDenied,
    RewriteError,
    StoreError,
)
from rewrite_service.gate import Gate
from rewrite_service.grpc_errors import Refused, Status, to_status
from rewrite_service.logs import decision_fields, error_fields, request_fields, user_fields
from rewrite_service.metrics.calls import count_call
from rewrite_service.metrics.catalogue import METHODS
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.settings import Settings
from rewrite_service.tracing import open_tracing, traceparent_of
from rewrite_service.worker import Worker

if TYPE_CHECKING:
    from rewrite_service.pipeline import Pipeline

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["RewriteService"].full_name

_RECALL_ON_LOOP_S = 0.0005


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of the contract. `event`: as the log and the metrics call it. `default_s`: patience of callers who do
    not say theirs."""

    event: str
    kind: type[Message]
    answer: Callable[[Any, Call], Awaitable[Message]]
    gate: Gate
    default_s: float | None
    scope: Scope
    ended: Callable[..., None]


class RewriteServicer:
    """Serves calls once `open` has been called; until then it answers UNAVAILABLE. Belongs to one event loop."""

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        """`access`: who may call; everybody where None."""
        self._settings = settings
        self._access = Access() if access is None else access
        self._log = structlog.get_logger().bind()
        self._limits = converters.Limits(query_chars=settings.max_query_chars)
        self._pipeline: Pipeline | None = None
        self._stopping = False
        self._last_arrival = time.monotonic()
        self._rewrites = Gate(settings.max_in_flight)
        self._records = Gate(settings.max_records_in_flight)
        # Recording waits for the disk, so it has a thread of its own and never stands before a rewrite.
        self._rewriter = Worker("rewrite")
        self._explainer = Worker("explain")  # takes tens of milliseconds, most of them without Python's lock
        self._tracing = open_tracing(settings)
        self._recorder = Worker("record")
        self._methods = self._table()

    async def open(self, load: Callable[[], Pipeline]) -> None:
        """Takes over the pipeline that `load` returns, loaded and warm, and begins to serve. Raises what it raises."""
        self._pipeline = await self._rewriter.run(load)

    def take(self, pipeline: Pipeline) -> None:
        """Lets `pipeline` decide from now on; what is under way ends on the one before. On the event loop's thread."""
        self._pipeline = pipeline

    def cache_figures(self) -> dict[str, dict[str, int]]:
        """Of the pipeline's caches; nothing before it is open."""
        return {} if self._pipeline is None else self._pipeline.cache_figures()

    @property
    def pipeline(self) -> Pipeline | None:
        """None before it is open."""
        return self._pipeline

    @property
    def _at_work(self) -> Pipeline:
        """For methods, which are not called before there is one."""
        assert self._pipeline is not None
        return self._pipeline

    @property
    def is_serving(self) -> bool:
        """Whether calls are answered: loaded, and not about to end."""
        return self._pipeline is not None and not self._stopping

    @property
    def in_flight(self) -> dict[str, int]:
        """Calls under way by gate, as the metrics name them."""
        return {"rewrites": self._rewrites.inside, "records": self._records.inside}

    @property
    def under_way(self) -> int:
        return self._rewrites.inside + self._records.inside

    async def drain(self, quiet_s: float) -> None:
        """Refuses new calls; returns once none is under way and none has come for `quiet_s` seconds."""
        self._stopping = True
        while self.under_way or time.monotonic() - self._last_arrival < quiet_s:
            await self._rewrites.empty()
            await self._records.empty()
            await asyncio.sleep(quiet_s / 10)

    def close(self, timeout_s: float, in_use: bool = False) -> None:
        """Ends the workers and closes the pipeline. One that is still at work after `timeout_s`, or `in_use` by
        somebody else, is left open, as closing files under it would crash the process; what was acknowledged is safe
        either way."""
        ended = [not in_use, *(worker.close(timeout_s) for worker in (self._rewriter, self._explainer, self._recorder))]
        if self._pipeline is not None and all(ended):
            self._pipeline.close()
        elif self._pipeline is not None:
            self._log.warning("pipeline left open", why="still at work")
        if self._tracing is not None:
            self._tracing.close(timeout_s)

    def handlers(self) -> grpc.GenericRpcHandler:
        """What to register with a gRPC server."""
        return grpc.method_handlers_generic_handler(SERVICE_NAME, {name: self._handler(name) for name in self._methods})

    def _handler(self, name: str) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                return await self.call(name, raw, context.time_remaining(), context.invocation_metadata(), PROTOBUF)
            except Refused as refused:
                status = refused.status
            await context.abort(status.code, status.message, status.trailing)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    def _table(self) -> dict[str, _Method]:
        """The methods by their names in the contract."""
        rewrite_s = self._settings.default_deadline_ms / 1000
        explain_s = self._settings.explain_deadline_ms / 1000
        rows: tuple[tuple[str, type[Message], Callable[[Any, Call], Awaitable[Message]], Gate, float | None], ...] = (
            ("rewrite", pb.RewriteRequest, self._rewrite, self._rewrites, rewrite_s),
            ("record", pb.RecordRequest, self._record, self._records, None),
            ("explain", pb.ExplainRequest, self._explain, self._rewrites, explain_s),
            ("teach", pb.TeachRequest, self._teach, self._records, None),
            ("list_preferences", pb.ListPreferencesRequest, self._list_preferences, self._records, None),
            ("remove_preference", pb.RemovePreferenceRequest, self._remove_preference, self._records, None),
            ("describe_user", pb.DescribeUserRequest, self._describe_user, self._records, None),
            ("forget_user", pb.ForgetUserRequest, self._forget_user, self._records, None),
        )
        return {
            METHODS[event]: _Method(
                event, kind, answer, gate, default_s, scope_of(cast(Descriptor, kind.DESCRIPTOR)), self._ending(event)
            )
            for event, kind, answer, gate, default_s in rows
        }

    async def call(
        self, name: str, raw: bytes, patience_s: float | None, metadata: Metadata, codec: Codec = PROTOBUF
    ) -> bytes:
        """The answer to a call of the method `name` with the message `raw`. `patience_s`: how long the caller will wait
        from now on, None where it did not say. `metadata`: keys in small letters. Raises `Refused`."""
        method = self._methods[name]
        call = Call(method.default_s if patience_s is None else patience_s)
        if codec.name is not None:
            call.tell(lambda: {"via": codec.name})
        try:
            self._last_arrival = call.arrived
            if self._tracing is not None:
                call.traceparent = traceparent_of(metadata)
            if self._stopping:
                raise NotReady("the server is stopping; ask another")
            caller = self._access.check(metadata, method.scope)
            if caller.name is not None:
                call.tell(lambda: {"client": caller.name})
            call.scopes = caller.scopes
            with caller.quota, method.gate:
                if self._pipeline is None:
                    raise NotReady("the server is loading; try again in a moment")
                if codec.is_slow(method.kind, raw):
                    message = await self._recorder.run(lambda: codec.read(method.kind, raw))
                else:
                    message = codec.read(method.kind, raw)
                enter_tenant(message, caller.tenant, converters.MAX_TURNS_PER_RECORD)
                audit_look(method.event, message, caller.name)
                reply = codec.write(await method.answer(message, call))
        except asyncio.CancelledError:  # the caller has gone, or its deadline has passed
            method.ended(call, "CANCELLED")
            self._log.info(method.event, code="CANCELLED", us=call.elapsed_us(), **call.facts)
            raise
        except Exception as error:
            raise Refused(self._refusal(method, call, error)) from None
        method.ended(call, "OK")
        if self._log.is_enabled_for(logging.INFO):
            self._log.info(method.event, code="OK", us=call.elapsed_us(), **call.facts)
        return reply

    def _refusal(self, method: _Method, call: Call, error: Exception) -> Status:
        """What the caller is told of an error; counts it, and writes the call's line."""
        status = to_status(error)
        method.ended(call, status.code.name, error)
        if isinstance(error, RewriteError) and error.client is not None:
            name = error.client
            call.tell(lambda: {"client": name})
        if status.error_id is None:
            # Refused for a reason the caller is told, in words that hold none of its texts.
            self._log.info(
                method.event, code=status.code.name, why=status.message, us=call.elapsed_us(), **call.facts
            )
        else:
            fields = call.facts | error_fields(error, self._settings.log_texts)
            self._log.error(method.event, code=status.code.name, error_id=status.error_id, **fields)
        return status

    def _ending(self, event: str) -> Callable[..., None]:
        """What counts and traces each call of a method as it ends, whichever way: of a `Call`, its status's name, its
        error. Never raises: an answer is worth more than its count."""
        method = METHODS[event]  # one that the metrics do not know is found here, and not by a caller

        def ended(call: Call, code: str, error: Exception | None = None) -> None:
            us = call.elapsed_us()
            try:
                if self._settings.counts_calls:
                    count_call(event, code, us, call.decision if event == "rewrite" else None, error)
                if self._tracing is not None:
                    self._tracing.record(SERVICE_NAME, method, code, us, call.traceparent, call.decision)
            except Exception as failed:
                self._log.error("a call was not counted", **error_fields(failed, self._settings.log_texts))

        return ended

    async def _rewrite(self, message: pb.RewriteRequest, call: Call) -> Message:
        request = converters.to_request(message, self._limits)
        return await self._decide(request, call, explain=False, convert=converters.from_decision)

    async def _explain(self, message: pb.ExplainRequest, call: Call) -> Message:
        if not message.HasField("request"):
            raise InvalidRequest("request", "missing", "send the request to explain")
        request = converters.to_request(message.request, self._limits, "request.")
        earlier = converters.to_earlier(message, self._limits)
        if message.with_caches and Scope.CONSOLE not in call.scopes:
            raise PermissionDenied(f"with_caches: the token needs the scope '{Scope.CONSOLE}' as well")
        known: dict[str, bool] = {}
        if message.with_caches:  # before it is decided, which puts there what was not
            caches = self._at_work.caches
            known = await self._explainer.run(lambda: caches.at_hand(request), deadline=call.deadline, late=dict)
        convert = partial(converters.from_explained, at_hand=known)
        return await self._decide(request, call, explain=True, convert=convert, earlier=earlier)

    async def _record(self, message: pb.RecordRequest, call: Call) -> pb.RecordResponse:
        pipeline = self._at_work
        call.tell(lambda: {"turns": len(message.interactions), "late_feedback": len(message.feedback)})

        def run() -> int:
            # Checked and converted here as well: a thousand turns take some 20 ms, for which no rewrite should wait.
            return pipeline.record(*converters.to_record(message, self._limits))

        new = await self._recorder.run(run)
        call.tell(lambda: {"new": new})
        return pb.RecordResponse(new_interactions=new)

    async def _teach(self, message: pb.TeachRequest, call: Call) -> pb.TeachResponse:
        lesson, people = people_converters.to_lesson(message, self._limits), self._at_work.people
        call.tell(lambda: user_fields(lesson.user_id, self._settings.log_texts))
        taught = await self._recorder.run(lambda: people.teach(lesson))
        call.tell(lambda: {"kind": taught.preference.kind})
        return people_converters.from_taught(taught)

    async def _list_preferences(self, message: pb.ListPreferencesRequest, call: Call) -> pb.ListPreferencesResponse:
        user_id, people = people_converters.to_user_id(message), self._at_work.people
        call.tell(lambda: user_fields(user_id, self._settings.log_texts))
        held = await self._recorder.run(lambda: people.preferences(user_id))
        return pb.ListPreferencesResponse(preferences=map(people_converters.from_preference, held))

    async def _remove_preference(self, message: pb.RemovePreferenceRequest, call: Call) -> pb.RemovePreferenceResponse:
        user_id, people = people_converters.to_user_id(message), self._at_work.people
        name = people_converters.to_preference_id(message)
        call.tell(lambda: user_fields(user_id, self._settings.log_texts))
        return pb.RemovePreferenceResponse(
            removed=await self._recorder.run(lambda: people.remove_preference(user_id, name))
        )

    async def _describe_user(self, message: pb.DescribeUserRequest, call: Call) -> pb.DescribeUserResponse:
        user_id, people = people_converters.to_user_id(message), self._at_work.people
        call.tell(lambda: user_fields(user_id, self._settings.log_texts))
        found = await self._recorder.run(lambda: people.describe(user_id))
        return people_converters.from_description(found)

    async def _forget_user(self, message: pb.ForgetUserRequest, call: Call) -> pb.ForgetUserResponse:
        user_id, pipeline = people_converters.to_user_id(message), self._at_work
        # No hash of the id either: the line stays when the user is gone.
        forgotten = await self._recorder.run(lambda: pipeline.people.forget(user_id))
        call.tell(lambda: {"turns": forgotten.turns, "preferences": forgotten.preferences})
        return people_converters.from_forgotten(forgotten, pipeline.bundle_version)

    async def drop_forgotten(self) -> None:
        """Drops from memory whom other processes have forgotten; a store that fails is asked again the next time."""
        if self._pipeline is None:
            return
        try:
            await self._recorder.run(self._pipeline.people.drop_forgotten)
        except StoreError as error:
            self._log.error("store failed", **error_fields(error, self._settings.log_texts))

    async def _decide(
        self,
        request: Request,
        call: Call,
        *,
        explain: bool,
        convert: Callable[[Decision], Message],
        earlier: Sequence[Interaction] = (),
    ) -> Message:
        """The reply, in time; whatever breaks from here on is a pass. Raises `Overloaded` where there is no time to
        decide: what was decided a moment ago is given again even then."""
        pipeline, log_texts = self._at_work, self._settings.log_texts
        worker = self._explainer if explain else self._rewriter
        call.tell(lambda: request_fields(request, log_texts))
        converted_us = call.elapsed_us()
        begun = time.monotonic()
        asked: dict[str, Any] = {"explain": explain} | ({"earlier": earlier} if earlier else {})

        def run() -> tuple[Decision, int]:
            queue_us = us_since(begun)
            return pipeline.rewrite(request, call.deadline, **asked), queue_us

        def too_late() -> tuple[Decision, int]:
            return Decision(None, Reason.OUT_OF_TIME, bundle_version=pipeline.bundle_version), us_since(begun)

        try:
            # What is at hand needs no worker, and so neither waits for one nor stands before others.
            at_hand = None if explain else pipeline.at_hand(request)
            if at_hand is not None or (at_hand := self._shed(request, call, worker)) is not None:
                decision, queue_us = at_hand, 0
            else:
                decision, queue_us = await worker.run(run, deadline=call.deadline, late=too_late)
            decision.stage_us.update(convert=converted_us, queue=queue_us, total=call.elapsed_us())
            reply = convert(decision)
        except Overloaded:
            raise
        except Exception as error:
            self._log.error("failed open", **error_fields(error, log_texts))
            decision = Decision(None, Reason.INTERNAL_ERROR, bundle_version=pipeline.bundle_version)
            decision.stage_us.update(convert=converted_us, total=call.elapsed_us())
            reply = convert(decision)
        call.tell(lambda: decision_fields(decision, log_texts))
        call.decision = decision
        return reply

    def _shed(self, request: Request, call: Call, worker: Worker) -> Decision | None:
        """None where the worker has time for the request. Where not, the decision made of it a moment ago, if it is at
        hand; else raises `Overloaded`. Where not too much is asked over all, the pass that such a request would end
        in, at once."""
        assert call.deadline is not None  # as both methods have a default
        try:
            worker.backlog.admit(call.deadline - time.monotonic(), self._settings.max_wait_ms / 1000)
        except Overloaded as refused:
            # This looks into the store, on the event loop: only where that is a matter of microseconds, and no network
            # lies between.
            mapped = self._settings.store == "embedded"
            quick = mapped and worker is self._rewriter and self._at_work.recall_s < _RECALL_ON_LOOP_S
            if quick and (known := self._at_work.remembered(request, call.deadline)) is not None:
                return known
            if isinstance(refused, Momentary):
                return Decision(None, Reason.OUT_OF_TIME, bundle_version=self._at_work.bundle_version)
            raise
        return None
