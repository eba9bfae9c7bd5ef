"""Blocked and pinned rewrites: the pure rules, the file that all processes share, and both over a real socket."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from conftest import Launch, RunningServer, a_request
from hypothesis import given
from hypothesis import strategies as st
from strategies import ANY_TEXT
from typer.testing import CliRunner

from retriever.interaction import Request
from retriever.normalise import normalise
from rewrite_service.access.tokens import TokenEntry, add_token, digest_of, new_token
from rewrite_service.admin import rule_book
from rewrite_service.admin.commands import TOKEN_VARIABLE, app
from rewrite_service.admin.files import FOLDER
from rewrite_service.admin.rule_book import RuleBook
from rewrite_service.admin.rules import Rule, RuleKind, Rules
from rewrite_service.decision import Decision, Layer, Reason
from rewrite_service.errors import StoreError
from rewrite_service.pb import admin_pb2, admin_pb2_grpc
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.settings import SettingsError, load_settings

NOW = 1_800_000_000_000
BLOCK = Rule(RuleKind.BLOCK, "play ago", "Watch the Movie, Go!", "ann", "report 17", NOW)
PIN = Rule(RuleKind.PIN, "play ago", "play lego", "bob", "campaign", NOW)
REWRITE = Decision("watch the movie go", Reason.CONFIDENT, 0.9, 0.5, Layer.PERSONAL)
PASS = Decision(None, Reason.LEAVE_IS_BETTER)


def asked(query: str = "Play  ago?") -> Request:
    return Request("i", "u", NOW, query)


def test_a_block_makes_a_pass_of_its_rewrite_alone() -> None:
    rules = Rules([BLOCK])
    assert rules.applied(REWRITE, asked(), NOW) == replace(REWRITE, text=None, reason=Reason.BLOCKED)
    assert rules.applied(REWRITE, asked("play a go"), NOW) == REWRITE, "another thing was heard"
    other = replace(REWRITE, text="watch the movie up")
    assert rules.applied(other, asked(), NOW) == other
    assert rules.applied(PASS, asked(), NOW) == PASS


def test_a_block_of_whatever_is_heard() -> None:
    rules = Rules([replace(BLOCK, heard="")])
    for query in ("play ago", "anything"):
        assert rules.applied(REWRITE, asked(query), NOW).reason is Reason.BLOCKED


def test_a_pin_rewrites_and_goes_before_a_block() -> None:
    rules = Rules([PIN, replace(BLOCK, heard="", rewrite=PIN.rewrite), BLOCK])
    for decision in (REWRITE, PASS):
        made = rules.applied(decision, asked(), NOW)
        assert (made.text, made.reason, made.layer) == ("play lego", Reason.PINNED, Layer.GLOBAL)
    assert rules.applied(PASS, asked("play a go"), NOW) == PASS


def test_what_has_expired_does_nothing() -> None:
    rules = Rules([replace(PIN, expires_ms=NOW), replace(BLOCK, expires_ms=NOW)])
    assert rules.applied(REWRITE, asked(), NOW) == REWRITE
    assert rules.applied(REWRITE, asked(), NOW - 1).reason is Reason.PINNED


few = st.sampled_from(["", "a", "b", "A b", "a, B"])
stamps = st.integers(0, 9)
made = st.builds(Rule, st.sampled_from(RuleKind), few.map(normalise), few, st.just(""), st.just(""), stamps, stamps)


@given(st.lists(made, max_size=8), few | ANY_TEXT, st.none() | few | ANY_TEXT, st.integers(1, 9))
def test_rules_do_what_a_search_through_the_list_says(
    rules: list[Rule], query: str, text: str | None, now: int
) -> None:
    decision = replace(REWRITE, text=text) if text is not None else PASS
    latest = {(r.kind, r.heard if r.kind is RuleKind.PIN else r.pair): r for r in rules}.values()
    hold = [r for r in latest if r.expires_ms == 0 or now < r.expires_ms]
    heard = normalise(query)
    pins = [r.rewrite for r in hold if r.kind is RuleKind.PIN and r.heard == heard]
    blocked = text is not None and any(
        r.kind is RuleKind.BLOCK and r.heard in ("", heard) and normalise(r.rewrite) == normalise(text) for r in hold
    )
    found = Rules(rules).applied(decision, asked(query), now)
    if pins:
        assert (found.text, found.reason) == (pins[0], Reason.PINNED)
    elif blocked:
        assert (found.text, found.reason) == (None, Reason.BLOCKED)
    else:
        assert found == decision


# On disk.


def test_every_reader_sees_what_any_writer_said(tmp_path: Path) -> None:
    one, other = RuleBook(tmp_path), RuleBook(tmp_path)
    one.add(BLOCK)
    other.add(PIN)
    assert one.current().all() == other.current().all() == [PIN, BLOCK] or len(one.current()) == 2
    assert other.applied(PASS, asked()).reason is Reason.PINNED
    assert one.remove("play ago", "play lego") == 1 and one.remove("play ago", "play lego") == 0
    assert other.applied(REWRITE, asked()).reason is Reason.BLOCKED
    assert RuleBook(tmp_path).current().all() == [BLOCK], "after a restart too"
    assert [p.name for p in (tmp_path / FOLDER).iterdir() if p.name.startswith(".")] == [], "no draft is left"
    assert (tmp_path / FOLDER / "rules.json").stat().st_mode & 0o077 == 0


def _add(state_dir: Path, number: int) -> None:
    book = RuleBook(state_dir)
    for i in range(20):
        book.add(replace(BLOCK, heard=f"{number} {i}"))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    writers = [multiprocessing.get_context("fork").Process(target=_add, args=(tmp_path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(RuleBook(tmp_path).current()) == 80


@pytest.mark.parametrize("bad", [b"{", b"[1]", b'[{"kind":"other"}]', b"7", b'[{"kind":"pin","heard":1}]'])
def test_a_file_that_cannot_be_read(tmp_path: Path, bad: bytes) -> None:
    book = RuleBook(tmp_path)
    book.add(BLOCK)
    (tmp_path / FOLDER / "rules.json").write_bytes(bad)
    assert book.applied(REWRITE, asked()).reason is Reason.BLOCKED, "a running server goes on with what it knows"
    with pytest.raises(StoreError, match=r"rules.json.*remove it"):
        RuleBook(tmp_path)


def test_rules_are_bounded_and_expired_ones_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_book, "MAX_RULES", 2)
    book = RuleBook(tmp_path)
    book.add(replace(BLOCK, heard="a", expires_ms=NOW + 5))
    book.add(replace(BLOCK, heard="b"))
    with pytest.raises(ValueError, match="remove some"):
        book.add(replace(BLOCK, heard="c"))
    book.add(replace(BLOCK, heard="c", made_ms=NOW + 5))
    assert {rule.heard for rule in book.current().all()} == {"b", "c"}


# Over a socket.

HEARD = {"user_id": "somebody", "query": "play we don't talk about brew no", "asr_confidence": 0.8}
BRUNO = "play we don't talk about bruno"


@pytest.fixture(scope="module")
def server(launch: Launch) -> RunningServer:
    return launch(admin_port=0, default_deadline_ms=2000)


@pytest.fixture
def admin(server: RunningServer):
    address = next(line["admin_address"] for line in server.log() if "admin_address" in line)
    with grpc.insecure_channel(address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        yield stub
        for rule in stub.ListRules(admin_pb2.ListRulesRequest()).rules:
            stub.Unblock(admin_pb2.UnblockRequest(heard=rule.heard, rewrite=rule.rewrite))


def decided(server: RunningServer) -> tuple[int, int, str]:
    """Twice the same request, so that a remembered decision is asked for as well."""
    replies = [server.stub.Rewrite(a_request(**HEARD, interaction_id="same"), timeout=60) for _ in range(2)]
    first, second = ((r.decision, r.reason, r.text) for r in replies)
    assert first == second
    return first


def test_a_rule_counts_from_the_next_request_on(server: RunningServer, admin: admin_pb2_grpc.AdminServiceStub) -> None:
    before = decided(server)
    assert before == (pb.DECISION_REWRITE, pb.REASON_CONFIDENT, BRUNO)
    rule = {"rewrite": BRUNO.upper(), "author": "ann", "reason": "report 17"}
    admin.Block(admin_pb2.BlockRequest(**rule))
    assert decided(server) == (pb.DECISION_PASS, pb.REASON_BLOCKED, "")
    admin.Pin(admin_pb2.PinRequest(heard=HEARD["query"], **rule | {"rewrite": "play jazz"}))
    assert decided(server) == (pb.DECISION_REWRITE, pb.REASON_PINNED, "play jazz")
    listed = admin.ListRules(admin_pb2.ListRulesRequest()).rules
    assert [(r.kind, r.rewrite, r.author, r.reason) for r in listed] == [
        (admin_pb2.RULE_KIND_BLOCK, BRUNO.upper(), "ann", "report 17"),
        (admin_pb2.RULE_KIND_PIN, "play jazz", "ann", "report 17"),
    ]
    assert all(time.time() * 1000 - 60_000 < r.made_ms <= time.time() * 1000 for r in listed)
    assert admin.Unblock(admin_pb2.UnblockRequest(rewrite=BRUNO)).removed == 1
    assert admin.Unblock(admin_pb2.UnblockRequest(heard=HEARD["query"], rewrite="play jazz")).removed == 1
    assert decided(server) == before
    assert "bruno" not in server.log_file.read_text().lower()


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("rewrite", {"rewrite": ""}),
        ("rewrite", {"rewrite": "?!"}),
        ("rewrite", {"rewrite": "x" * 1001}),
        ("heard", {"heard": "?"}),
        ("heard", {"heard": "x" * 1001}),
        ("author", {"author": " "}),
        ("author", {"author": "x" * 129}),
        ("reason", {"reason": ""}),
        ("expires_ms", {"expires_ms": 1}),
        ("expires_ms", {"expires_ms": -1}),
        ("expires_ms", {"expires_ms": 2**62}),
    ],
)
def test_bad_fields_are_named(admin: admin_pb2_grpc.AdminServiceStub, field: str, changes: dict) -> None:
    fine = {"heard": "a", "rewrite": "b", "author": "c", "reason": "d"}
    for method, kind in ((admin.Block, admin_pb2.BlockRequest), (admin.Pin, admin_pb2.PinRequest)):
        with pytest.raises(grpc.RpcError) as raised:
            method(kind(**(fine | changes)))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert raised.value.details().startswith(f"{field}: ")
    assert not admin.ListRules(admin_pb2.ListRulesRequest()).rules


def test_the_service_is_not_on_the_servers_own_port(server: RunningServer) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        admin_pb2_grpc.AdminServiceStub(server.channel).ListRules(admin_pb2.ListRulesRequest())
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_command_line_speaks_to_it(server: RunningServer, admin: admin_pb2_grpc.AdminServiceStub) -> None:
    at = ["--address", next(line["admin_address"] for line in server.log() if "admin_address" in line)]
    run = lambda *words: CliRunner().invoke(app, [*words, *at])  # noqa: E731
    assert "block, until 2" in run("block", "call [the] police", "--reason", "report 17", "--for", "2h").output
    assert "pin, until it is removed" in run("pin", "play ago", "watch go", "--reason", "r", "--author", "ann").output
    listed = run("rules").output
    assert "call [the] police" in listed and "(anything)" in listed and "play ago" in listed and "ann" in listed
    assert run("unblock", "call the police").exit_code == 0
    assert run("unblock", "call the police").exit_code == 1
    assert server.process.pid > 0 and str(server.process.pid) in run("status").output
    gone = run("swap", "20200101T000000-000000000000")
    assert gone.exit_code == 1 and run("block", "x", "--reason", "r", "--for", "soon").exit_code == 2


def test_where_there_are_tokens_one_for_admin_is_needed(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {scope: new_token() for scope in ("admin", "rewrite")}
    for scope, token in tokens.items():
        given = {"name": scope, "sha256": digest_of(token).hex(), "scopes": [scope]}
        add_token(tmp_path / "tokens.toml", TokenEntry.model_validate(given))
    server = launch(tokens_file=tmp_path / "tokens.toml", admin_port=0)
    at = ["--address", next(line["admin_address"] for line in server.log() if "admin_address" in line)]
    for token, code in ((None, "UNAUTHENTICATED"), (tokens["rewrite"], "PERMISSION_DENIED"), (tokens["admin"], None)):
        monkeypatch.setenv(TOKEN_VARIABLE, token or "")
        done = CliRunner().invoke(app, ["rules", *at])
        assert (done.exit_code, code or "no rules") == (int(code is not None), code or "no rules")
        assert (code or "no rules") in (done.output + str(done.exception))


def test_beyond_loopback_it_needs_tls_and_tokens() -> None:
    for more in ({}, {"tokens_file": Path("t")}, {"allow_insecure": True}):
        with pytest.raises(SettingsError, match=r"admin_host: 0\.0\.0\.0 can be reached by others"):
            load_settings(admin_host="0.0.0.0", **more)
