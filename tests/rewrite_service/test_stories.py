"""The stories that the service is for, asked of a running server that learned from the sample log alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import RunningServer, a_request

from mining.reader import read_log
from mining.sessions import by_user
from retriever.interaction import Interaction
from rewrite_service.pb import rewrite_pb2 as pb

DAY_MS = 86_400_000
WILKERSON = "what's the weather in wilkerson"
CALIFORNIA = "what's the weather in wilkerson california"
ANYMORE, BRUNO = "anymore", "bruno"


@pytest.fixture(scope="module")
def people(sample_log: Path) -> dict[str, list[Interaction]]:
    return by_user(read_log([sample_log]).turns)


@pytest.fixture(scope="module")
def next_day(people: dict[str, list[Interaction]]) -> int:
    """A moment on the day after the log's last, in milliseconds."""
    return max(turns[-1].request.timestamp_ms for turns in people.values()) + DAY_MS


def ask(
    server: RunningServer, user: str, query: str, at_ms: int, screen: bool = True, **fields: object
) -> tuple[pb.RewriteResponse, str]:
    """The answer of `Rewrite`, which must be that of `Explain`, and a summary of the grounds for failures to show."""
    device = "display" if screen else "speaker"
    context = pb.Context(device_id=f"{user}-{device}", device_type=device, has_screen=screen, locale="en-US")
    given = {"user_id": user, "query": query, "timestamp_ms": at_ms, "asr_confidence": 0.8, "context": context} | fields
    asked = a_request(**given)
    explained = server.stub.Explain(pb.ExplainRequest(request=asked), timeout=60)
    reply = server.stub.Rewrite(asked, timeout=60)
    assert (reply.decision, reply.text, reply.layer) == (
        explained.response.decision,
        explained.response.text,
        explained.response.layer,
    )
    best = [f"{c.text!r} {c.probability:.3f} {'+'.join(c.sources)}" for c in explained.candidates[:4]]
    decision, reason = pb.Decision.Name(reply.decision), pb.Reason.Name(reply.reason)
    return reply, f"{user}: {query!r} -> {decision} {reply.text!r} {reason} p={reply.probability:.3f}; {best}"


def is_pass(reply: pb.RewriteResponse) -> bool:
    return reply.decision == pb.DECISION_PASS and not reply.text


# Ada, who always means the other Wilkerson.


@pytest.mark.parametrize("screen", [True, False])
def test_ada_gets_the_wilkerson_that_she_means(server: RunningServer, next_day: int, screen: bool) -> None:
    reply, why = ask(server, "ada", WILKERSON, next_day, screen)
    assert reply.decision == pb.DECISION_REWRITE, why
    assert reply.text == CALIFORNIA, why
    assert reply.layer == pb.LAYER_PERSONAL, why


def test_ada_is_left_alone_when_she_says_it_in_full(server: RunningServer, next_day: int) -> None:
    for said in (CALIFORNIA, "what's the weather in wilkerson washington"):
        reply, why = ask(server, "ada", said, next_day)
        assert is_pass(reply), why


def test_who_is_content_with_washington_keeps_it(
    server: RunningServer, people: dict[str, list[Interaction]], next_day: int
) -> None:
    content: Counter[str] = Counter()
    for user, turns in people.items():
        for turn in turns:
            place = turn.interpretation and dict(turn.interpretation.slots).get("state")
            if turn.request.query == WILKERSON and place == "washington" and not turn.feedback.barge_in:
                content[user] += 1
    content.pop("ada", None)
    most = [user for user, times in content.most_common(3) if times >= 3]
    assert len(most) == 3, "the log has such people"
    for user in most:
        reply, why = ask(server, user, WILKERSON, next_day)
        assert is_pass(reply), why


def test_a_stranger_gets_the_usual_wilkerson(server: RunningServer, next_day: int) -> None:
    for user in ("a stranger", "adam", "ad", "ADA"):
        reply, why = ask(server, user, WILKERSON, next_day)
        assert is_pass(reply), why


# Ben, fan of a song whose title begins like that of another.


@pytest.mark.parametrize("screen", [True, False])
def test_ben_gets_bruno_when_he_says_bruno(server: RunningServer, next_day: int, screen: bool) -> None:
    for said in ("play we don't talk about bruno", "put on we don't talk about bruno"):
        reply, why = ask(server, "ben", said, next_day, screen)
        assert ANYMORE not in reply.text, why
        assert is_pass(reply) or BRUNO in reply.text, why


@pytest.mark.parametrize("screen", [True, False])
def test_ben_gets_bruno_when_he_is_misheard(server: RunningServer, next_day: int, screen: bool) -> None:
    reply, why = ask(server, "ben", "play we don't talk about brew no", next_day, screen, asr_confidence=0.5)
    assert ANYMORE not in reply.text, why
    assert is_pass(reply) or BRUNO in reply.text, why


def test_ben_still_gets_his_song(server: RunningServer, next_day: int) -> None:
    reply, why = ask(server, "ben", "play we don't talk anymore", next_day)
    assert is_pass(reply) or ANYMORE in reply.text, why


def test_what_many_mishear_is_mended_for_a_stranger(server: RunningServer, next_day: int) -> None:
    reply, why = ask(server, "a stranger", "play we don't talk about brew no", next_day, asr_confidence=0.5)
    assert reply.decision == pb.DECISION_REWRITE and BRUNO in reply.text, why
    assert reply.layer == pb.LAYER_GLOBAL, why


# Cleo, whose film is heard as something else.


def test_cleo_gets_her_film(
    server: RunningServer, people: dict[str, list[Interaction]], next_day: int
) -> None:
    hers = {
        t.request.query
        for t in people["cleo"]
        if t.interpretation and dict(t.interpretation.slots) == {"film": "go"}
    }
    reply, why = ask(server, "cleo", "play ago", next_day)
    assert reply.decision == pb.DECISION_REWRITE, why
    assert reply.text in hers, why
    assert reply.layer == pb.LAYER_PERSONAL, why


def test_a_strangers_play_ago_is_never_mended_from_cleos_past(
    server: RunningServer, people: dict[str, list[Interaction]], next_day: int
) -> None:
    assert sum(t.request.query == "play ago" for t in people["cleo"]) >= 10, "the habit is there to leak"
    for user in ("a stranger", "cleopatra", "cle", "ben"):
        reply, why = ask(server, user, "play ago", next_day)
        assert reply.layer != pb.LAYER_PERSONAL or is_pass(reply), why
        assert reply.text != "watch the movie go" or reply.layer == pb.LAYER_GLOBAL, why
