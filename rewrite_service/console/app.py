"""The console's routes, and what every reply carries: headers that let a browser load nothing from elsewhere, run
nothing that is not a file of ours, keep nothing, and show the page in no frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ranker.feature_names import CANDIDATE_FEATURES, QUERY_FEATURES
from rewrite_service.access import scopes
from rewrite_service.access.door import Access
from rewrite_service.access.tenants import enter_tenant
from rewrite_service.audit import audit
from rewrite_service.console.calls import ASK, METHODS, Calls, to_json, to_message
from rewrite_service.console.comparing import OtherBundle, bundle_path, bundles_at
from rewrite_service.console.guard import Guard, Guest, Refused, body_of
from rewrite_service.console.live import Live
from rewrite_service.console.page import Page
from rewrite_service.errors import RewriteError
from rewrite_service.logs import error_fields
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.settings import Settings

STATIC = Path(__file__).with_name("static")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_ABOUT = {"features": dict(QUERY_FEATURES + CANDIDATE_FEATURES)}

_log = structlog.get_logger()
Answer = Callable[[Request, Guest], Awaitable[Any]]


class _Headers:
    """Puts the headers on every reply."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = dict(self._headers)
                message["headers"] = [h for h in message.get("headers", []) if h[0].lower() not in ours]
                message["headers"] += self._headers
            await send(message)

        await self._app(scope, receive, with_headers)


class ConsoleApp:
    """`place`: the server's place for bundles. `calls`, `other`, `live`: what the page asks."""

    def __init__(
        self, place: Path, settings: Settings, access: Access, calls: Calls, other: OtherBundle, live: Live
    ) -> None:
        self._place, self._settings = place, settings
        self._calls, self._other, self._live = calls, other, live
        self._page = Page()
        self._guard = Guard(access, self._page, settings.tls_cert is not None)

    def asgi(self) -> Starlette:
        """What to hand to uvicorn."""
        return Starlette(
            routes=[
                Route("/", self._show),
                Route("/login", self._guard.show_log_in),
                Route("/login", self._guard.log_in, methods=["POST"]),
                Route("/logout", self._guard.log_out, methods=["POST"]),
                Route("/api/about", self._api(self._about)),
                Route("/api/live", self._api(self._tell_live)),
                Route("/api/bundles", self._api(self._bundles)),
                Route("/api/compare", self._api(self._compare), methods=["POST"]),
                *(Route(f"/api/{name}", self._api(self._call(name)), methods=["POST"]) for name in METHODS),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[Middleware(_Headers)],
            exception_handlers={Refused: _refusal, Exception: self._fault},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        reading = asyncio.create_task(self._live.run())
        yield
        reading.cancel()
        self._other.close()
        await self._calls.close()

    async def _show(self, request: Request) -> Response:
        guest = self._guard.guest(request)
        if guest is None:
            return RedirectResponse("/login", 303)
        principal = guest.principal
        return self._page.console(principal.name or "", guest.session.csrf, principal.tenant)

    def _api(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            return _json(await answer(request, self._guard.caller(request)))

        return handle

    def _call(self, method: str) -> Answer:
        async def answer(request: Request, guest: Guest) -> Any:
            message = to_message(method, await body_of(request), guest.principal.name or "")
            return to_json(await self._calls.call(method, message, guest))

        return answer

    async def _about(self, request: Request, guest: Guest) -> Any:
        return _ABOUT | {"scopes": sorted(guest.principal.scopes), "name": guest.principal.name}

    async def _tell_live(self, request: Request, guest: Guest) -> Any:
        since = request.query_params.get("since", "0")
        return self._live.told(int(since) if since.isascii() and since.isdigit() and len(since) < 16 else 0)

    async def _bundles(self, request: Request, guest: Guest) -> Any:
        return {"bundles": [known["version"] for known in bundles_at(self._place)]}

    async def _compare(self, request: Request, guest: Guest) -> Any:
        """Both bundles' answers: the served one's from the server, the other's from its own process."""
        try:
            given = orjson.loads(await body_of(request))
            message = to_message(ASK, orjson.dumps(given["ask"]), "")
            named = given["bundle"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Refused(400, "this call is not understood: send ask and bundle") from None
        assert isinstance(message, pb.ExplainRequest)
        path = bundle_path(self._place, named, scopes.Scope.ADMIN in guest.principal.scopes)
        served = await self._calls.call(ASK, message, guest)  # which also checks the message, and whether it may ask
        enter_tenant(message, guest.principal.tenant)
        audit("compare", guest.principal.name, message.request.user_id)
        return {"served": to_json(served), "other": to_json(await self._other.explain(path, message))}

    def _fault(self, request: Request, error: Exception) -> Response:
        if isinstance(error, RewriteError):
            return _json({"error": str(error)}, 400)
        _log.error("console call failed", **error_fields(error, self._settings.log_texts))
        return _json({"error": "something broke in the console; the server's log has where"}, 500)


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _json({"error": str(error)}, error.status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
