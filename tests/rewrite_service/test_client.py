"""The clients, sync and asyncio, against real servers over sockets: answers, deadlines, failing open, hedging,
recording, TLS and tokens, several servers."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from conftest import NOON, Launch, RunningServer, until, wait_for
from relay import Relay

from benchmarks.ports import free_port
from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token
from rewrite_service.client import (
    AsyncClient,
    Client,
    ClientError,
    ClientOptions,
    Context,
    Feedback,
    Interpretation,
    Outcome,
    Recorder,
    user_key,
)
from rewrite_service.client.breaker import Breaker
from rewrite_service.client.core import record_messages
from rewrite_service.pb import rewrite_pb2 as pb

WEATHER = "what's the weather in wilkerson"
SLOW_S = 5.0
"""Each way of a message over a connection that is slow."""
_days = itertools.count(NOON, 86_400_000)
"""What is recorded of ada lies days apart, so that no test's turn is the situation of another's."""


class Blocking:
    """An AsyncClient as if it were a Client, so that one test is for both."""

    def __init__(self, target: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> AsyncClient:
            return AsyncClient(target, **options)

        self._client = self._run(make())

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        return (lambda *args, **kwargs: self._run(member(*args, **kwargs))) if callable(member) else member

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(120)

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


Make = Callable[..., Any]


@pytest.fixture(params=[Client, Blocking], ids=["sync", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made = []

    def one(target: str, **options: Any) -> Any:
        made.append(request.param(target, **({"deadline_ms": 60_000} | options)))
        return made[-1]

    yield one
    for client in made:
        client.close()


def test_importing_it_loads_no_library_of_the_server() -> None:
    program = (
        "import sys, rewrite_service.client; heavy = {'numpy', 'faiss', 'onnxruntime', 'lightgbm', 'orjson', 'lmdb', "
        "'pydantic', 'structlog', 'tokenizers', 'starlette', 'rapidfuzz'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_a_turn_from_the_question_to_what_came_of_it(server: RunningServer, make: Make) -> None:
    client = make(server.address)
    assert client.connect()
    situation = Context(device_id="ada-0", has_screen=True)
    answer = client.rewrite(WEATHER, "ada", timestamp_ms=next(_days), context=situation, asr_confidence=0.8)
    assert (answer.text, answer.rewritten, answer.reason) == (f"{WEATHER} california", True, "confident")
    assert answer.layer == "personal" and 0.5 < answer.probability <= 1 and answer.error is None
    assert answer.stage_us["total"] > 0 and answer.bundle_version
    weather = Interpretation("weather.get", (("place", "wilkerson"), ("state", "california")))
    items = answer.turn(Outcome.OK, weather)
    assert [type(item).__name__ for item in items] == ["Interaction", "TurnFeedback"]
    assert items[1].rewritten_query == answer.text
    assert client.record(items) == 1
    assert client.record([*items, *answer.late(Feedback(dwell_s=60.0))]) == 0, "recorded twice, counted once"
    plain = client.rewrite(WEATHER, "ben")
    assert (plain.text, plain.rewritten) == (WEATHER, False)
    assert plain.late(Feedback())[0].rewritten_query is None


def test_teaching_and_forgetting(server: RunningServer, make: Make) -> None:
    client = make(server.address)
    taught = client.teach("dora", "my sister is called anna")
    assert (taught.preference.kind, taught.preference.value) == ("name", "anna")
    assert client.rewrite("call my sister", "dora").text == "call anna"
    alias = client.teach("dora", kind="alias", subject="movie time", value="turn on the den light").preference
    assert [p.subject for p in client.preferences("dora")] == ["my sister", "movie time"]
    assert client.remove_preference("dora", alias.preference_id)
    assert not client.remove_preference("dora", alias.preference_id)
    assert client.forget_user("dora").preferences == 1
    for wrong in ({"said": "mumble mumble"}, {"kind": "nonsense"}):
        with pytest.raises(ClientError) as raised:
            client.teach("dora", **wrong)
        assert raised.value.code == "invalid_argument"


def test_whatever_is_wrong_the_query_itself_is_the_answer(server: RunningServer, make: Make) -> None:
    client = make(server.address)
    for query, user, code in (
        ("x" * 1001, "ada", "invalid_argument"),
        ("play jazz", " ", "invalid_argument"),
        ("half a \ud800", "ada", "client_error"),
        (None, "ada", "client_error"),
    ):
        answer = client.rewrite(query, user)
        assert (answer.text, answer.rewritten, answer.reason) == (query, False, code)
        with pytest.raises(ClientError) as raised:
            client.rewrite(query, user, raise_errors=True)
        assert raised.value.code == code and "half" not in str(raised.value)
    assert not client.circuit_is_open, "a server that refuses is there"


def test_a_server_that_hangs_costs_a_deadline_and_then_nothing(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        rest = {"breaker_pause_s": 300, "breaker_most_pause_s": 300}
        client = make(f"127.0.0.1:{hanging.getsockname()[1]}", deadline_ms=40, breaker_failures=3, **rest)

        def asked() -> tuple[str, str, float]:
            begun = time.monotonic()
            answer = client.rewrite("play jazz", "ada")
            return answer.text, answer.reason, time.monotonic() - begun

        waited = [asked() for _ in range(3)]
        assert {reason for _, reason, _ in waited} == {"deadline_exceeded"}
        assert 0.03 < min(seconds for _, _, seconds in waited) < 1
        assert client.circuit_is_open
        answers = [asked() for _ in range(50)]
        assert {answer[:2] for answer in answers} == {("play jazz", "circuit_open")}
        assert statistics.median(seconds for _, _, seconds in answers) < 0.02, "half a deadline"


def test_a_server_that_comes_back_is_found(server: RunningServer, make: Make) -> None:
    port = free_port()
    client = make(f"127.0.0.1:{port}", breaker_failures=2, breaker_pause_s=0.05, breaker_most_pause_s=0.1)
    while not client.circuit_is_open:
        assert client.rewrite(WEATHER, "ada").reason in ("unavailable", "circuit_open")
    relay = Relay(server.address, port=port)
    try:
        until(lambda: client.rewrite(WEATHER, "ada").rewritten)
        assert not client.circuit_is_open
    finally:
        relay.close()


def test_hedging_goes_around_a_slow_connection(server: RunningServer, make: Make) -> None:
    relay = Relay(server.address, delay_s=lambda number: SLOW_S if number == 0 else 0.0)
    try:
        hedged = make(relay.address, hedge_after_ms=10, health_checks=False)
        hedged.rewrite(WEATHER, "ada")  # opens both connections, one after the other
        wait_for(lambda: hedged.rewrite(WEATHER, "ada") and relay.connections >= 2, server.process, server.log_file)
        took = []
        for _ in range(4):  # connections take turns, so two of these begin on the slow one
            begun = time.monotonic()
            assert hedged.rewrite(WEATHER, "ada").rewritten
            took.append(time.monotonic() - begun)
        assert max(took) < SLOW_S, "no answer came over the slow connection"
    finally:
        relay.close()


def test_a_record_is_sent_again_until_somebody_takes_it(server: RunningServer, make: Make) -> None:
    port = free_port()
    client = make(f"127.0.0.1:{port}", write_timeout_s=60)
    turn = make(server.address).rewrite("play jazz", "retry").turn(Outcome.OK)
    relays: list[Relay] = []
    timer = threading.Timer(0.3, lambda: relays.append(Relay(server.address, port=port)))
    timer.start()
    try:
        assert client.record(turn) == 1
        assert relays, "before the relay was there, nobody could take it"
    finally:
        timer.join()
        relays[0].close()
    gone = make(f"127.0.0.1:{free_port()}", write_timeout_s=0.3)
    with pytest.raises(ClientError) as raised:
        gone.record(turn)
    assert raised.value.code == "unavailable"


def test_records_are_cut_to_what_a_message_may_hold(server: RunningServer) -> None:
    with Client(server.address, deadline_ms=60_000) as client:
        answers = [client.rewrite("play jazz", "many") for _ in range(2)]
        items = [item for answer in answers for item in answer.turn(Outcome.OK) * 600]
        assert [len(message.interactions) for message in record_messages(items)] == [1000, 200]
        large = [item for answer in answers for item in answer.late(Feedback())]
        assert record_messages([]) == []
        assert client.record(items + large) == 2


def test_the_recorder_takes_all_drops_the_oldest_and_leaves_out_what_is_bad(server: RunningServer) -> None:
    with Client(server.address, deadline_ms=60_000) as client:
        turns = [client.rewrite(f"play jazz {n}", "later").turn(Outcome.OK)[:1] for n in range(20)]
        bad = client.rewrite("x" * 1001, "later").turn(Outcome.OK)
        with Recorder(client, every_s=0.05) as recorder:
            for turn in [*turns[:10], bad, *turns[10:]]:
                recorder.add(turn)
        figures = recorder.figures()
        assert (figures.recorded, figures.refused, figures.dropped, figures.waiting) == (20, 1, 0, 0)
        assert client.record([item for turn in turns for item in turn]) == 0, "all were there"
    with Client(f"127.0.0.1:{free_port()}", write_timeout_s=0.05) as nobody:
        recorder = Recorder(nobody, every_s=0.01, most_bytes=2000)
        for turn in turns * 10:
            recorder.add(turn)
        assert recorder.figures().waiting < 60
        recorder.close(0.2)
        until(lambda: recorder.figures().dropped == 200)


def test_of_two_servers_the_one_that_is_well_is_asked(launch: Launch, server: RunningServer) -> None:
    other = launch(metrics_port=0)
    target = "ipv4:" + ",".join((server.address, other.address))
    client = Client(target, breaker_failures=1000, deadline_ms=60_000)
    assert client.connect()
    wait_for(
        lambda: [client.rewrite(WEATHER, "ada") for _ in range(2)]
        and other.scrape().value("query_rewrite_requests_total", method="rewrite", code="OK"),
        other.process, other.log_file,
    )  # fmt: skip
    stopping = threading.Thread(target=other.stop)
    stopping.start()
    reasons = set()
    while stopping.is_alive():
        reasons.add(client.rewrite(WEATHER, "ada").reason)
    reasons |= {client.rewrite(WEATHER, "ada").reason for _ in range(20)}
    assert reasons <= {"confident", "unavailable"}
    assert [client.rewrite(WEATHER, "ada").reason for _ in range(20)] == ["confident"] * 20
    client.close()


def test_a_call_that_a_server_cancels_as_it_ends_is_asked_elsewhere_or_again(make: Make) -> None:
    """What reaches gRPC's socket in the moment of its end is cancelled unread."""
    cancelled: list[str] = []

    def ends_once(reply: Any) -> grpc.RpcMethodHandler:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            if len(cancelled) < most:
                cancelled.append(type(reply).__name__)
                context.abort(grpc.StatusCode.CANCELLED, "")
            return reply.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    ending = grpc.server(futures.ThreadPoolExecutor(2))
    replies = {"Rewrite": pb.RewriteResponse(decision=pb.DECISION_PASS), "Record": pb.RecordResponse()}
    handlers = {name: ends_once(reply) for name, reply in replies.items()}
    ending.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rewrite.v1.RewriteService", handlers),))
    port = ending.add_insecure_port("127.0.0.1:0")
    ending.start()
    try:
        client = make(f"127.0.0.1:{port}", health_checks=False)
        most = 1
        answer = client.rewrite("play jazz", "ada")
        assert (answer.text, answer.reason) == ("play jazz", "unavailable")
        most = 2
        assert client.record(answer.turn(Outcome.OK)) == 0, "sent again"
        most = 3
        hedged = make(f"127.0.0.1:{port}", health_checks=False, hedge_after_ms=30_000)
        assert hedged.rewrite("play jazz", "ada").error is None, "asked over the other connection"
    finally:
        ending.stop(None)
    assert cancelled == ["RewriteResponse", "RecordResponse", "RewriteResponse"]


