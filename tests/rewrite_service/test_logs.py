"""Log lines: what they say, and that they say nothing of anybody unless told to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from retriever.interaction import Request
from rewrite_service import logs
from rewrite_service.arms import Arm
from rewrite_service.decision import Decision, Reason
from rewrite_service.settings import Settings

REQUEST = Request("turn-of-otto", "otto@home", 1_000, "play \x1b[31mtangerine\x00\u2028")
DECISION = Decision("play tangerine\u009b", Reason.CONFIDENT, 0.9, 0.5)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def logged(**settings: object) -> str:
    """What comes out for a request, its decision, an error that quotes it, and a library that does."""
    stream = io.BytesIO()
    chosen = Settings(**settings)
    logs.configure_logging(chosen, stream)
    log = structlog.get_logger()
    fields = logs.request_fields(REQUEST, chosen.log_texts) | logs.decision_fields(DECISION, chosen.log_texts)
    log.info("rewrite", **fields)
    try:
        try:
            {}[REQUEST.query]
        except KeyError as error:
            raise ValueError(REQUEST.user_id) from error
    except ValueError as error:
        log.error("failed", **logs.error_fields(error, chosen.log_texts))
        logging.getLogger("asyncio").error("future: %s", REQUEST.query, exc_info=error)
    return stream.getvalue().decode()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_by_default_no_text_and_no_id(log_format: str) -> None:
    written = logged(log_format=log_format)
    assert written.count("\n") == 3
    for word in ("tangerine", "otto", "turn-of"):  # none can stand in a hash in hex by chance
        assert word not in written


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_texts_when_asked_for_are_escaped(log_format: str) -> None:
    written = logged(log_format=log_format, log_texts=True)
    assert "tangerine" in written
    assert "otto@home" in written
    for control in "\x00\x1b\x9b\u2028":
        assert control not in written


def test_json_lines_can_be_read_back() -> None:
    request, failed, library = (json.loads(line) for line in logged().splitlines())
    assert (request["event"], request["level"], request["decision"], request["query_chars"]) == (
        "rewrite", "info", "rewrite", len(REQUEST.query),
    )  # fmt: skip
    assert failed["error"] == "ValueError from KeyError"
    assert any("test_logs.py" in frame for frame in failed["frames"])
    assert (library["logger"], library["level"]) == ("asyncio", "error")


def test_pseudonyms_tell_users_apart_and_no_more() -> None:
    assert logs.pseudonym("otto") == logs.pseudonym("otto") != logs.pseudonym("bob")
    assert "otto" not in logs.pseudonym("otto")
    assert len(logs.pseudonym("\ud800")) == 12


def test_level_is_kept() -> None:
    assert logged(log_level="error").count("\n") == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [("play jazz", "play jazz"), ("日本 é", "日本 é"), ("a\x00b\n", "a\\x00b\\n"), ("\ud800", "\\ud800")],
)
def test_printable(text: str, shown: str) -> None:
    assert logs.printable(text) == shown


def test_a_line_says_the_arm_and_not_what_was_withheld() -> None:
    held = DECISION.for_arm(Arm.HOLD_OUT)
    told = logs.decision_fields(held, log_texts=False)
    assert (told["decision"], told["reason"], told["arm"]) == ("pass", "hold_out", "hold_out")
    assert "tangerine" not in json.dumps(told)
    assert logs.decision_fields(held, log_texts=True)["withheld"] == "play tangerine\\x9b"
    assert "arm" not in logs.decision_fields(DECISION.for_arm(None), log_texts=True)
