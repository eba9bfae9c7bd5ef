"""Builds the wheel, installs it with its pinned libraries into an environment of its own away from the checkout, and
has it do a newcomer's first steps there: a log, a server on a bundle, a Rewrite over gRPC.

usage: python deploy/wheel_test.py BUNDLE        BUNDLE: one of the sample log
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
CALL = """
import sys, time, grpc
from rewrite_service.pb import rewrite_pb2 as pb, rewrite_pb2_grpc
stub = rewrite_pb2_grpc.RewriteServiceStub(grpc.insecure_channel(sys.argv[1]))
reply = stub.Rewrite(pb.RewriteRequest(
    interaction_id="i", user_id="ben", timestamp_ms=int(time.time() * 1000), channel=pb.CHANNEL_VOICE,
    asr_confidence=0.8, query="play we don't talk about brew no"), timeout=10)
assert reply.text == "play we don't talk about bruno", reply
print("Rewrite:", reply.text)
import importlib.util
for name in ("torch", "redis", "opentelemetry", "pytest"):
    assert importlib.util.find_spec(name) is None, f"{name} came along"
"""


def run(*command: str | Path, **options: object) -> None:
    print("+", *(str(word).strip().split("\n", 1)[0] for word in command), flush=True)
    subprocess.run(command, check=True, timeout=600, **options)


def serve(programs: Path, bundle: Path, away: dict[str, object]) -> None:
    """Serves, asks, and ends it."""
    log = Path(str(away["cwd"])) / "log"
    command = [programs / "query-rewrite", "serve", "--bundle", bundle, "--port", "0", "--state-dir", "state"]
    with log.open("wb") as lines:
        server = subprocess.Popen(command, stdout=lines, stderr=lines, **away)
    try:
        end = time.monotonic() + START_SECONDS
        while b"listening on " not in log.read_bytes():
            if server.poll() is not None or time.monotonic() > end:
                sys.exit(f"error: it does not serve:\n{log.read_text()}")
            time.sleep(0.1)
        address = log.read_text().split("listening on ")[1].split('"')[0]
        run(programs / "query-rewrite", "health", "--target", address, **away)
        run(programs / "python", "-c", CALL, address, **away)
    finally:
        server.terminate()
        code = server.wait(30)
    if code != 0:
        sys.exit(f"error: the server ended with {code}")


def main(bundle: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="query-rewrite-wheel-") as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QUERY_REWRITE_"))}
        away = {"cwd": place, "env": kept}
        run(sys.executable, "-m", "venv", place / "venv", **away)
        programs = place / "venv" / "bin"
        wheel = next((place / "dist").glob("*.whl"))
        constraints = ROOT / "deploy" / "constraints.txt"
        quiet = ("--quiet", "--disable-pip-version-check")
        run(programs / "python", "-m", "pip", "install", *quiet, "--constraint", constraints, wheel, **away)
        run(programs / "query-rewrite", "sample-log", "--people", "5", "--days", "2", "--out", "log.jsonl.gz", **away)
        serve(programs, bundle, away)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute())
