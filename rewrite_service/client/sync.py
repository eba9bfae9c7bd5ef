"""The client for threads: `Client`."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from retriever.interaction import Channel, Context
from retriever.preference import Preference
from rewrite_service.client import core
from rewrite_service.client.breaker import Breaker
from rewrite_service.client.messages import from_request, to_preference
from rewrite_service.client.options import ClientOptions
from rewrite_service.client.values import Answer, ForgottenUser, Item, Taught
from rewrite_service.pb import rewrite_pb2 as pb


class Client:
    """A client of the service at `target` (`host:port`, or `dns:///name:port` for all addresses of a name), with
    `options`, or ClientOptions of what else is given. Thread-safe; make one and keep it. Not for use across a fork.

        with Client("127.0.0.1:50051") as client:
            answer = client.rewrite("play ago", "cleo")
            ...  # ask the assistant for answer.text
            client.record(answer.turn(Outcome.OK, Interpretation("play_video")))
    """

    def __init__(
        self, target: str = "127.0.0.1:50051", options: ClientOptions | None = None, **given: Any
    ) -> None:
        self._options = options = ClientOptions(**given) if options is None else options
        self._breaker = Breaker(options.breaker_failures, options.breaker_pause_s, options.breaker_most_pause_s)
        credentials, arguments = options.credentials(), options.arguments()
        self._channels = [
            grpc.insecure_channel(target, arguments)
            if credentials is None
            else grpc.secure_channel(target, credentials, arguments)
            for _ in range(options.channels)
        ]
        self._stubs = [_stubs(channel) for channel in self._channels]
        self._turn = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; what is under way ends at once."""
        for channel in self._channels:
            channel.close()

    def connect(self, timeout_s: float = 5.0) -> bool:
        """Opens the connections now, so that the first request need not. False where that took longer."""
        end = time.monotonic() + timeout_s
        for channel in self._channels:
            try:
                grpc.channel_ready_future(channel).result(max(0.0, end - time.monotonic()))
            except grpc.FutureTimeoutError:
                return False
        return True

    @property
    def circuit_is_open(self) -> bool:
        """Whether the service is not asked for the moment, as it did not answer."""
        return self._breaker.is_open

    def rewrite(
        self,
        query: str,
        user_id: str,
        *,
        interaction_id: str | None = None,
        timestamp_ms: int | None = None,
        channel: Channel = Channel.VOICE,
        alternatives: Sequence[str] = (),
        asr_confidence: float | None = None,
        context: Context | None = None,
        deadline_ms: float | None = None,
        raise_errors: bool = False,
    ) -> Answer:
        """What to ask in place of `query`, within `deadline_ms` (the options' own where None).

        Fails open: whatever goes wrong, the answer has the query itself, `reason` and `error`; with `raise_errors`
        it raises `ClientError` instead. `alternatives`: the recogniser's further hypotheses, best first.
        `asr_confidence`: 0 to 1. `interaction_id`, `timestamp_ms`: made up where not given.
        """
        request = core.new_request(
            query, user_id, interaction_id, timestamp_ms, channel, alternatives, asr_confidence, context
        )
        begun = time.monotonic()
        try:
            if (rest_s := self._breaker.rest_s()) > 0:
                raise core.circuit_open(rest_s)
            timeout_s = (self._options.deadline_ms if deadline_ms is None else deadline_ms) / 1000
            reply = self._ask(from_request(request), self._options.metadata(user_id), begun + timeout_s)
        except Exception as raised:
            error = core.error_of(raised)
            core.tell(self._breaker, error, begun)
            if raise_errors:
                raise error from None
            return core.unanswered(request, error)
        self._breaker.succeeded()
        return core.answer_of(request, reply)

    def record(self, items: Iterable[Item]) -> int:
        """Tells what came of turns: `answer.turn(...)`, `answer.late(...)`, or turns and feedback made otherwise.
        Returns once all is durable: how many turns were new. Tries again while the server cannot be reached, for
        `write_timeout_s`, which is safe; then raises `ClientError`, and what was not acknowledged may be sent again."""
        messages = core.record_messages(items)
        return sum(self._write("Record", message, None).new_interactions for message in messages)

    def teach(
        self, user_id: str, said: str | None = None, *, kind: str = "alias", subject: str = "", value: str = ""
    ) -> Taught:
        """Takes down what the user says about themselves: a sentence, or `kind` (`alias`, `name`, `like`), `subject`
        and `value`. Raises `ClientError`; `invalid_argument` where the sentence is not understood."""
        message = core.teach_message(user_id, said, kind, subject, value)
        return core.taught_of(self._write("Teach", message, user_id))

    def preferences(self, user_id: str) -> list[Preference]:
        """What the user has taught, the oldest first. Raises `ClientError`."""
        reply = self._write("ListPreferences", pb.ListPreferencesRequest(user_id=user_id), user_id)
        return [to_preference(preference) for preference in reply.preferences]

    def remove_preference(self, user_id: str, preference_id: str) -> bool:
        """Takes a preference back; whether there was one. Raises `ClientError`."""
        message = pb.RemovePreferenceRequest(user_id=user_id, preference_id=preference_id)
        return bool(self._write("RemovePreference", message, user_id).removed)

    def forget_user(self, user_id: str) -> ForgottenUser:
        """Removes all that is held of a user. Raises `ClientError`."""
        return core.forgotten_of(self._write("ForgetUser", pb.ForgetUserRequest(user_id=user_id), user_id))

    def _ask(self, message: pb.RewriteRequest, metadata: Any, end: float) -> pb.RewriteResponse:
        """The first reply to come. Raises grpc.RpcError."""
        hedge_ms = self._options.hedge_after_ms
        first = next(self._turn)
        if hedge_ms is None:
            reply: pb.RewriteResponse = self._stub(first, "Rewrite")(
                message, timeout=_left(end), metadata=metadata
            )
            return reply
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        calls: list[Any] = []

        def ask() -> None:
            call = self._stub(first + len(calls), "Rewrite").future(message, timeout=_left(end), metadata=metadata)
            calls.append(call)
            call.add_done_callback(answers.put)

        ask()
        failed = 0
        try:
            while True:
                try:
                    done = answers.get(timeout=hedge_ms / 1000 if len(calls) == 1 else None)
                except queue.Empty:
                    ask()
                    continue
                if done.code() is grpc.StatusCode.OK:
                    won: pb.RewriteResponse = done.result()
                    return won
                failed += 1
                if len(calls) == 1 and done.code() in core.BROKEN:
                    ask()  # this connection is broken: no use in waiting
                elif failed == len(calls):
                    raise done.exception()
        finally:
            for call in calls:
                call.cancel()

    def _write(self, method: str, message: Any, user_id: str | None) -> Any:
        end = time.monotonic() + self._options.write_timeout_s
        for attempt in itertools.count():
            try:
                call = self._stub(next(self._turn), method)
                timeout_s = min(core.ATTEMPT_S, _left(end))
                return call(message, timeout=timeout_s, metadata=self._options.metadata(user_id))
            except Exception as raised:
                error = core.error_of(raised)
                pause_s = core.pause_s(error, attempt)
                if pause_s is None or time.monotonic() + pause_s >= end:
                    raise error from None
                time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _stub(self, number: int, method: str) -> Any:
        return self._stubs[number % len(self._stubs)][method]


def _stubs(channel: grpc.Channel) -> dict[str, Any]:
    return {
        method: channel.unary_unary(core.path_of(method), sent.SerializeToString, reply.FromString)
        for method, (sent, reply) in core.REPLIES.items()
    }


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())


