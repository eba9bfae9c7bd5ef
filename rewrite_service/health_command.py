"""`query-rewrite health`: whether a server serves, for the probes of container engines and orchestrators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewrite_service.errors import RewriteError


def health(
    target: Annotated[
        str | None, typer.Option(help="Server to ask, host:port; default: this machine, on the port of the settings.")
    ] = None,
    service: Annotated[str, typer.Option(help="Service to ask for; default: the server as a whole.")] = "",
    timeout: Annotated[float, typer.Option(min=0.05, max=600, help="Seconds to wait for an answer.")] = 2.0,
    authority: Annotated[
        Path | None, typer.Option(help="PEM file of who signed the server's certificate; with it TLS is spoken.")
    ] = None,
    server_name: Annotated[
        str | None, typer.Option(help="Name in the server's certificate, where it is not the target's.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="The probe's own certificate, PEM (mutual TLS).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
) -> None:
    """Ask a server whether it serves: exit code 0 if it does, 1 with the reason if not. Needs no token.

    Example: `query-rewrite health --target 127.0.0.1:50051`

    Example: `query-rewrite health --authority ca.pem --server-name rewrite.example.org`
    """
    if (cert is None) != (key is None):
        raise typer.BadParameter("a certificate and its key go together", param_hint="--cert, --key")
    if authority is None and (server_name is not None or cert is not None):
        raise typer.BadParameter("TLS needs --authority", param_hint="--server-name, --cert")
    if target is None:
        from rewrite_service.settings import load_settings

        target = f"127.0.0.1:{load_settings().port}"
    files = [None if path is None else path.read_bytes() for path in (authority, key, cert)]
    status = _ask(target, service, timeout, files, server_name)
    print(status)
    if status != "SERVING":
        raise typer.Exit(1)


def _ask(target: str, service: str, timeout: float, files: list[bytes | None], server_name: str | None) -> str:
    """The name of the status that the server answers with. `files`: authority, key, certificate."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    options = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    if files[0] is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*files), options)
    with channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            raise RewriteError(f"{target}: {error.code().name}: {error.details()}") from None
    status: str = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return status
