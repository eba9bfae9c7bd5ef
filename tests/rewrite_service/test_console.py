"""The console as an operator meets it: a real server, a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browser import ask, browser, log_in, logged_in, ready
from conftest import NOON, Launch, RunningServer, a_request, a_turn, until, wait_for
from playwright.sync_api import Browser, Page, expect

from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token
from rewrite_service.pb import rewrite_pb2 as pb

WORKERS = 2
ALL = ["console", "explain", "admin", "rewrite", "record"]
XSS = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script>"


@dataclass
class Running:
    """A server with a console at `address`. `tokens`: by name."""

    server: RunningServer
    address: str
    tokens: dict[str, str]
    bundle: Path

    def metadata(self, name: str = "carol") -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.tokens[name]}"),)

    def rewrite(self, **fields: Any) -> pb.RewriteResponse:
        return self.server.stub.Rewrite(a_request(**fields), timeout=60, metadata=self.metadata())

    def log(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.server.log() if line["event"] == event]


def console_address(server: RunningServer) -> str:
    told = wait_for(lambda: [s for s in server.log() if "console_address" in s], server.process, server.log_file)
    return told[0]["console_address"]


@pytest.fixture(scope="module")
def running(launch: Launch, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Running:
    folder = tmp_path_factory.mktemp("console")
    place = folder / "bundle"
    shutil.copytree(bundle_dir, place)
    made = {name: new_token() for name in ("carol", "viewer", "assistant", "acme")}
    scopes = {"carol": ALL, "viewer": ["console"], "assistant": ["rewrite", "explain"], "acme": ALL}
    for name, token in made.items():
        tenant = "acme" if name == "acme" else ""
        block = {"name": name, "sha256": digest_of(token).hex(), "scopes": scopes[name], "tenant": tenant}
        add_token(folder / "tokens.toml", entry_of(block))
    # One kept bundle that never rewrites: its threshold is beyond reach.
    kept = folder / "bundle.kept" / "20260101T000000-0123456789ab"
    shutil.copytree(bundle_dir, kept)
    manifest = json.loads((kept / "manifest.json").read_text())
    manifest["policy"]["threshold"] = 1.0
    manifest["version"] = kept.name
    (kept / "manifest.json").write_text(json.dumps(manifest))
    server = launch(
        bundle=place, tokens_file=folder / "tokens.toml", console_port=0, workers=WORKERS,
        default_deadline_ms=60_000, explain_deadline_ms=60_000, max_wait_ms=60_000,
    )  # fmt: skip
    return Running(server, console_address(server), made, place)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def carols(running: Running, chrome: Browser) -> Page:
    return logged_in(chrome, running.address, running.tokens["carol"])


@pytest.fixture
def page(carols: Page) -> Iterator[Page]:
    """Carol's, as if just opened."""
    carols.reload()
    ready(carols)
    yield carols
    assert carols.errors == []


def test_a_request_is_explained(page: Page) -> None:
    page.check("#has_screen")
    ask(page, "cleo", "play ago")
    expect(page.locator(".verdict")).to_contain_text("watch the movie go")
    expect(page.locator(".verdict")).to_contain_text("confident")
    options = page.locator("[role=option]")
    assert options.count() > 12, "those that were not ranked as well"
    expect(page.locator("[role=option][aria-selected=true]")).to_contain_text("watch the movie go")
    assert page.locator(".bars rect.for").count() > 3
    assert {"query", "retrieve", "predict"} <= {text.split()[0] for text in page.locator(".strip li").all_inner_texts()}
    expect(page.locator(".course")).to_contain_text("user not at hand")
    ask(page, "cleo", "play ago")
    expect(page.locator(".course")).to_contain_text("user at hand")
    page.click("text=personal >> nth=0")
    drawn = page.locator(".bars rect.for").first.bounding_box()
    assert drawn and drawn["width"] > 10


def test_it_goes_by_keys_alone(page: Page) -> None:
    assert page.evaluate("document.activeElement.id") == "user", "where one begins to type"
    page.keyboard.type("cleo")
    page.keyboard.press("Tab")
    page.keyboard.type("play ago")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=listbox]")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    before = page.locator("[aria-selected=true][role=option]").inner_text()
    page.keyboard.press("ArrowDown")
    marked = page.locator("[aria-selected=true][role=option]")
    assert marked.inner_text() != before
    expect(page.locator(".grounds h3")).to_contain_text(marked.locator(".text").inner_text().split("\n")[0])
    for key, view in (("2", "#rules"), ("3", "#live"), ("1", "#ask")):
        page.keyboard.press(key)
        expect(page.locator(view)).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("what is remembered")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_a_situation_with_turns_just_before(page: Page) -> None:
    completed = page.locator("[role=option]", has_text="completion")
    page.click("summary")
    ask(page, "nobody-yet", "turn it off")
    assert completed.count() == 0, "nothing was said that it could follow"
    page.fill("#earlier", "20: turn on the kitchen light")
    ask(page, "nobody-yet", "turn it off")
    expect(completed.first).to_contain_text("turn off the kitchen light")
    page.fill("#earlier", "soon")
    ask(page, "nobody-yet", "turn it off")
    expect(page.locator("#result .problem")).to_contain_text("write seconds ago")


