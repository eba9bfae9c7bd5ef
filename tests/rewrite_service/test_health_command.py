"""`query-rewrite health` says what a server says of itself, by exit code too, as probes want it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from certificates import Authority
from conftest import Launch, RunningServer, wait_for


def health(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    command = [sys.executable, "-m", "rewrite_service.cli", "health", *arguments]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUERY_REWRITE_")}
    given = inherited | environment
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=given)
    return done.returncode, done.stdout, done.stderr


def test_a_server_that_serves(server: RunningServer) -> None:
    assert health("--target", server.address, "--service", "rewrite.v1.RewriteService") == (0, "SERVING\n", "")
    port = server.address.rsplit(":", 1)[1]
    assert health(QUERY_REWRITE_PORT=port) == (0, "SERVING\n", ""), "by the settings' port, as in a container"


def test_a_service_that_is_not_there_and_a_server_that_is_not(server: RunningServer) -> None:
    code, _, said = health("--target", server.address, "--service", "another")
    assert code == 1 and "NOT_FOUND" in said
    code, _, said = health("--target", "127.0.0.1:1", "--timeout", "1")
    assert code == 1 and said.startswith("error: 127.0.0.1:1: ") and said.count("\n") == 1


def test_mutual_tls(launch: Launch, tmp_path: Path) -> None:
    """With an authority, and a certificate of the probe's own; not without them."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    authority.write(tmp_path, "server")
    files = {name: tmp_path / file for name, file in (("cert", "server.pem"), ("key", "server.key"), ("ca", "ca.pem"))}
    server = launch(wait=False, tls_cert=files["cert"], tls_key=files["key"], tls_client_ca=files["ca"])
    wait_for(lambda: "listening on " in server.log_file.read_text(), server.process, server.log_file)
    known = ("--target", server.address, "--authority", files["ca"], "--server-name", "localhost")
    assert health(*known, "--cert", files["cert"], "--key", files["key"]) == (0, "SERVING\n", "")
    assert health(*known)[0] == 1, "without a certificate of its own"
    assert health(*known, "--cert", files["cert"])[0] == 2, "a certificate without its key"