@pytest.fixture(scope="module")
def guarded(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunningServer, dict[str, Any], str]:
    """A server with TLS, client certificates and tokens; what a client needs for it; a token for `rewrite` alone."""
    tmp_path, ours = tmp_path_factory.mktemp("certificates"), Authority()
    ours.write(tmp_path, "server")
    cert, key, ca, mine, my_key = (tmp_path / f for f in ("server.pem", "server.key", "ca.pem", "my.pem", "my.key"))
    ca.write_bytes(ours.pem)
    for file, content in zip((mine, my_key), ours.issue("assistant"), strict=True):
        file.write_bytes(content)
    token = new_token()
    tokens = tmp_path / "tokens.toml"
    add_token(
        tokens,
        entry_of({"name": "assistant", "sha256": digest_of(token).hex(), "scopes": ["rewrite"]}),
    )
    server = launch(tls_cert=cert, tls_key=key, tls_client_ca=ca, tokens_file=tokens, wait=False)
    return server, {"tls": True, "ca": ca, "cert": mine, "key": my_key}, token


def test_tls_client_certificates_and_tokens(
    guarded: tuple[RunningServer, dict[str, Any], str], make: Make
) -> None:
    server, known, token = guarded
    client = make(server.address, token=token, **known)
    wait_for(lambda: client.rewrite(WEATHER, "ada").rewritten, server.process, server.log_file)
    assert make(server.address, **known).rewrite(WEATHER, "ada").reason == "unauthenticated"
    with pytest.raises(ClientError, match="scope 'record'"):
        client.record(client.rewrite(WEATHER, "ada").turn(Outcome.OK))
    assert make(server.address, token=token, tls=True, ca=known["ca"]).rewrite(WEATHER, "ada").reason == "unavailable"
    assert make(server.address, token=token, deadline_ms=300).rewrite(WEATHER, "ada").error is not None
    assert token not in repr(ClientOptions(token=token, affinity_key=b"secret")) + repr(client.rewrite("a", "b"))