def test_a_pin_is_served_and_taken_back(running: Running, page: Page) -> None:
    said = {"user_id": "gus", "query": "open the pod bay doors"}
    assert running.rewrite(**said).decision == pb.DECISION_PASS
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#rules")).to_contain_text("Nothing is blocked or pinned")
    page.click("#rules >> text=Pin a rewrite")
    page.fill("#rule-heard", said["query"])
    page.fill("#rule-rewrite", "turn on the porch light")
    page.fill("#rule-reason", XSS)
    page.select_option("#rule-lasts", "7")
    page.press("#rule-reason", "Enter")
    expect(page.locator("#rules table")).to_contain_text("carol")
    expect(page.locator("#rules table")).to_contain_text(XSS)
    reply = running.rewrite(**said)
    assert (reply.text, reply.reason) == ("turn on the porch light", pb.REASON_PINNED)
    page.keyboard.press("1")
    ask(page, "gus", said["query"])
    expect(page.locator(".applied")).to_contain_text("pin")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.click("#rules button[aria-label^=Remove]")
    expect(page.locator("#rules")).to_contain_text("Nothing is blocked or pinned")
    assert running.rewrite(**said).decision == pb.DECISION_PASS


def test_a_candidate_is_blocked_from_the_list(running: Running, page: Page) -> None:
    page.check("#has_screen")
    ask(page, "cleo", "play ago")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    assert page.input_value("#rule-rewrite") == "watch the movie go"
    page.fill("#rule-reason", "report 17")
    page.press("#rule-reason", "Enter")
    expect(page.locator(".verdict")).to_contain_text("blocked")
    page.keyboard.press("2")
    page.click("#rules button[aria-label^=Remove]")
    expect(page.locator("#rules")).to_contain_text("Nothing is blocked or pinned")


def test_two_bundles_side_by_side(page: Page) -> None:
    page.check("#has_screen")
    page.fill("#user", "cleo")
    page.fill("#query", "play ago")
    page.wait_for_function("document.querySelectorAll('#other option').length === 3")
    page.select_option("#other", "20260101T000000-0123456789ab")
    page.click("#compare-button")
    page.wait_for_selector(".two .verdict, #result .problem", timeout=60_000)
    sides = page.locator(".two .verdict")
    expect(sides.nth(0)).to_contain_text("confident")
    expect(sides.nth(1)).to_contain_text("below threshold")
    expect(page.locator("#result")).to_contain_text("They answer differently")
    assert page.locator(".compared tbody tr").count() > 3
    page.select_option("#other", "/")
    page.fill("#folder", "/nowhere")
    page.click("#compare-button")
    expect(page.locator("#result .problem")).to_contain_text("/nowhere")


def test_what_is_remembered_is_looked_at_on_purpose_and_written_down(running: Running, page: Page) -> None:
    turn = a_turn(user_id="hal", interaction_id="h1", query="play daisy bell", timestamp_ms=NOON)
    late = pb.FeedbackEvent(
        user_id="hal", interaction_id="h1", feedback=pb.Feedback(barge_in=True), rewritten_query="play bicycle race"
    )
    request = pb.RecordRequest(interactions=[turn], feedback=[late])
    running.server.stub.Record(request, timeout=60, metadata=running.metadata())
    lesson = pb.TeachRequest(user_id="hal", text="my boss is called dave")
    running.server.stub.Teach(lesson, timeout=60, metadata=running.metadata())
    before = len(running.log("audit"))
    page.fill("#user", "hal")
    page.click("#memory-button")
    page.wait_for_selector("text=Remembered of")
    for told in ("1 turns", "my boss", "dave", "play daisy bell", "play bicycle race"):
        expect(page.locator("#result")).to_contain_text(told)
    audit = running.log("audit")[before:]
    assert [(line["action"], line["client"]) for line in audit] == [("describe_user", "carol")]
    assert len(audit[0]["user"]) == 12
    assert "hal" not in json.dumps(audit) and "daisy" not in running.server.log_file.read_text()

    page.fill("#user", "hall")
    assert "daisy" not in page.inner_text("body"), "another user is named, and nothing of the first is left"
    ask(page, "hall", "play daisy")
    assert "daisy bell" not in page.inner_text("#result")
    page.click("#memory-button")
    expect(page.locator("#result")).to_contain_text("Nothing: nobody of this id")


