"""What one connection or call may cost the server, against clients who mean no good; it goes on serving others."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from conftest import Launch, RunningServer, a_request, until
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rewrite_service.pb import rewrite_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
METADATA_BYTES, MESSAGE_BYTES, CONNECTIONS = 2048, 65_536, 6
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY, _ENHANCE_YOUR_CALM = 4, 6, 7, 11


@pytest.fixture(scope="module")
def server(launch: Launch) -> RunningServer:
    return launch(
        max_metadata_bytes=METADATA_BYTES,
        max_message_bytes=MESSAGE_BYTES,
        max_connections=CONNECTIONS,
        default_deadline_ms=60_000,
    )


def code_of(call: Callable[..., object], *args: object, **kwargs: object) -> grpc.StatusCode:
    try:
        call(*args, timeout=60, **kwargs)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


def test_metadata_has_a_bound(server: RunningServer) -> None:
    def asked(size: int) -> grpc.StatusCode:
        return code_of(server.stub.Rewrite, a_request(), metadata=(("x-much", "a" * size),))

    assert asked(METADATA_BYTES // 2) is grpc.StatusCode.OK
    assert asked(METADATA_BYTES) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert asked(METADATA_BYTES // 2) is grpc.StatusCode.OK


def test_a_message_has_a_bound_also_when_it_is_packed(server: RunningServer) -> None:
    """64 MiB of nothing are 64 KiB on the wire."""
    call = server.channel.unary_unary("/rewrite.v1.RewriteService/Rewrite")
    assert code_of(call, b"\0" * (MESSAGE_BYTES + 1)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    before = most_memory(server)
    refused = code_of(call, b"\0" * (64 << 20), compression=grpc.Compression.Gzip)
    assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert most_memory(server) - before < 32 << 20
    assert code_of(server.stub.Rewrite, a_request(), compression=grpc.Compression.Gzip) is grpc.StatusCode.OK


def most_memory(server: RunningServer) -> int:
    """Bytes that the server has taken at most so far."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def test_so_many_connections_and_one_that_ends_makes_room(server: RunningServer) -> None:
    def healthy(channel: grpc.Channel) -> bool:
        try:
            return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False

    assert server.health() == SERVING, "whose connection is one of them"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
    channels = [grpc.insecure_channel(server.address, options=options) for _ in range(CONNECTIONS + 2)]
    try:
        let_in = [healthy(channel) for channel in channels]
        assert let_in == [True] * (CONNECTIONS - 1) + [False] * 3
        for channel in (channels[0], *channels[CONNECTIONS - 1 : -1]):  # those refused would take the place themselves
            channel.close()
        until(lambda: healthy(channels[-1]))
        assert server.health() == SERVING
    finally:
        for channel in channels:
            channel.close()


def test_whoever_only_pings_is_sent_away(server: RunningServer) -> None:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        raw.sendall(_PREFACE + frame(_SETTINGS) + frame(_PING, bytes(8)) * 50)
        read = raw.makefile("rb")
        while True:
            header = read.read(9)
            assert len(header) == 9, "the connection ended without a word"
            payload = read.read(int.from_bytes(header[:3], "big"))
            if header[3] == _GOAWAY:
                break
        assert int.from_bytes(payload[4:8], "big") == _ENHANCE_YOUR_CALM
    assert server.stub.Rewrite(a_request(), timeout=60).decision != pb.DECISION_UNSPECIFIED