def test_a_call_carries_a_key_of_its_user_and_not_the_user(make: Make) -> None:
    seen: list[dict[str, str]] = []

    def reply(message: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(dict(context.invocation_metadata()))
        return pb.RewriteResponse(decision=pb.DECISION_PASS, reason=77).SerializeToString()

    echo = grpc.server(futures.ThreadPoolExecutor(2))
    handlers = {"Rewrite": grpc.unary_unary_rpc_method_handler(reply)}
    echo.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rewrite.v1.RewriteService", handlers),))
    port = echo.add_insecure_port("127.0.0.1:0")
    echo.start()
    try:
        client = make(f"127.0.0.1:{port}", affinity_key=b"ours")
        assert client.rewrite("play jazz", "ada").reason == "unknown_77", "of a newer server"
        client.rewrite("play soul", "ada")
        client.rewrite("play jazz", "ben")
        make(f"127.0.0.1:{port}").rewrite("play jazz", "ada")
    finally:
        echo.stop(None)
    keys = [metadata.get("x-user-key") for metadata in seen]
    assert keys[0] == keys[1] == user_key("ada", b"ours") != keys[2] and keys[3] is None
    assert len(keys[0]) == 32 and user_key("ada", b"theirs") != keys[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"connections": 0}, "connections"),
        ({"ca": Path("ca.pem")}, "tls=True"),
        ({"tls": True, "cert": Path("a")}, "cert and key"),
        ({"affinity_key": b""}, "affinity_key"),
        ({"breaker_pause_s": 5, "breaker_most_pause_s": 1}, "breaker_most_pause_s"),
    ],
)
def test_wrong_options_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClientOptions(**given)


