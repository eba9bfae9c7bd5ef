"""TLS and mutual TLS over real sockets, and certificates that change while the server runs."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from conftest import Launch, RunningServer, a_request, spawn, until
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rewrite_service.access.tls import CertificateError, Certificates
from rewrite_service.converters import to_request
from rewrite_service.loadtest import run_loadtest
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.server import Exit

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def clients() -> Authority:
    """Who signs the clients' certificates: not the server's own authority."""
    return Authority("clients")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority, clients: Authority) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    authority.write(made, "first")
    (made / "clients.pem").write_bytes(clients.pem)
    return made


@pytest.fixture(scope="module")
def server(launch: Launch, folder: Path, authority: Authority) -> RunningServer:
    """With TLS, open to all who trust it."""
    settings = {"tls_cert": folder / "server.pem", "tls_key": folder / "server.key"}
    started = launch(wait=False, **settings)
    until(lambda: health(started, grpc.ssl_channel_credentials(authority.pem)) == SERVING)
    return started


def health(server: RunningServer, credentials: grpc.ChannelCredentials | None) -> int | grpc.StatusCode:
    """The health that a client with these credentials is told over a connection of its own, or the error's code."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        channel = grpc.insecure_channel(server.address, options=options)
    else:
        channel = grpc.secure_channel(server.address, credentials, options=options)
    with channel:
        try:
            request = health_pb2.HealthCheckRequest()
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=60).status
        except grpc.RpcError as error:
            return error.code()


def shown(server: RunningServer) -> bytes:
    """The certificate that the server shows to a new connection."""
    host, port = server.address.split(":")
    return ssl.get_server_certificate((host, int(port)), timeout=60).encode()


def test_it_speaks_tls_and_nothing_else(server: RunningServer, authority: Authority, tmp_path: Path) -> None:
    with grpc.secure_channel(server.address, grpc.ssl_channel_credentials(authority.pem)) as channel:
        assert rewrite_pb2_grpc.RewriteServiceStub(channel).Rewrite(a_request(), timeout=60).decision
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    requests = [to_request(a_request())]
    assert run_loadtest(server.address, 20, 0.5, requests, authority=tmp_path / "ca.pem").answered > 0
    assert health(server, None) is grpc.StatusCode.UNAVAILABLE
    assert health(server, grpc.ssl_channel_credentials(Authority("other").pem)) is grpc.StatusCode.UNAVAILABLE


def test_a_new_certificate_is_shown_without_a_restart(
    server: RunningServer, folder: Path, authority: Authority
) -> None:
    with grpc.secure_channel(server.address, grpc.ssl_channel_credentials(authority.pem)) as before:
        stub = rewrite_pb2_grpc.RewriteServiceStub(before)
        assert stub.Rewrite(a_request(), timeout=60).decision
        cert = authority.write(folder, "second")
        until(lambda: shown(server) == cert)
        assert stub.Rewrite(a_request(), timeout=60).decision, "connections that are open go on"
    assert health(server, grpc.ssl_channel_credentials(authority.pem)) == SERVING


def test_a_broken_certificate_changes_nothing_until_it_is_mended(
    server: RunningServer, folder: Path, authority: Authority
) -> None:
    def complaints() -> int:
        return sum(line["event"].startswith("certificates not taken in") for line in server.log())

    before = shown(server)
    told = complaints()
    (folder / "server.pem").write_bytes(authority.issue("of another key")[0])
    until(lambda: complaints() > told)
    assert shown(server) == before
    assert health(server, grpc.ssl_channel_credentials(authority.pem)) == SERVING
    mended = authority.write(folder, "mended")
    until(lambda: shown(server) == mended)


def test_with_mutual_tls_only_whom_the_authority_signed_can_connect(
    launch: Launch, folder: Path, authority: Authority, clients: Authority
) -> None:
    files = {"tls_cert": "server.pem", "tls_key": "server.key", "tls_client_ca": "clients.pem"}
    mutual = launch(wait=False, **{name: folder / file for name, file in files.items()})

    def with_certificate(by: Authority) -> grpc.ChannelCredentials:
        cert, key = by.issue("a client")
        return grpc.ssl_channel_credentials(authority.pem, key, cert)

    def answers(credentials: grpc.ChannelCredentials) -> bool:
        return health(mutual, credentials) in (SERVING, health_pb2.HealthCheckResponse.NOT_SERVING)

    until(lambda: answers(with_certificate(clients)))
    for credentials in (grpc.ssl_channel_credentials(authority.pem), with_certificate(authority), None):
        assert health(mutual, credentials) is grpc.StatusCode.UNAVAILABLE
    other = Authority("others")
    assert health(mutual, with_certificate(other)) is grpc.StatusCode.UNAVAILABLE
    (folder / "clients.pem").write_bytes(other.pem)
    until(lambda: answers(with_certificate(other)))
    assert health(mutual, with_certificate(clients)) is grpc.StatusCode.UNAVAILABLE
    mutual.process.kill()  # it need not load its bundle to the end


def test_files_that_do_not_go_together_are_refused_by_name(tmp_path: Path, authority: Authority) -> None:
    authority.write(tmp_path, "mine")
    cert, key = tmp_path / "server.pem", tmp_path / "server.key"
    (tmp_path / "other.key").write_bytes(authority.issue("other")[1])
    (tmp_path / "nonsense").write_text("no certificate")
    Certificates(cert, key)
    nonsense = tmp_path / "nonsense"
    for files in ((cert, tmp_path / "other.key"), (key, cert), (nonsense, key), (cert, key, nonsense)):
        with pytest.raises(CertificateError, match="cannot be used") as raised:
            Certificates(*files)
        assert str(files[-1]) in str(raised.value)
    with pytest.raises(CertificateError, match=r"none\.pem: cannot be read"):
        Certificates(tmp_path / "none.pem", key)


def test_a_server_whose_certificate_cannot_be_used_does_not_start(
    bundle_dir: Path, tmp_path: Path, authority: Authority
) -> None:
    authority.write(tmp_path, "mine")
    (tmp_path / "server.key").write_bytes(authority.issue("other")[1])
    settings = {"tls_cert": tmp_path / "server.pem", "tls_key": tmp_path / "server.key"}
    process = spawn(bundle_dir, tmp_path / "state", tmp_path / "log", **settings)
    assert process.wait(120) == Exit.ACCESS
    assert "CertificateError" in (tmp_path / "log").read_text()


def test_two_ports_with_the_same_files_both_hear_of_a_change(tmp_path: Path, authority: Authority) -> None:
    authority.write(tmp_path, "first")
    certificates = Certificates(tmp_path / "server.pem", tmp_path / "server.key")
    server = grpc.server(ThreadPoolExecutor(1))
    ports = [server.add_secure_port("127.0.0.1:0", certificates.credentials()) for _ in range(2)]
    server.start()
    try:
        for name in ("second", "third"):
            cert = authority.write(tmp_path, name)
            certificates.reload()
            for port in ports:
                assert ssl.get_server_certificate(("127.0.0.1", port), timeout=60).encode() == cert
    finally:
        server.stop(None)
