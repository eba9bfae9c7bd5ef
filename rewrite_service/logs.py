"""Log lines: one JSON object each on standard error, one for every request, none with a text that somebody said.

Unless `log_texts` is set, no line holds a query, a rewrite, an id of a user or of a turn, or an exception's message
(which may quote any of them). Users and turns appear as short hashes with a salt of the process: lines of one user
can be told to belong together, and not to whom.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import sys
import traceback
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, BinaryIO, TextIO

import orjson
import structlog

from retriever.interaction import Request
from rewrite_service.decision import Decision
from rewrite_service.settings import Settings

_SALT = secrets.token_bytes(16)


def configure_logging(settings: Settings, stream: BinaryIO | None = None) -> None:
    """Sets up this process's log lines, those of its libraries included. `stream`: standard error where None."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.workers > 1:
        shared.append(_with_pid)
    factory: structlog.BytesLoggerFactory | structlog.PrintLoggerFactory
    if settings.log_format == "json":
        render: structlog.typing.Processor = structlog.processors.JSONRenderer(serializer=orjson.dumps)
        factory = structlog.BytesLoggerFactory(stream or sys.stderr.buffer)
    else:
        render = structlog.dev.ConsoleRenderer(colors=stream is None and sys.stderr.isatty())
        factory = structlog.PrintLoggerFactory(sys.stderr if stream is None else _as_text(stream))
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [LibraryHandler(settings.log_texts)]
    root.setLevel(max(level, logging.WARNING))


def _with_pid(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Says which of several workers the line is of."""
    event["pid"] = os.getpid()
    return event


def printable(text: str) -> str:
    """`text` with all that is not printable (NUL, line ends, terminal escapes, lone surrogates) written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def pseudonym(identifier: str) -> str:
    """A short hash of a user's or a turn's id: the same within this process, and of no use outside it."""
    return blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=6, key=_SALT).hexdigest()


def user_fields(user_id: str, log_texts: bool) -> dict[str, Any]:
    """What a line says of whom a call is about."""
    fields = {"user": pseudonym(user_id)}
    return fields | {"user_id": printable(user_id)} if log_texts else fields


def request_fields(request: Request, log_texts: bool) -> dict[str, Any]:
    """What a request's line says of the request."""
    fields: dict[str, Any] = {
        "user": pseudonym(request.user_id),
        "interaction": pseudonym(request.interaction_id),
        "channel": request.channel.value,
        "query_chars": len(request.query),
    }
    if log_texts:
        fields |= {
            "user_id": printable(request.user_id),
            "interaction_id": printable(request.interaction_id),
            "query": printable(request.query),
        }
    return fields


def decision_fields(decision: Decision, log_texts: bool) -> dict[str, Any]:
    """What a request's line says of the answer."""
    fields: dict[str, Any] = {
        "decision": "rewrite" if decision.is_rewrite else "pass",
        "reason": decision.reason.value,
        "layer": decision.layer.value if decision.layer else None,
        "probability": round(decision.probability, 4),
        "margin": round(decision.margin, 4),
        "stage_us": decision.stage_us,
    }
    if decision.arm is not None:
        fields["arm"] = decision.arm.value
    if decision.trial:
        fields["trial"] = True
    if decision.skipped:
        fields["skipped"] = decision.skipped
    if log_texts and decision.text is not None:
        fields["text"] = printable(decision.text)
    if log_texts and decision.withheld is not None:
        fields["withheld"] = printable(decision.withheld)
    return fields


def error_fields(error: BaseException, log_texts: bool) -> dict[str, Any]:
    """What a line says of an error: kind and place of it and of what caused it; its message only with `log_texts`."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    fields: dict[str, Any] = {
        "error": " from ".join(type(link).__name__ for link in chain),
        "frames": [_frame(frame) for frame in traceback.extract_tb(chain[-1].__traceback__)],
    }
    if log_texts:
        fields["message"] = printable(str(error))
    return fields


def _frame(frame: traceback.FrameSummary) -> str:
    return f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"


def _as_text(stream: BinaryIO) -> TextIO:
    return io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class LibraryHandler(logging.Handler):
    """Passes on what libraries log. Their messages may quote anything (asyncio quotes exceptions), so without
    `log_texts` only the place and the kind of error are kept."""

    def __init__(self, log_texts: bool) -> None:
        super().__init__()
        self._log_texts = log_texts

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "place": f"{record.filename}:{record.lineno}"}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= error_fields(record.exc_info[1], self._log_texts)
        if self._log_texts:
            fields["message"] = printable(record.getMessage())
        structlog.get_logger().log(record.levelno, "library", **fields)
