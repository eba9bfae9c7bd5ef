"""AdminService over gRPC. Each call is parsed, checked, done on a thread of its own, and leaves one log line with the
method, never with a text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message

from rewrite_service.access.door import Access
from rewrite_service.access.scopes import Scope
from rewrite_service.admin import converters
from rewrite_service.admin.rule_book import RuleBook
from rewrite_service.call import parse
from rewrite_service.errors import NotDone
from rewrite_service.grpc_errors import to_status
from rewrite_service.logs import error_fields
from rewrite_service.pb import admin_pb2 as pb
from rewrite_service.settings import Settings
from rewrite_service.swap.control import BundleControl

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["AdminService"].full_name
_DEFAULT_S = 300.0
_WAY_BACK_S = 0.2

Answer = Callable[[Any, float], Message]


class AdminServicer:
    """Belongs to one event loop. `place`: the server's place for bundles. `access`: who may call."""

    def __init__(self, place: Path, settings: Settings, access: Access) -> None:
        """Raises StoreError."""
        self._settings, self._access = settings, access
        self._log = structlog.get_logger().bind()
        self._bundles = BundleControl(place, settings.state_dir)
        self._rules = RuleBook(settings.state_dir)

    def handlers(self) -> grpc.GenericRpcHandler:
        """What to register with a server."""
        methods: dict[str, tuple[type[Message], Answer]] = {
            "BundleStatus": (pb.BundleStatusRequest, self._status),
            "SwapBundle": (pb.SwapBundleRequest, self._swap),
            "RollBack": (pb.RollBackRequest, self._roll_back),
            "Block": (pb.BlockRequest, self._add),
            "Pin": (pb.PinRequest, self._add),
            "Unblock": (pb.UnblockRequest, self._remove),
            "ListRules": (pb.ListRulesRequest, self._list),
        }
        handlers = {name: self._handler(name, kind, answer) for name, (kind, answer) in methods.items()}
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    def _handler(self, method: str, kind: type[Message], answer: Answer) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            remaining = context.time_remaining()
            deadline = time.monotonic() + (_DEFAULT_S if remaining is None else max(0.0, remaining - _WAY_BACK_S))
            begun = time.monotonic()
            try:
                caller = self._access.check(context.invocation_metadata(), Scope.ADMIN)
                with caller.quota:
                    reply = await asyncio.to_thread(answer, parse(kind, raw), deadline)
            except Exception as error:
                status = to_status(error)
                fields = {} if status.error_id is None else error_fields(error, self._settings.log_texts)
                self._log.warning("admin", method=method, code=status.code.name, error_id=status.error_id, **fields)
                await context.abort(status.code, status.message)
            took_us = int((time.monotonic() - begun) * 1e6)
            self._log.info("admin", method=method, client=caller.name, code="OK", us=took_us)
            return reply.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)

    def _status(self, message: pb.BundleStatusRequest, deadline: float) -> Message:
        return converters.from_status(self._bundles.status())

    def _swap(self, message: pb.SwapBundleRequest, deadline: float) -> Message:
        return converters.from_swapped(self._bundles.swap(*converters.to_bundle(message), deadline))

    def _roll_back(self, message: pb.RollBackRequest, deadline: float) -> Message:
        return converters.from_swapped(self._bundles.roll_back(converters.to_from_version(message), deadline))

    def _add(self, message: pb.BlockRequest | pb.PinRequest, deadline: float) -> Message:
        rule = converters.to_rule(message, int(time.time() * 1000))
        try:
            self._rules.add(rule)
        except ValueError as error:
            raise NotDone(str(error)) from error
        return pb.RuleResponse(rule=converters.from_rule(rule))

    def _remove(self, message: pb.UnblockRequest, deadline: float) -> Message:
        return pb.UnblockResponse(removed=self._rules.remove(*converters.to_pair(message)))

    def _list(self, message: pb.ListRulesRequest, deadline: float) -> Message:
        return pb.ListRulesResponse(rules=map(converters.from_rule, self._rules.current().all()))
