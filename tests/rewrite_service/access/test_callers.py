"""A server with tokens, over a real socket: who gets in, whose users they meet, how much they may ask."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import NOON, Launch, RunningServer, a_request, a_turn, spawn, until
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rewrite_service.access.scopes import METHOD_SCOPES
from rewrite_service.access.tokens import TokenEntry, add_token, digest_of, new_token
from rewrite_service.converters import to_request
from rewrite_service.loadtest import LoadTestError, run_loadtest
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.server import Exit

METHODS = {
    "Rewrite": a_request(),
    "Explain": pb.ExplainRequest(request=a_request()),
    "Record": pb.RecordRequest(interactions=[a_turn(user_id="mia")]),
}
ALL = ["rewrite", "record", "explain"]


class Tokens:
    """A tokens file, and the tokens in it by name."""

    def __init__(self, path: Path) -> None:
        self.path, self.by_name = path, {}

    def add(self, name: str, scopes: list[str], **fields: object) -> tuple[tuple[str, str], ...]:
        """Adds one; the metadata of its calls."""
        token = self.by_name[name] = new_token()
        given = {"name": name, "sha256": digest_of(token).hex(), "scopes": scopes} | fields
        add_token(self.path, TokenEntry.model_validate(given))
        return as_metadata(token)

    def __getitem__(self, name: str) -> tuple[tuple[str, str], ...]:
        return as_metadata(self.by_name[name])


def as_metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    made = Tokens(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    for tenant in ("", "acme", "beta"):
        made.add(f"all-{tenant}", ALL, tenant=tenant)
    for scope in ALL:
        made.add(scope, [scope])
    made.add("slow", ["rewrite"], rate=0.01, burst=3)
    made.add("one-at-a-time", ["explain"], calls=1)
    return made


@pytest.fixture(scope="module")
def server(launch: Launch, tokens: Tokens) -> RunningServer:
    return launch(tokens_file=tokens.path, default_deadline_ms=60_000, max_wait_ms=60_000)


def error_of(call: Callable[..., Any], *args: object, **kwargs: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, **{"timeout": 10} | kwargs)
    return raised.value


def code(server: RunningServer, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
    try:
        server.stub.Rewrite(a_request(), timeout=60, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metadata", [None, as_metadata("qrw_guessed"), (("authorization", "Basic eDp5"),)])
def test_without_a_token_no_method_answers(
    server: RunningServer, method: str, metadata: tuple[tuple[str, str], ...] | None
) -> None:
    error = error_of(getattr(server.stub, method), METHODS[method], metadata=metadata)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "authorization: Bearer TOKEN" in error.details()


@pytest.mark.parametrize("method", METHODS)
def test_it_is_refused_before_its_message_is_read(server: RunningServer, method: str, tokens: Tokens) -> None:
    call = server.channel.unary_unary(f"/rewrite.v1.RewriteService/{method}")
    assert error_of(call, b"\xff" * 1000).code() is grpc.StatusCode.UNAUTHENTICATED
    other = "rewrite" if method == "Record" else "record"
    assert error_of(call, b"\xff", metadata=tokens[other]).code() is grpc.StatusCode.PERMISSION_DENIED
    assert error_of(call, b"\xff", metadata=tokens["all-"]).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", ALL)
def test_each_method_asks_for_its_scope(server: RunningServer, tokens: Tokens, method: str, scope: str) -> None:
    call = getattr(server.stub, method)
    if METHOD_SCOPES[method] == scope:
        call(METHODS[method], timeout=60, metadata=tokens[scope])
        return
    error = error_of(call, METHODS[method], metadata=tokens[scope])
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"'{METHOD_SCOPES[method]}'" in error.details()


def test_health_is_open_to_all_and_reflection_to_none(server: RunningServer) -> None:
    assert server.health() == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    assert error_of(lambda **k: list(stub.ServerReflectionInfo(asked, **k))).code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_same_id_in_two_tenants_are_two_persons(server: RunningServer, tokens: Tokens) -> None:
    """In store, caches and archive; and no id that one can think of reaches into the other."""
    text, near = "play quozzle by the vimfords", "play quozzel by the vimfords"
    turns = [a_turn(user_id="bob", query=text, timestamp_ms=NOON - n * 86_400_000) for n in range(1, 5)]

    def offered(tenant: str, user: str) -> set[str]:
        request = a_request(user_id=user, query=near, timestamp_ms=NOON)
        reply = server.stub.Explain(pb.ExplainRequest(request=request), timeout=60, metadata=tokens[f"all-{tenant}"])
        asked = server.stub.Rewrite(request, timeout=60, metadata=tokens[f"all-{tenant}"])
        return {candidate.text for candidate in reply.candidates} | {asked.text}

    def record(tenant: str) -> int:
        sent = pb.RecordRequest(interactions=turns)
        return server.stub.Record(sent, timeout=60, metadata=tokens[f"all-{tenant}"]).new_interactions

    assert text not in offered("acme", "bob")
    assert record("acme") == 4
    assert text in offered("acme", "bob"), "there is something to leak"
    for tenant in ("", "beta"):
        for user in ("bob", "acme\x1fbob", "\x1facme\x1fbob", "\x1f\x1fbob", "acme/bob"):
            assert text not in offered(tenant, user), (tenant, user)
    assert record("beta") == 4, "the same turn of another person is another turn"
    assert record("acme") == 0


def test_the_bundles_users_are_the_default_tenants(server: RunningServer, tokens: Tokens) -> None:
    user = "p0004"  # of the sample log
    shared = pb.ExplainRequest(request=a_request(user_id="a stranger", query="play", timestamp_ms=NOON * 2))
    mine = pb.ExplainRequest(request=a_request(user_id=user, query="play", timestamp_ms=NOON * 2))

    def texts(request: pb.ExplainRequest, tenant: str) -> list[str]:
        reply = server.stub.Explain(request, timeout=60, metadata=tokens[f"all-{tenant}"])
        return [(c.text, c.layer, [f.value for f in c.features if f.value == f.value]) for c in reply.candidates]

    assert texts(mine, "") != texts(shared, "")
    assert texts(mine, "acme") == texts(shared, "acme"), "to another tenant that user is a stranger"


def test_one_that_asks_too_often_is_told_when_to_come_again(server: RunningServer, tokens: Tokens) -> None:
    codes = [code(server, tokens["slow"]) for _ in range(3)]
    assert codes == [grpc.StatusCode.OK] * 3
    error = error_of(server.stub.Rewrite, a_request(), metadata=tokens["slow"])
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0 < int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) <= 100_000
    assert code(server, tokens["all-"]) is grpc.StatusCode.OK, "others are not held up"


def test_one_that_has_too_many_calls_under_way_is_refused(server: RunningServer, tokens: Tokens) -> None:
    def ask(_: int) -> grpc.StatusCode:
        try:
            server.stub.Explain(METHODS["Explain"], timeout=60, metadata=tokens["one-at-a-time"])
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(ask, range(64)))
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert ask(0) is grpc.StatusCode.OK


def test_tokens_come_and_go_without_a_restart(server: RunningServer, tokens: Tokens) -> None:
    before = tokens.path.read_text()
    fresh = tokens.add("fresh", ["rewrite"])
    until(lambda: code(server, fresh) is grpc.StatusCode.OK)
    tokens.path.write_text(before)
    server.process.send_signal(signal.SIGHUP)  # at once, rather than within the second
    until(lambda: code(server, fresh) is grpc.StatusCode.UNAUTHENTICATED)
    assert code(server, tokens["rewrite"]) is grpc.StatusCode.OK
    assert server.process.poll() is None


def test_a_file_that_is_broken_changes_nothing_until_it_is_mended(server: RunningServer, tokens: Tokens) -> None:
    def complaints() -> list[dict[str, Any]]:
        return [line for line in server.log() if line["event"].startswith("tokens not taken in")]

    before = tokens.path.read_text()
    for broken in ("[[token", before + "\n[[token]]\n", None):
        told = len(complaints())
        if broken is None:
            tokens.path.unlink()
        else:
            tokens.path.write_text(broken)
        until(lambda told=told: len(complaints()) > told)
        assert code(server, tokens["rewrite"]) is grpc.StatusCode.OK
        assert code(server, ()) is grpc.StatusCode.UNAUTHENTICATED
    tokens.path.write_text(before)
    again = tokens.add("mended", ["rewrite"])
    until(lambda: code(server, again) is grpc.StatusCode.OK)


def test_the_log_has_names_of_tokens_and_nothing_of_tokens(server: RunningServer, tokens: Tokens) -> None:
    code(server, tokens["slow"])
    code(server, as_metadata("qrw_somebodys_mistake"))
    code(server, tokens["record"])
    until(lambda: any(line.get("client") == "slow" for line in server.log()))
    turned_away = [line for line in server.log() if line.get("code") == "PERMISSION_DENIED"]
    assert turned_away and all(line["client"] for line in turned_away)
    refused = [line for line in server.log() if line.get("code") == "UNAUTHENTICATED"]
    assert refused and all("client" not in line and "user" not in line for line in refused)
    logged = server.log_file.read_text()
    for token in tokens.by_name.values():
        assert token not in logged and token[4:20] not in logged and digest_of(token).hex() not in logged
    assert "somebodys" not in logged and "bob" not in logged


def test_the_load_test_can_show_a_token(server: RunningServer, tokens: Tokens) -> None:
    requests = [to_request(a_request(user_id="lola"))]
    report = run_loadtest(server.address, 20, 0.5, requests, token=tokens.by_name["rewrite"])
    assert report.answered == report.sent > 0
    for token in (None, "qrw_wrong", tokens.by_name["record"]):
        with pytest.raises(LoadTestError, match="is not serving"):
            run_loadtest(server.address, 20, 0.5, requests, token=token)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("token = 3\n", "TokensError"), ("[[token]]\n", "token 1: name")]
)
def test_a_tokens_file_that_cannot_be_used_ends_the_start(
    bundle_dir: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "tokens.toml").write_text(content)
    settings = {"tokens_file": tmp_path / "tokens.toml"}
    process = spawn(bundle_dir, tmp_path / "state", tmp_path / "log", **settings)
    assert process.wait(120) == Exit.ACCESS
    assert said in (tmp_path / "log").read_text()
