"""The console's parts without a browser: sessions, tries, what the page may call, charts' figures, TLS, its end."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import grpc
import pytest
import structlog
from certificates import Authority
from conftest import NOON, Launch, a_request, a_turn, wait_for
from hypothesis import given
from hypothesis import strategies as st

from retriever.candidates import Candidate
from rewrite_service import console, logs
from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token
from rewrite_service.audit import audit
from rewrite_service.console.calls import METHODS, to_json, to_message
from rewrite_service.console.comparing import bundle_path, bundles_at
from rewrite_service.console.guard import Refused
from rewrite_service.console.live import Reading, quantile, samples
from rewrite_service.console.sessions import IDLE_S, LASTS_S, MAX_SESSIONS, Sessions, Tries
from rewrite_service.decision import Reason
from rewrite_service.explanation import _sources
from rewrite_service.pb import admin_pb2
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb.rewrite_pb2_grpc import RewriteServiceStub
from rewrite_service.server import Exit
from rewrite_service.settings import Settings, SettingsError, load_settings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_when_it_is_silent_or_old_or_closed() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    silent, busy, closed = (sessions.open(name) for name in ("a", "b", "c"))
    assert sessions.find(busy).token == "b" and sessions.find("b") is None and sessions.find(None) is None
    sessions.close(closed)
    assert sessions.find(closed) is None
    end = clock.now + LASTS_S
    while clock.now + IDLE_S * 0.9 < end:
        clock.now += IDLE_S * 0.9
        assert sessions.find(busy) is not None
    assert sessions.find(silent) is None
    clock.now = end + 1
    assert sessions.find(busy) is None
    for i in range(MAX_SESSIONS + 50):
        sessions.open(str(i))
    assert len(sessions) == MAX_SESSIONS


def test_tries_are_bounded_for_each_address_and_come_back() -> None:
    clock = Clock()
    tries = Tries(clock)
    assert [tries.wait_s("one") > 0 for _ in range(12)] == [False] * 10 + [True] * 2
    assert tries.wait_s("other") == 0
    clock.now += 5.1
    assert tries.wait_s("one") == 0 and tries.wait_s("one") > 0
    assert sum(tries.wait_s(f"address {i}") == 0 for i in range(5000)) <= 60, "all together have a bound, too"


def test_the_page_can_call_what_it_needs_and_nothing_else() -> None:
    assert set(METHODS) == {"Explain", "DescribeUser", "BundleStatus", "Block", "Pin", "Unblock", "ListRules"}


def test_what_is_left_out_is_put_in_and_the_author_is_who_is_logged_in() -> None:
    asked = {"request": {"user_id": "ada", "query": "NaN"}, "earlier": [{"query": "hi", "user_id": "ben"}]}
    message = to_message("Explain", json.dumps(asked).encode(), "carol")
    assert isinstance(message, pb.ExplainRequest)
    assert message.request.interaction_id and message.request.timestamp_ms > NOON
    assert message.earlier[0].user_id == "ada", "of whoever asks, whatever was sent"
    rule = to_message("Pin", b'{"heard": "a", "rewrite": "b", "author": "mallory"}', "carol")
    assert isinstance(rule, admin_pb2.PinRequest) and rule.author == "carol"
    for bad in (b"{", b"[]", b"7", b'{"nothing": 1}', b'{"request": {"timestamp_ms": "soon"}}', b"\xff"):
        with pytest.raises(Refused) as refused:
            to_message("Explain", bad, "carol")
        assert refused.value.status == 400


def test_what_is_not_a_number_is_null_and_a_text_stays_a_text() -> None:
    feature = pb.FeatureContribution(name="NaN", value=float("nan"), contribution=0.5)
    made = to_json(pb.ExplainResponse(candidates=[pb.Candidate(text="NaN", features=[feature])]))
    (candidate,) = made["candidates"]
    assert candidate["text"] == "NaN"
    assert candidate["features"] == [{"name": "NaN", "value": None, "contribution": 0.5}]


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1))
def test_a_quantile_lies_where_a_sorted_list_has_it(counts: list[int], share: float) -> None:
    bounds = (1.0, 2.0, 4.0)
    found = quantile(counts, bounds, share)
    if not sum(counts):
        assert found is None
        return
    places = [i for i, count in enumerate(counts) for _ in range(count)]
    at = places[min(len(places) - 1, max(0, -int(-share * len(places) // 1) - 1))]
    lower, upper = (0.0, *bounds, 4.0)[at], (*bounds, 4.0)[at]
    assert lower - 1e-9 <= found <= upper + 1e-9 or abs(share * len(places) - round(share * len(places))) < 1e-6


def test_rates_are_differences_and_never_negative() -> None:
    none = {reason.value: 0.0 for reason in Reason}
    first = Reading(1000, none, (0.0,) * 16, {}, {}, 0.0, 0.0, 1.0, {})
    more = none | {"confident": 4.0, "query_looks_fine": 6.0, "no_candidates": 2.0}
    then = dataclasses.replace(first, at_ms=3000, reasons=more, latency=(0.0, 12.0, *[0.0] * 14), shed=2.0)
    (row,) = samples([first, then])
    assert (row["rewritten"], row["fine"], row["left"], row["refused"]) == (2.0, 3.0, 1.0, 1.0)
    assert 0.25 < row["p50"] < row["p99"] <= 0.5, "milliseconds, of 250 to 500 µs"
    (fell,) = samples([then, dataclasses.replace(first, at_ms=4000)])
    assert (fell["rewritten"], fell["p50"]) == (0.0, None)
    assert samples([first, then], since_ms=3000) == []


def test_which_bundles_can_be_compared_with(tmp_path: Path) -> None:
    place, version = tmp_path / "bundle", "20260101T000000-0123456789ab"
    assert bundles_at(place) == []
    (tmp_path / "bundle.kept" / version).mkdir(parents=True)
    place.mkdir()
    (place / "manifest.json").write_text('{"version": "20260202T000000-0123456789ab"}')
    assert [known["version"] for known in bundles_at(place)] == ["20260202T000000-0123456789ab", version]
    assert bundle_path(place, version, False) == tmp_path / "bundle.kept" / version
    assert bundle_path(place, str(tmp_path), True) == tmp_path
    for named, status in (
        (str(tmp_path), 403), ("../etc", 404), ("20260101T000000-ffffffffffff", 404),
        ("", 400), (7, 400), ("/a\0", 400),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            bundle_path(place, named, False)
        assert refused.value.status == status


def test_settings_name_what_a_console_needs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"console_port: .*set tokens_file"):
        load_settings(console_port=0)
    with pytest.raises(SettingsError, match=r"console_host: 0\.0\.0\.0 can be reached by others: set tls_cert"):
        load_settings(console_port=0, console_host="0.0.0.0", tokens_file=tmp_path / "t", allow_insecure=True)


def test_a_look_is_written_down_whatever_the_level() -> None:
    stream = io.BytesIO()
    try:
        logs.configure_logging(Settings(log_level="error"), stream)
        structlog.get_logger().warning("not this")
        audit("describe_user", "carol", "ada of the mill")
    finally:
        structlog.reset_defaults()
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["action"], line["client"]) == ("audit", "describe_user", "carol")
    assert len(line["user"]) == 12 and "mill" not in str(line)  # no word that a hash can spell


def test_with_tls_its_cookies_are_for_tls_alone_and_it_ends_with_the_server(launch: Launch, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    authority.write(tmp_path, "server")
    token = new_token()
    scopes = {"name": "carol", "sha256": digest_of(token).hex(), "scopes": ["console", "explain"]}
    add_token(tmp_path / "tokens.toml", entry_of(scopes))
    server = launch(
        wait=False, tokens_file=tmp_path / "tokens.toml", console_port=0,
        tls_cert=tmp_path / "server.pem", tls_key=tmp_path / "server.key",
    )  # fmt: skip
    told = wait_for(lambda: [s for s in server.log() if "console_address" in s], server.process, server.log_file)
    address = told[0]["console_address"]
    assert address.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    with urllib.request.urlopen(f"{address}/login", timeout=60, context=trusting) as reply:
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("__Host-console-")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    many = urllib.request.Request(f"{address}/login", b"a=1&" * 20)
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(many, timeout=60, context=trusting)
    assert refused.value.code == 400
    opened = {os.readlink(fd) for fd in Path(f"/proc/{server.process.pid}/fd").iterdir()}
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if "@query-rewrite-" in line]
    name = next(row[-1].removeprefix("@") for row in sockets if f"socket:[{row[-2]}]" in opened)
    with grpc.insecure_channel(f"unix-abstract:{name}") as channel, pytest.raises(grpc.RpcError) as refused:
        metadata = (("authorization", f"Bearer {token}"),)
        RewriteServiceStub(channel).DescribeUser(pb.DescribeUserRequest(user_id="ada"), timeout=60, metadata=metadata)
    assert refused.value.details() == "this socket is the console's own"
    too_long = urllib.request.Request(f"{address}/login", b"x" * 200_000)
    with pytest.raises((HTTPError, URLError)):
        urllib.request.urlopen(too_long, timeout=60, context=trusting)
    assert server.stop() == Exit.OK
    with pytest.raises(URLError):
        urllib.request.urlopen(f"{address}/login", timeout=60, context=trusting)


def test_a_port_that_is_taken_ends_the_start(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in (1, 2):
            command = [sys.executable, "-m", "rewrite_service.cli", "serve", "--bundle", "none", "--port", "0"]
            settings = {
                "QUERY_REWRITE_CONSOLE_PORT": str(port),
                "QUERY_REWRITE_TOKENS_FILE": str(tmp_path / "tokens.toml"),
                "QUERY_REWRITE_WORKERS": str(workers),
            }
            done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=300)
            assert done.returncode == Exit.ADDRESS
            assert "set another console_port" in done.stderr


def test_describing_needs_the_consoles_scope_and_explaining_takes_turns_of_the_same_user_alone(
    launch: Launch, tmp_path: Path
) -> None:
    tokens = {}
    for name, scopes in (("looker", ["console"]), ("asker", ["explain"]), ("both", ["console", "explain"])):
        tokens[name] = (("authorization", f"Bearer {(token := new_token())}"),)
        entry = {"name": name, "sha256": digest_of(token).hex(), "scopes": scopes}
        add_token(tmp_path / "tokens.toml", entry_of(entry))
    stub = launch(tokens_file=tmp_path / "tokens.toml").stub
    cleo = pb.DescribeUserRequest(user_id="cleo")
    found = stub.DescribeUser(cleo, timeout=60, metadata=tokens["looker"])
    assert found.turns == found.bundle_turns > 100 and found.texts[0].text == "watch the movie go"
    assert found.texts_in_all == len(found.texts) and 0 < found.first_ms < found.last_ms
    assert [t.successes for t in found.texts] == sorted((t.successes for t in found.texts), reverse=True)
    with pytest.raises(grpc.RpcError) as refused:
        stub.DescribeUser(cleo, timeout=60, metadata=tokens["asker"])
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED

    def explain(**earlier: object) -> pb.ExplainResponse:
        asked = a_request(user_id="newcomer", query="turn it off", timestamp_ms=NOON)
        turn = a_turn(interpretation=None, query="turn on the kitchen light", timestamp_ms=NOON - 20_000, **earlier)
        message = pb.ExplainRequest(request=asked, earlier=[turn])
        return stub.Explain(message, timeout=60, metadata=tokens["asker"])

    told = explain(user_id="newcomer")
    assert "turn off the kitchen light" in {c.text for c in told.candidates if "completion" in c.sources}
    assert not told.caches, "they hold what others asked"
    about_caches = pb.ExplainRequest(request=a_request(), with_caches=True)
    caches = stub.Explain(about_caches, timeout=60, metadata=tokens["both"]).caches
    assert {look.cache for look in caches} == {"users", "decisions", "text_vectors", "text_sounds"}
    with pytest.raises(grpc.RpcError) as refused:
        stub.Explain(about_caches, timeout=60, metadata=tokens["asker"])
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert told.left_out and not any(candidate.features for candidate in told.left_out)
    assert not {c.text for c in told.left_out} & {c.text for c in told.candidates}
    with pytest.raises(grpc.RpcError) as refused:
        explain(user_id="somebody-else")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "earlier[0].user_id" in refused.value.details()


def test_every_reason_and_every_way_to_a_candidate_has_words() -> None:
    words = (Path(console.__file__).parent / "static/words.js").read_text()
    tables = {
        name: set(re.findall(r"^  (\w+):", body, re.M))
        for name, body in re.findall(r"(\w+) = \{\n(.*?)\n\}", words, re.S)
    }
    assert tables["REASONS"] == {f"REASON_{reason.name}" for reason in Reason}
    everything: dict[str, Any] = {field.name: SimpleNamespace(people=1) for field in dataclasses.fields(Candidate)}
    numbers = {"meaning": 1.0, "sound": 1.0, "personal_repair": 1.0, "global_repair": 1.0, "is_query": True}
    assert tables["SOURCES"] == set(_sources(Candidate(**everything | numbers)))


def test_its_process_needs_neither_model_nor_store() -> None:
    program = (
        "import sys, rewrite_service.console.main, rewrite_service.console.app, rewrite_service.console.process;"
        "assert not {'onnxruntime', 'lightgbm', 'lmdb', 'redis', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
