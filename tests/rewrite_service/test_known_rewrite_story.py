"""The whole way of a rewrite computed ahead: a log, a build by the command line, a server, and `Rewrite`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from conftest import Launch, RunningServer, a_request

from mining.schema import to_record
from retriever.interaction import Interaction
from rewrite_service.bundle import read_manifest
from rewrite_service.pb import rewrite_pb2 as pb
from tests.turns import DAY_S, NOON_S, turn

HEARD, MEANT = "play ago", "play the movie go"
SECRET = "play the secret of ann"
LATER_MS = int((NOON_S + 20 * DAY_S) * 1000)


def served(text: str, at_s: float, user: str, intent: str, **slots: str) -> Interaction:
    return turn(text, at_s, intent, user, slots=slots, dwell_s=120.0)


def said_by(user: str, number: int) -> list[Interaction]:
    """Twelve days of one user, who is misheard every day and says it in full; and what only ann says."""
    out: list[Interaction] = []
    for day in range(12):
        at = day * DAY_S + number * 60
        out.append(served("call mom", at, user, "Call", contact="mom"))
        out.append(turn(HEARD, at + 3600, user=user))
        out.append(served(MEANT, at + 3615, user, "Film", film="go"))
        out.append(served("turn on the light", at + 7200, user, "Switch", device="light"))
        if user == "ann":
            out.append(turn("play the sea cret", at + 9000, user=user))
            out.append(served(SECRET, at + 9015, user, "Song", song="the secret"))
    return out


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("chains")
    turns = [t for number, user in enumerate(("ann", "bob", "cat")) for t in said_by(user, number)]
    log = place / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(to_record(t), option=orjson.OPT_APPEND_NEWLINE) for t in turns))
    command = [sys.executable, "-m", "rewrite_service.cli", "build", "--quiet", "--log", str(log)]
    done = subprocess.run([*command, "--out", str(place / "bundle")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "bundle"


@pytest.fixture(scope="module")
def server(launch: Launch, small_bundle: Path) -> RunningServer:
    return launch(bundle=small_bundle)


def ask(server: RunningServer, query: str, user: str = "somebody-new") -> pb.RewriteResponse:
    asked = a_request(user_id=user, query=query, timestamp_ms=LATER_MS, asr_confidence=0.8)
    return server.stub.Rewrite(asked, timeout=60)


def test_the_build_finds_it_and_proves_it_on_later_days(small_bundle: Path) -> None:
    manifest = read_manifest(small_bundle)
    lookup, told = manifest["policy"]["lookup"], manifest["report"]["lookup"]
    assert lookup["wins_per_harm"] == 20 and lookup["probability"] > 0.9
    assert told["wins"] == told["rewrites"] >= 20 and told["losses"] + told["missed"] == 0


def test_what_others_had_to_say_again_is_asked_at_once(server: RunningServer) -> None:
    reply = ask(server, HEARD.upper())
    assert (reply.decision, reply.reason) == (pb.DECISION_REWRITE, pb.REASON_KNOWN_REWRITE)
    assert (reply.text, reply.layer) == (MEANT, pb.LAYER_GLOBAL)
    assert reply.probability > 0.9
    assert not {"encode", "retrieve", "features", "predict"} & set(reply.stage_us), "nothing was searched"


def test_what_one_person_had_to_say_again_is_nobody_elses(server: RunningServer, small_bundle: Path) -> None:
    asked = a_request(user_id="somebody-new", query="play the sea cret", timestamp_ms=LATER_MS)
    reply = server.stub.Explain(pb.ExplainRequest(request=asked), timeout=60)
    assert SECRET not in {reply.response.text, *(c.text for c in reply.candidates)}
    for table in (small_bundle / "global").iterdir():
        held = table.read_bytes()
        assert b"sea cret" not in held and HEARD.encode() not in held, table.name


def test_a_miner_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rewrite_service.cli", "build", "--log", "x", "--out", str(tmp_path / "b")]
    refused = subprocess.run([*command, "--without", "chain"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "name one of chains" in refused.stderr.replace("\n", " ")
