"""The client for asyncio: `AsyncClient`."""

from __future__ import annotations

import asyncio
import itertools
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


class AsyncClient:
    """As `rewrite_service.client.Client`, for one event loop's thread; to be made while the loop runs.

        async with AsyncClient("127.0.0.1:50051") as client:
            answer = await client.rewrite("play ago", "cleo")
    """

    def __init__(
        self, target: str = "127.0.0.1:50051", options: ClientOptions | None = None, **given: Any
    ) -> None:
        self._options = options = ClientOptions(**given) if options is None else options
        self._breaker = Breaker(options.breaker_failures, options.breaker_pause_s, options.breaker_most_pause_s)
        credentials, arguments = options.credentials(), options.arguments()
        self._channels = [
            grpc.aio.insecure_channel(target, arguments)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, arguments)
            for _ in range(options.channels)
        ]
        self._stubs = [_stubs(channel) for channel in self._channels]
        self._turn = itertools.count()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; what is under way ends at once."""
        for channel in self._channels:
            await channel.close()

    async def connect(self, timeout_s: float = 5.0) -> bool:
        """Opens the connections now, so that the first request need not. False where that took longer."""
        ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        try:
            await asyncio.wait_for(ready, timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def circuit_is_open(self) -> bool:
        """Whether the service is not asked for the moment, as it did not answer."""
        return self._breaker.is_open

    async def rewrite(
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
        """As `Client.rewrite`. A task that is cancelled stays cancelled: that is no failure of the service."""
        request = core.new_request(
            query, user_id, interaction_id, timestamp_ms, channel, alternatives, asr_confidence, context
        )
        begun = time.monotonic()
        try:
            if (rest_s := self._breaker.rest_s()) > 0:
                raise core.circuit_open(rest_s)
            timeout_s = (self._options.deadline_ms if deadline_ms is None else deadline_ms) / 1000
            reply = await self._ask(from_request(request), self._options.metadata(user_id), begun + timeout_s)
        except Exception as raised:
            error = core.error_of(raised)
            core.tell(self._breaker, error, begun)
            if raise_errors:
                raise error from None
            return core.unanswered(request, error)
        self._breaker.succeeded()
        return core.answer_of(request, reply)

    async def record(self, items: Iterable[Item]) -> int:
        """As `Client.record`."""
        messages = core.record_messages(items)
        return sum([(await self._write("Record", message, None)).new_interactions for message in messages])

    async def teach(
        self, user_id: str, said: str | None = None, *, kind: str = "alias", subject: str = "", value: str = ""
    ) -> Taught:
        """As `Client.teach`."""
        message = core.teach_message(user_id, said, kind, subject, value)
        return core.taught_of(await self._write("Teach", message, user_id))

    async def preferences(self, user_id: str) -> list[Preference]:
        """As `Client.preferences`."""
        reply = await self._write("ListPreferences", pb.ListPreferencesRequest(user_id=user_id), user_id)
        return [to_preference(preference) for preference in reply.preferences]

    async def remove_preference(self, user_id: str, preference_id: str) -> bool:
        """As `Client.remove_preference`."""
        message = pb.RemovePreferenceRequest(user_id=user_id, preference_id=preference_id)
        return bool((await self._write("RemovePreference", message, user_id)).removed)

    async def forget_user(self, user_id: str) -> ForgottenUser:
        """As `Client.forget_user`."""
        return core.forgotten_of(await self._write("ForgetUser", pb.ForgetUserRequest(user_id=user_id), user_id))

    async def _ask(self, message: pb.RewriteRequest, metadata: Any, end: float) -> pb.RewriteResponse:
        """The first reply to come. Raises grpc.RpcError."""
        hedge_ms = self._options.hedge_after_ms
        first = next(self._turn)
        if hedge_ms is None:
            reply: pb.RewriteResponse = await self._stub(first, "Rewrite")(
                message, timeout=_left(end), metadata=metadata
            )
            return reply
        tasks: set[asyncio.Task[pb.RewriteResponse]] = set()
        asked = 0

        def ask() -> None:
            nonlocal asked
            stub = self._stub(first + asked, "Rewrite")
            task = asyncio.ensure_future(_awaited(stub, message, _left(end), metadata))
            task.add_done_callback(_looked_at)
            tasks.add(task)
            asked += 1

        ask()
        try:
            while True:
                wait_s = hedge_ms / 1000 if asked == 1 else None
                done, _ = await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    ask()
                for task in done:
                    tasks.discard(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    broken = isinstance(error, grpc.RpcError) and core.error_of(error).code == "unavailable"
                    if asked == 1 and broken:
                        ask()  # this connection is broken: no use in waiting
                    elif not tasks:
                        raise error
        finally:
            for task in tasks:
                task.cancel()

    async def _write(self, method: str, message: Any, user_id: str | None) -> Any:
        end = time.monotonic() + self._options.write_timeout_s
        for attempt in itertools.count():
            try:
                call = self._stub(next(self._turn), method)
                timeout_s = min(core.ATTEMPT_S, _left(end))
                return await call(message, timeout=timeout_s, metadata=self._options.metadata(user_id))
            except Exception as raised:
                error = core.error_of(raised)
                pause_s = core.pause_s(error, attempt)
                if pause_s is None or time.monotonic() + pause_s >= end:
                    raise error from None
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    def _stub(self, number: int, method: str) -> Any:
        return self._stubs[number % len(self._stubs)][method]


async def _awaited(stub: Any, message: pb.RewriteRequest, timeout_s: float, metadata: Any) -> pb.RewriteResponse:
    """A task of its own for a call, so that one that is not wanted any more can be cancelled, and so is its call."""
    reply: pb.RewriteResponse = await stub(message, timeout=timeout_s, metadata=metadata)
    return reply


def _looked_at(task: asyncio.Task[pb.RewriteResponse]) -> None:
    """The loser's error is nobody's business; asyncio would log one that nobody has asked for."""
    if not task.cancelled():
        task.exception()


def _stubs(channel: grpc.aio.Channel) -> dict[str, Any]:
    return {
        method: channel.unary_unary(core.path_of(method), sent.SerializeToString, reply.FromString)
        for method, (sent, reply) in core.REPLIES.items()
    }


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