def test_options_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"TOKEN": "t", "TLS": "true", "CA": "ca.pem", "DEADLINE_MS": "7.5", "CONNECTIONS": "3"}
    for name, value in said.items():
        monkeypatch.setenv(f"QUERY_REWRITE_CLIENT_{name}", value)
    monkeypatch.setenv("QUERY_REWRITE_CLIENT_AFFINITY_KEY", "key")
    options = ClientOptions.from_environment(connections=2)
    expected = ClientOptions(
        token="t", tls=True, ca=Path("ca.pem"), deadline_ms=7.5, connections=2, affinity_key=b"key"
    )
    assert options == expected
    monkeypatch.setenv("QUERY_REWRITE_CLIENT_CONNECTIONS", "many")
    with pytest.raises(ValueError, match="QUERY_REWRITE_CLIENT_CONNECTIONS"):
        ClientOptions.from_environment()


def test_the_breaker_opens_tries_one_and_rests_longer() -> None:
    now = 100.0
    breaker = Breaker(2, 1.0, 3.0, lambda: now)
    breaker.failed(99.0)
    breaker.succeeded()
    breaker.failed(99.0)
    assert breaker.rest_s() == 0 and not breaker.is_open, "a success between them: not in a row"
    breaker.failed(99.5)
    assert breaker.is_open and breaker.rest_s() == 1
    breaker.failed(99.9)
    assert breaker.rest_s() == 1, "one that was under way says nothing new"
    now = 101.0
    assert breaker.rest_s() == 0, "one may try"
    assert breaker.rest_s() == 1, "and only one"
    breaker.failed(101.0)
    assert breaker.rest_s() == 2
    now = 103.0
    assert breaker.rest_s() == 0
    breaker.failed(103.0)
    assert breaker.rest_s() == 3, "no longer than the longest"
    now = 106.0
    assert breaker.rest_s() == 0
    breaker.succeeded()
    assert not breaker.is_open and breaker.rest_s() == 0


