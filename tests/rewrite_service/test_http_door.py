"""JSON over HTTP against real servers: the same answers as over gRPC, the same doors, limits and end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import lmdb
import pytest
from certificates import Authority
from conftest import NOON, Launch, RunningServer, a_request, a_turn, spawn, until, wait_for
from google.protobuf import json_format

from mining.reader import read_log
from rewrite_service.access.tls import Certificates
from rewrite_service.access.tokens import add_token, digest_of, entry_of, new_token
from rewrite_service.client.messages import from_request
from rewrite_service.http_door import listener
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.server import Exit
from rewrite_service.servicer import RewriteServicer
from rewrite_service.settings import Settings

JSON = {"content-type": "application/json"}
SECRET = "tangerine"


class Door:
    """One connection to a server's HTTP door, kept open."""

    def __init__(self, address: str, context: ssl.SSLContext | None = None, **headers: str) -> None:
        host, _, port = address.rpartition(":")
        given: dict[str, Any] = {} if context is None else {"context": context}
        self.http = (HTTPConnection if context is None else HTTPSConnection)(host, int(port), timeout=60, **given)
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def post(self, path: str, document: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http.request("POST", path, body, JSON | self._headers | given)
        reply = self.http.getresponse()
        return reply.status, json.loads(reply.read()), {k.lower(): v for k, v in reply.getheaders()}

    def get(self, path: str) -> tuple[int, Any]:
        self.http.request("GET", path)
        reply = self.http.getresponse()
        return reply.status, json.loads(reply.read())


def http_address(server: RunningServer) -> str:
    told = wait_for(lambda: [x for x in server.log() if "http_address" in x], server.process, server.log_file)
    return told[0]["http_address"]


def as_json(message: Any) -> bytes:
    return json_format.MessageToJson(message).encode()


@pytest.fixture(scope="module")
def server(launch: Launch) -> RunningServer:
    """With both doors, and nothing remembered that one could have from the other."""
    return launch(http_port=0, metrics_port=0, decision_cache_bytes=0, max_records_in_flight=2)


@pytest.fixture
def door(server: RunningServer) -> Door:
    return Door(http_address(server), x_timeout_ms="10000")


def over_grpc(server: RunningServer, request: pb.RewriteRequest) -> dict[str, Any]:
    try:
        reply = server.stub.Rewrite(request, timeout=60)
    except grpc.RpcError as error:
        return {"status": error.code().name, "message": error.details()}
    reply.ClearField("stage_us")
    return json_format.MessageToDict(reply, always_print_fields_with_no_presence=True)


def over_http(door: Door, request: pb.RewriteRequest) -> dict[str, Any]:
    _, reply, _ = door.post("/v1/rewrite", as_json(request))
    if "error" in reply:
        return {"status": reply["error"]["status"], "message": reply["error"]["message"]}
    return reply | {"stageUs": {}}


def test_both_doors_give_the_same_answers(server: RunningServer, door: Door, sample_log: Path) -> None:
    dice = random.Random(3)
    turns = dice.sample(read_log([sample_log]).turns, 150)
    asked = [from_request(turn.request) for turn in turns]
    for request in list(asked[:100]):  # bent: what is refused is refused alike, what is not is answered alike
        bent = pb.RewriteRequest()
        bent.CopyFrom(request)
        numbers = ["timestamp_ms", "channel", "asr_confidence"]
        for field in dice.sample(["query", "user_id", "interaction_id", *numbers], 2):
            text = dice.choice(["", " ", "\u0000", "é" * 200, request.query[::-1], "x" * 1001, "👋 hi"])
            number = dice.choice([0, -1, 2, 7, 2**31 - 1])
            setattr(bent, field, number if field in numbers else text)
        asked.append(bent)
    answers = [(over_grpc(server, request), over_http(door, request)) for request in asked]
    assert [one for one, other in answers if one != other] == []
    assert {one.get("decision") for one, _ in answers} == {"DECISION_REWRITE", "DECISION_PASS", None}


def test_recording_teaching_and_forgetting(server: RunningServer, door: Door) -> None:
    turns = [json.loads(as_json(a_turn(user_id="hana"))) for _ in range(300)]  # long enough for another thread to read
    assert door.post("/v1/record", {"interactions": turns})[:2] == (200, {"newInteractions": 300})
    assert door.post("/v1/record", {"interactions": turns[:3]})[1] == {"newInteractions": 0}
    code, taught, _ = door.post("/v1/teach", {"user_id": "hana", "text": "my sister is called anna"})
    assert code == 200 and taught["preference"]["value"] == "anna" and taught["preference"]["taughtMs"].isdecimal()
    reply = door.post("/v1/rewrite", as_json(a_request(user_id="hana", query="call my sister")))[1]
    assert (reply["text"], reply["reason"]) == ("call anna", "REASON_TAUGHT")
    assert [p["subject"] for p in door.post("/v1/list_preferences", {"userId": "hana"})[1]["preferences"]]
    assert door.post("/v1/explain", {"request": json.loads(as_json(a_request()))})[0] == 200
    assert door.post("/v1/forget_user", {"userId": "hana"})[1]["turns"] == 300
    assert door.post("/v1/list_preferences", {"userId": "hana"})[1] == {"preferences": []}


@pytest.mark.parametrize(
    ("path", "body", "headers", "code", "said"),
    [
        ("/v1/rewrite", b"{", {}, 400, "(message)"),
        ("/v1/rewrite", b'{"query":["tangerine"]}', {}, 400, "query"),
        ("/v1/rewrite", b"{}", {}, 400, "interaction_id"),
        ("/v1/rewrite", b"{}", {"x_timeout_ms": "soon"}, 400, "x-timeout-ms"),
        ("/v1/record", b'{"interactions":[{}]}', {}, 400, "interactions[0].interaction_id"),
        ("/v1/teach", b'{"userId":"ada","text":"tangerine"}', {}, 400, "text"),
        ("/v1/rewrite", b"x" * 2_000_000, {}, 413, None),
        ("/v1/rewrite", b"{}", {"content_type": "text/plain"}, 415, None),
        ("/v1/rewrite", b"{}", {"content_encoding": "gzip"}, 415, None),
        ("/v1/forget_user", b'{"userId":"ada"}', {"origin": "https://example.org"}, 403, None),
        ("/v1/rewrote", b"{}", {}, 404, None),
        ("/healthz", b"{}", {}, 405, None),
    ],
)
def test_errors_say_what_and_where_and_quote_nothing(
    server: RunningServer, door: Door, path: str, body: bytes, headers: dict[str, str], code: int, said: str | None
) -> None:
    status, reply, sent = door.post(path, body, **headers)
    error = reply["error"]
    assert (status, error["code"], sent["content-type"]) == (code, code, "application/json")
    assert SECRET not in json.dumps(reply) and len(error["message"]) > 10
    if said is not None:
        assert error["details"][0]["fieldViolations"][0]["field"] == said
    assert SECRET not in server.log_file.read_text()


def test_what_there_is_and_how_it_does(server: RunningServer, door: Door) -> None:
    assert door.get("/healthz") == (200, {"status": "SERVING"})
    code, document = door.get("/v1/openapi.json")
    assert code == 200 and document["openapi"].startswith("3.1")
    assert door.get("/v1/rewrite")[0] == 405
    for path in document["paths"]:
        assert door.post(path, {})[0] in (200, 400), path


def test_a_call_counts_like_one_over_grpc(server: RunningServer, door: Door) -> None:
    before = server.scrape()
    door.post("/v1/rewrite", as_json(a_request()), traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    door.post("/v1/rewrite", {"query": 1})
    after = server.scrape()
    for code in ("OK", "INVALID_ARGUMENT"):
        name, labels = "query_rewrite_requests_total", {"method": "rewrite", "code": code}
        assert after.value(name, **labels) == before.value(name, **labels) + 1
    decisions = "query_rewrite_decisions_total"
    assert after.total(decisions, layer="none") + after.total(decisions, layer="global") > 0
    line = next(x for x in reversed(server.log()) if x["event"] == "rewrite" and x["code"] == "OK")
    assert line["via"] == "http" and "query" not in line


def test_an_answer_comes_in_the_callers_time(server: RunningServer, door: Door) -> None:
    took = []
    for _ in range(3):
        begun = time.monotonic()
        reply = door.post("/v1/rewrite", as_json(a_request(user_id="in a hurry")), x_timeout_ms="1")[1]
        assert reply.get("reason", "") in ("REASON_OUT_OF_TIME", "REASON_QUERY_LOOKS_FINE") or "error" in reply
        took.append(time.monotonic() - begun)
    assert min(took) < 1
    for _ in range(3):  # without a word of its own, 20 ms
        reply = door.post("/v1/rewrite", as_json(a_request()))[1]
        assert reply["decision"]


def test_too_much_at_a_time_is_shed_at_the_door(server: RunningServer) -> None:
    address = http_address(server)
    turns = {"interactions": [json.loads(as_json(a_turn(user_id=f"busy {n}"))) for n in range(400)]}

    def record(_: int) -> tuple[int, Any, dict[str, str]]:
        return Door(address).post("/v1/record", turns)

    before = server.scrape().value("query_rewrite_shed_total", method="record")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(record, range(24)))
    codes = [code for code, _, _ in replies]
    assert set(codes) == {200, 429}, codes
    assert next(r for code, r, _ in replies if code == 429)["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert server.scrape().value("query_rewrite_shed_total", method="record") - before == codes.count(429)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    authority.write(made, "server")
    (made / "ca.pem").write_bytes(authority.pem)
    cert, key = authority.issue("assistant")
    (made / "my.pem").write_bytes(cert + key)
    return made


def trusting(folder: Path, with_certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if with_certificate:
        context.load_cert_chain(folder / "my.pem")
    return context


def test_several_workers_with_tls_and_tokens(launch: Launch, folder: Path, tmp_path: Path) -> None:
    tokens = {}
    for name, fields in {"all": {}, "slow": {"rate": 0.01}, "other": {"tenant": "acme"}}.items():
        token = tokens[name] = new_token()
        entry = {"name": name, "sha256": digest_of(token).hex(), "scopes": ["rewrite", "record"]} | fields
        add_token(tmp_path / "tokens.toml", entry_of(entry))
    server = launch(
        wait=False, workers=2, http_port=0, metrics_port=0, max_wait_ms=60_000, tokens_file=tmp_path / "tokens.toml",
        tls_cert=folder / "server.pem", tls_key=folder / "server.key", tls_client_ca=folder / "ca.pem",
    )  # fmt: skip
    wait_for(lambda: sum("seconds" in x for x in server.log()) == 2, server.process, server.log_file)
    addresses = {x["http_address"] for x in server.log() if "http_address" in x}
    assert len(addresses) == 1, "both workers have the same port"
    address = addresses.pop()

    def said(name: str | None, path: str = "/v1/rewrite", document: Any = None) -> tuple[int, Any, dict[str, str]]:
        headers = {} if name is None else {"authorization": f"Bearer {tokens[name]}"}
        body = as_json(a_request()) if document is None else document
        return Door(address, trusting(folder), **headers).post(path, body)

    assert said("all")[0] == 200
    code, _, headers = said(None)
    assert (code, headers["www-authenticate"]) == (401, "Bearer")
    assert said("all", "/v1/forget_user", {"userId": "ada"})[0] == 403
    refused = [reply for reply in (said("slow") for _ in range(4)) if reply[0] == 429]
    assert refused and int(refused[0][2]["retry-after"]) >= 1
    assert refused[0][1]["error"]["details"][0]["retryDelay"].endswith("s")
    turn = {"interactions": [json.loads(as_json(a_turn(user_id="ada", interaction_id="mine")))]}
    assert said("all", "/v1/record", turn)[1] == said("other", "/v1/record", turn)[1] == {"newInteractions": 1}
    with pytest.raises(OSError):
        Door(address, trusting(folder, with_certificate=False)).post("/v1/rewrite", {})
    with pytest.raises(OSError):
        Door(address).post("/v1/rewrite", {})

    def many(_: int) -> int:
        body, token = as_json(a_request()), f"Bearer {tokens['all']}"
        return Door(address, trusting(folder), authorization=token, x_timeout_ms="10000").post("/v1/rewrite", body)[0]

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(many, range(16))) == {200}
    served = {x["pid"] for x in server.log() if x.get("via") == "http" and x["code"] == "OK"}
    assert len(served) == 2, "the kernel deals connections out among the workers"
    health = Door(address, trusting(folder))
    assert health.get("/healthz")[0] == 200
    ending = threading.Thread(target=server.process.terminate)
    ending.start()
    statuses = set()
    with contextlib.suppress(OSError, HTTPException):
        while True:  # until the connection is closed, each call is answered
            statuses.add(health.post("/v1/rewrite", as_json(a_request()))[0])
    assert statuses <= {401, 503}
    assert server.process.wait(120) == Exit.OK


def test_the_end_cuts_no_call_under_way(launch: Launch, tmp_path: Path) -> None:
    """The store is held by another process, so that a call is under way for as long as it should be."""
    state = tmp_path / "state"
    server = launch(state, http_port=0, metrics_port=0, drain_seconds=60)
    door = Door(http_address(server), x_timeout_ms="60000")
    turns = {"interactions": [json.loads(as_json(a_turn(user_id=f"last {n}"))) for n in range(400)]}
    with lmdb.open(str(state)) as held, ThreadPoolExecutor(1) as pool:
        with held.begin(write=True):
            reply = pool.submit(door.post, "/v1/record", turns)
            until(lambda: server.scrape().value("query_rewrite_in_flight", gate="records") == 1)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: [line["under_way"] for line in server.log() if line["event"] == "draining"] == [1])
            assert not reply.done()
        assert reply.result()[:2] == (200, {"newInteractions": 400})
    assert server.process.wait(120) == Exit.OK


def test_a_taken_port_is_said(server: RunningServer, bundle_dir: Path, tmp_path: Path) -> None:
    port = int(http_address(server).rpartition(":")[2])
    logs = [tmp_path / "one", tmp_path / "several"]
    started = [
        spawn(bundle_dir, tmp_path / "state", log, http_port=port, workers=workers)
        for workers, log in enumerate(logs, start=1)
    ]
    assert [process.wait(120) for process in started] == [Exit.ADDRESS] * 2
    assert all("set another http_port" in log.read_text() for log in logs)


class Listening:
    """A door in this process, before any bundle is loaded, so that sockets can be tried out quickly."""

    def __init__(self, certificates: Certificates | None = None, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._servicer = RewriteServicer(chosen := Settings(http_port=0, **settings))
        self._listener = listener.HttpListener(self._servicer, chosen)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self.run(self._listener.open(certificates))}"

    def run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(60)

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._listener.close(1.0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._servicer.close(1.0)

    def connect(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=60)


def test_before_it_is_loaded_it_says_so() -> None:
    with Listening() as listening:
        code, reply, headers = Door(listening.address).post("/v1/rewrite", as_json(a_request(timestamp_ms=NOON)))
        assert (code, reply["error"]["status"], headers["connection"]) == (503, "UNAVAILABLE", "close")
        assert Door(listening.address).get("/healthz") == (503, {"status": "NOT_SERVING"})


def test_who_does_not_get_to_the_end_of_a_head_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_HEAD_S", 0.2)
    with Listening(max_connections=3) as listening:
        silent, slow = listening.connect(), listening.connect()
        slow.sendall(b"POST /v1/rewrite HTTP/1.1\r\nhost:")
        for one in (silent, slow):
            with pytest.raises(ConnectionResetError):
                one.recv(100)
                raise ConnectionResetError


def test_who_says_too_much_or_not_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_HEAD_S", 60.0)
    with Listening(max_connections=3) as listening:
        kept = Door(listening.address)
        assert kept.get("/healthz")[0] == 503
        long_head = listening.connect()
        long_head.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-much: " + b"a" * 20_000)
        assert b"400" in long_head.recv(100)
        half = listening.connect()
        half.sendall(b"POST /v1/rewrite HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-timeout-ms: 100\r\n")
        half.sendall(b"content-length: 100\r\n\r\n{")
        assert b"408" in half.recv(100)


def test_connections_beyond_the_most_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_HEAD_S", 60.0)
    with Listening(max_connections=2) as listening:
        first, second = listening.connect(), listening.connect()
        first.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n")
        second.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n")
        third = listening.connect()
        with contextlib.suppress(ConnectionResetError):
            assert third.recv(100) == b""
        first.sendall(b"\r\n")
        assert b"503" in first.recv(100), "those that were there are answered"


def test_a_new_certificate_counts_for_the_next_connection(tmp_path: Path, authority: Authority) -> None:
    authority.write(tmp_path, "first")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    cert, key = authority.issue("assistant")
    (tmp_path / "my.pem").write_bytes(cert + key)
    certificates = Certificates(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    with Listening(certificates) as listening:
        assert Door(listening.address, trusting(tmp_path)).get("/healthz")[0] == 503
        stranger = Authority("another")
        (tmp_path / "ca.pem").write_bytes(stranger.pem)  # clients of the first authority are no longer known
        certificates.reload()
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.load_cert_chain(tmp_path / "my.pem")
        with pytest.raises(OSError):
            Door(listening.address, context).get("/healthz")
