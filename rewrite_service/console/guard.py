"""Who may come in: log-in with a token, the session's cookie, and the refusal of posts that another site has forged.

Three things stand against a forged post, each enough by itself: the cookie is SameSite=Strict, every post carries the
session's own secret, and a browser that says where a post comes from must say that it comes from here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import parse_qs

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rewrite_service.access.door import Access, Principal
from rewrite_service.access.scopes import Scope
from rewrite_service.access.tokens import MAX_TOKEN_CHARS
from rewrite_service.console.page import Page
from rewrite_service.console.sessions import LASTS_S, Session, Sessions, Tries
from rewrite_service.errors import RewriteError

CSRF_HEADER = "x-csrf-token"
MAX_BODY_BYTES = 128 * 1024
_UNKNOWN = "This token is not known here. Make one with: query-rewrite token new --scope console"

_log = structlog.get_logger()


class Refused(Exception):
    """`status`: of the reply; the message is for whoever is at the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is at the page."""

    session: Session
    principal: Principal


class Guard:
    """Belongs to one event loop. `secure`: whether the page is served with TLS."""

    def __init__(self, access: Access, page: Page, secure: bool) -> None:
        self._access, self._page, self._secure = access, page, secure
        self._sessions, self._tries = Sessions(), Tries()

    def guest(self, request: Request) -> Guest | None:
        """None for who is not logged in, or whose token is no longer good."""
        session = self._sessions.find(request.cookies.get(self._cookie(request)))
        if session is None:
            return None
        try:
            return Guest(session, self._access.recognise(session.token, Scope.CONSOLE))
        except RewriteError:
            self._sessions.close(request.cookies.get(self._cookie(request)))
            return None

    def caller(self, request: Request) -> Guest:
        """Whose call a request of the page is. Raises `Refused`."""
        guest = self.guest(request)
        if guest is None:
            raise Refused(401, "you are not logged in any more; load the page anew to log in")
        if request.method != "GET":
            self._check_origin(request)
            if not compare_digest(request.headers.get(CSRF_HEADER, "").encode(), guest.session.csrf.encode()):
                raise Refused(403, "this call did not come from the console's own page; load the page anew")
        return guest

    async def show_log_in(self, request: Request) -> Response:
        if self.guest(request) is not None:
            return RedirectResponse("/", 303)
        return self._form(request, 200, "")

    async def log_in(self, request: Request) -> Response:
        """Takes the form; every reply to a wrong one is the same."""
        self._check_origin(request)
        address = request.client.host if request.client else ""
        if (wait := self._tries.wait_s(address)) > 0:
            _log.warning("console log-in", outcome="too many tries")
            return self._form(request, 429, f"Too many tries. Wait {wait:.0f} s, then try again.")
        form = await _form_of(request)
        sent, meant = form.get("form", ""), request.cookies.get(self._cookie(request, "form"), "")
        if not meant or not compare_digest(sent.encode(), meant.encode()):
            return self._form(request, 403, "The form was too old. Try again.")
        token = form.get("token", "").strip()[: MAX_TOKEN_CHARS + 1]
        try:
            principal = self._access.recognise(token, Scope.CONSOLE)
        except RewriteError as error:
            _log.warning("console log-in", outcome="refused", client=error.client)
            if error.client is None:
                return self._form(request, 401, _UNKNOWN)
            return self._form(request, 403, f"{str(error).capitalize()}.")
        _log.info("console log-in", outcome="OK", client=principal.name)
        self._sessions.close(request.cookies.get(self._cookie(request)))
        reply = RedirectResponse("/", 303)
        self._set(reply, self._cookie(request), self._sessions.open(token))
        self._unset(reply, self._cookie(request, "form"))
        return reply

    async def log_out(self, request: Request) -> Response:
        form = await _form_of(request)
        guest = self.guest(request)
        if guest is not None:
            self._check_origin(request)
            if not compare_digest(form.get("csrf", "").encode(), guest.session.csrf.encode()):
                raise Refused(403, "this call did not come from the console's own page")
            self._sessions.close(request.cookies.get(self._cookie(request)))
        reply = RedirectResponse("/login", 303)
        self._unset(reply, self._cookie(request))
        return reply

    def _form(self, request: Request, status: int, problem: str) -> Response:
        secret = secrets.token_urlsafe(32)
        reply = self._page.log_in(status, problem, secret)
        self._set(reply, self._cookie(request, "form"), secret)
        return reply

    def _cookie(self, request: Request, what: str = "session") -> str:
        """A cookie's name: browsers tell ports of one host not apart, and another server's console may be beside it."""
        return f"{'__Host-' if self._secure else ''}console-{request.scope['server'][1]}-{what}"

    def _unset(self, reply: Response, name: str) -> None:
        reply.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="strict")

    def _set(self, reply: Response, name: str, value: str) -> None:
        lasts = int(LASTS_S)
        reply.set_cookie(name, value, lasts, path="/", secure=self._secure, httponly=True, samesite="strict")

    def _check_origin(self, request: Request) -> None:
        """What a browser says of where a post comes from. Raises `Refused`."""
        scheme = "https" if self._secure else "http"
        origin = request.headers.get("origin")
        here = f"{scheme}://{request.headers.get('host', '')}"
        site = request.headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and origin != here) or site not in ("same-origin", "none"):
            raise Refused(403, "this call came from another site, and was not done")


async def body_of(request: Request) -> bytes:
    """The body of a request. Raises `Refused` where it is too long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused(413, f"more than {MAX_BODY_BYTES} bytes; send less")
        parts.append(part)
    return b"".join(parts)


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name. Raises `Refused`."""
    text = (await body_of(request)).decode("utf-8", "replace")
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=8).items()}
    except ValueError:
        raise Refused(400, "this form is not the console's own") from None