def test_what_is_too_large_for_the_server_is_sent_in_parts() -> None:
    """A server that takes less than the client thinks must not hold up all that waits."""
    taken: list[int] = []

    def record(raw: bytes, context: grpc.ServicerContext) -> bytes:
        taken.append(len(pb.RecordRequest.FromString(raw).interactions))
        return pb.RecordResponse().SerializeToString()

    small = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 4000)])
    handlers = {"Record": grpc.unary_unary_rpc_method_handler(record)}
    small.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rewrite.v1.RewriteService", handlers),))
    port = small.add_insecure_port("127.0.0.1:0")
    small.start()
    try:
        with Client(f"127.0.0.1:{port}", deadline_ms=60_000) as client:
            long, short = (client.rewrite(text * 900, "ada").turn(Outcome.OK) for text in ("play ", "a"))
            with Recorder(client, every_s=0.05) as recorder:
                recorder.add([*short * 30, *long, *short * 30])
                assert recorder.flush(60)
            figures = recorder.figures()
    finally:
        small.stop(None)
    assert (figures.recorded, figures.refused) == (60, 1) and sum(taken) == 60


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "voice_assistant.py"


def converse(target: str, **options: str) -> subprocess.CompletedProcess[str]:
    """The example of the documentation, as a user runs it."""
    command = [sys.executable, str(EXAMPLE), "--target", target, "--user", "cleo", "--deadline-ms", "60000"]
    given = os.environ | {f"QUERY_REWRITE_CLIENT_{name.upper()}": value for name, value in options.items()}
    said = "play ago\nno\nturn on the kitchen light\nplay ago\nstop\n"
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=300, check=True, env=given)


def test_the_example_asks_what_was_meant_and_tells_what_came_of_it(server: RunningServer) -> None:
    before = len(server.log())
    said = converse(server.address).stdout
    assert "asked 'watch the movie go' instead: confident" in said
    assert "assistant: video.film film='go'" in said and "room='kitchen'" in said
    recorded = [line for line in server.log()[before:] if line["event"] == "record"]
    assert sum(line["turns"] for line in recorded) == sum(line["new"] for line in recorded) == 3
    # Of each rewrite that it was served, and of each reaction; the time until the next request is one too.
    assert sum(line["late_feedback"] for line in recorded) >= 4
    assert "0 dropped, 0 refused" in said


def test_without_the_service_the_example_goes_on() -> None:
    done = converse(f"127.0.0.1:{free_port()}", write_timeout_s="0.2")
    assert "asked as heard: unavailable" in done.stdout and "going on without it" in done.stderr
    assert "assistant: " in done.stdout and "6 dropped" in done.stdout
