"""The console's two pages, from their templates. All else is in static files; nothing is loaded from elsewhere."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response


class Page:
    """Templates, read once."""

    def __init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("rewrite_service.console", "."), autoescape=True, undefined=StrictUndefined
        )
        self._log_in, self._console = (environment.get_template(name) for name in ("login.html", "console.html"))

    def log_in(self, status: int, problem: str, secret: str) -> Response:
        """The form; `problem`: why the last try did not do, or empty. `secret`: what it sends along."""
        return HTMLResponse(self._log_in.render(problem=problem, secret=secret), status)

    def console(self, name: str, csrf: str, tenant: str) -> Response:
        """The page itself, for the token called `name`."""
        return HTMLResponse(self._console.render(name=name, csrf=csrf, tenant=tenant))