def test_charts_move(running: Running, page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(page.locator("#live .tile").first).to_contain_text(f"of {WORKERS}")
    first = page.locator("#live svg polygon").first.get_attribute("points")
    for i in range(30):
        running.rewrite(user_id=f"u{i}", query="play jazz")
    expect(page.locator("#live .shares").first).to_be_visible()
    # Not "to be visible": a line on which all is alike is flat, and Playwright takes what has no height for hidden.
    expect(page.locator("#live polyline.line").first).to_have_attribute("points", re.compile("[0-9]"))
    moved = "before => document.querySelector('#live svg polygon').getAttribute('points') !== before"
    page.wait_for_function(moved, arg=first)
    expect(page.locator("#live")).to_contain_text("predict")


def test_texts_and_ids_are_text(page: Page) -> None:
    ask(page, XSS, XSS)
    expect(page.locator(".verdict q")).to_have_text(XSS)
    page.click("#memory-button")
    page.wait_for_selector("text=Remembered of")
    assert page.evaluate("window.hit") is None
    assert page.locator("#result img, #result script").count() == 0


def test_wrong_tokens_are_refused_and_then_slowed(running: Running, chrome: Browser) -> None:
    context = chrome.new_context()
    page = context.new_page()
    log_in(page, running.address, "qrw_wrong")
    expect(page.locator("[role=alert]")).to_contain_text("not known here")
    log_in(page, running.address, running.tokens["assistant"])
    expect(page.locator("[role=alert]")).to_contain_text("needs the scope 'console'")
    page.goto(running.address)
    assert page.url.endswith("/login")
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{running.address}/api/live", timeout=60)
    assert refused.value.code == 401
    assert "qrw_" not in running.server.log_file.read_text()
    context.close()


def test_a_token_can_do_here_what_it_can_do_anywhere(running: Running, chrome: Browser) -> None:
    page = logged_in(chrome, running.address, running.tokens["viewer"])
    ask(page, "cleo", "play ago")
    expect(page.locator("#result .problem")).to_contain_text("needs the scope 'explain'")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#rules .problem")).to_contain_text("needs the scope 'admin'")
    page.keyboard.press("3")
    expect(page.locator("#live .tile").first).to_be_visible()
    page.context.close()

    theirs = logged_in(chrome, running.address, running.tokens["acme"])
    theirs.fill("#user", "cleo")
    theirs.click("#memory-button")
    expect(theirs.locator("#result")).to_contain_text("Nothing: nobody of this id")
    theirs.context.close()


def test_a_forged_post_does_nothing(running: Running, page: Page) -> None:
    rule = {"heard": "", "rewrite": "play jazz", "author": "mallory", "reason": "none"}
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())
    secret = page.get_attribute("meta[name=csrf]", "content")

    def post(**headers: str) -> int:
        data = json.dumps(rule).encode()
        asked = Request(f"{running.address}/api/Block", data, {"cookie": cookies, **headers}, method="POST")
        try:
            with urlopen(asked, timeout=60) as reply:
                return reply.status
        except HTTPError as error:
            return error.code

    assert post() == 403, "with the cookie alone"
    assert post(**{"x-csrf-token": "guess"}) == 403
    assert post(**{"x-csrf-token": secret, "origin": "http://evil.example"}) == 403
    assert post(**{"x-csrf-token": secret, "sec-fetch-site": "cross-site"}) == 403
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#rules")).to_contain_text("Nothing is blocked or pinned")
    assert post(**{"x-csrf-token": secret}) == 200, "all that was refused was not for another reason"
    page.keyboard.press("1")
    page.keyboard.press("2")
    expect(page.locator("#rules table")).to_contain_text("carol"), "the author is who is logged in"
    page.click("#rules button[aria-label^=Remove]")
    expect(page.locator("#rules")).to_contain_text("Nothing is blocked or pinned")
    cookie = next(c for c in page.context.cookies() if c["name"].endswith("-session"))
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"


def test_nothing_is_loaded_from_elsewhere_and_it_fits(running: Running, chrome: Browser) -> None:
    for size in ({"width": 1280, "height": 800}, {"width": 390, "height": 844}):
        page = logged_in(chrome, running.address, running.tokens["carol"], viewport=size)
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.reload()
        ready(page)
        ask(page, "cleo", "play ago")
        for key in "231":
            page.keyboard.press("Escape")
            page.keyboard.press(key)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, key)
        assert asked and all(url.startswith(running.address) for url in asked)
        assert page.evaluate("[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                             ".every((field) => field.labels.length || field.getAttribute('aria-label'))")
        page.context.close()


def test_a_console_that_dies_is_started_anew_and_serving_goes_on(running: Running) -> None:
    def consoles() -> list[int]:
        parent = running.server.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children if niceness(int(pid)) == 5]

    def niceness(pid: int) -> int | None:
        with suppress(ProcessLookupError):  # one that has just ended
            return os.getpriority(os.PRIO_PROCESS, pid)
        return None

    def answers() -> bool:
        with suppress(OSError), urlopen(f"{running.address}/login", timeout=60) as reply:
            return reply.status == 200
        return False

    assert answers()
    (before,) = consoles()
    os.kill(before, signal.SIGKILL)
    assert running.rewrite(user_id="ivy", query="play jazz").reason
    until(lambda: (now := consoles()) and before not in now)
    until(answers)
