"""Nobody meets anybody else: what one person alone said is never offered, explained, logged or stored for another.

The bundle here is built from a small sample log in which two people said things that nobody else ever said.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grpc
import orjson
import pytest
from conftest import Launch, RunningServer, a_request, a_turn

from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.sample.generate import START_MS, generate

AFTER_MS = START_MS + 60 * 86_400_000
"""Later than the log."""
# Said with success, often; said and never understood; said wrong and put right. Words that occur nowhere else.
SECRET = "call doctor quagmire about my biopsy"
FAILED_SECRET = "remind me of the zebulon affair"
MISHEARD_SECRET, REPAIRED_SECRET = "play vermillion lullabuy", "play vermilion lullaby"
PRIVATE_WORDS = ("quagmire", "biopsy", "zebulon", "affair", "vermillion", "vermilion", "lullaby", "lullabuy")
OWNER = "vera"
OTHERS = ("ver", "vera2", "vera ", "Vera", "veraa", "verb", "p0004", "ada", "a stranger")
"""Those whose ids begin alike, people of the log, and one whom nobody knows."""
NEAR = (
    SECRET,
    FAILED_SECRET,
    MISHEARD_SECRET,
    REPAIRED_SECRET,
    "call doctor quagmire about my biopsies",
    "call doctor quick mire about my by up see",
    "call doctor",
    "call",
    "doctor quagmire",
    "about my biopsy",
    "remind me of the zebulun affair",
    "remind me",
    "play vermilion",
    "play million lullaby",
    "play vermillion lullabies",
    "zebulon",
)


def private_turns(user: str) -> list[dict[str, object]]:
    """Log records of one person's private turns: five days of them."""
    made: list[dict[str, object]] = []
    for d in range(5):
        at = START_MS + d * 86_400_000 + 3_600_000
        call = {"intent": "phone.call", "slots": {"contact": "doctor quagmire", "about": "my biopsy"}}
        song = {"intent": "music.song", "slots": {"song": "vermilion lullaby"}}
        said = (
            (SECRET, call, 0),
            (FAILED_SECRET, None, 600),
            (MISHEARD_SECRET, None, 1200),
            (REPAIRED_SECRET, song, 1215),
        )
        for n, (query, reading, seconds) in enumerate(said):
            made.append(
                {
                    "interaction_id": f"{user}-{d}-{n}",
                    "user_id": user,
                    "timestamp_ms": at + seconds * 1000,
                    "channel": "voice",
                    "query": query,
                    "asr_confidence": 0.7,
                    "interpretation": reading,
                    "outcome": "ok" if reading else "no_match",
                }
            )
    return made


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a log with the private turns in it; servers of this module serve it."""
    folder = tmp_path_factory.mktemp("private")
    log, out = folder / "log.jsonl", folder / "bundle"
    records = [*generate(people=24, days=12), *private_turns(OWNER)]
    log.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in records))
    command = [sys.executable, "-m", "rewrite_service.cli", "build", "--quiet", "--log", str(log), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out


def request_of(user: str, query: str) -> pb.RewriteRequest:
    return a_request(interaction_id="asked", user_id=user, query=query, timestamp_ms=AFTER_MS, asr_confidence=0.5)


def explained(server: RunningServer, user: str, query: str) -> pb.ExplainResponse:
    return server.stub.Explain(pb.ExplainRequest(request=request_of(user, query)), timeout=60)


def grounds(server: RunningServer, user: str, query: str) -> bytes:
    """All that `Explain` says, but for how long it took."""
    reply = explained(server, user, query)
    assert not reply.response.skipped_stages
    reply.response.ClearField("stage_us")
    return reply.SerializeToString(deterministic=True)


def offered(server: RunningServer, user: str, query: str) -> set[str]:
    """Every text but the query itself that a reply to this request holds."""
    reply = explained(server, user, query)
    texts = {c.text for c in reply.candidates} | {reply.response.text}
    texts.add(server.stub.Rewrite(request_of(user, query), timeout=60).text)
    return texts - {query, ""}


def private_part(texts: set[str], query: str) -> set[str]:
    """The texts that hold a private word which the query does not."""
    hers = [word for word in PRIVATE_WORDS if word not in query.split()]
    return {text for text in texts if any(word in text.split() for word in hers)}


def test_the_owner_does_get_her_own(server: RunningServer) -> None:
    """There is something to leak: otherwise all below would pass for nothing."""
    assert SECRET in offered(server, OWNER, "call doctor quick mire about my by up see")
    assert REPAIRED_SECRET in offered(server, OWNER, MISHEARD_SECRET)


@pytest.mark.parametrize("user", OTHERS)
def test_what_one_said_in_the_log_is_never_offered_to_another(server: RunningServer, user: str) -> None:
    for query in NEAR:
        texts = offered(server, user, query)
        assert not texts & {SECRET, FAILED_SECRET, MISHEARD_SECRET, REPAIRED_SECRET}, query
        assert not private_part(texts, query), query


def test_what_one_records_is_never_offered_to_another(server: RunningServer) -> None:
    text, near = "play xylocarp by the ombrophiles", "play zylocarp by the ombrofiles"
    turns = [
        a_turn(interaction_id=f"x-{n}", user_id="max", timestamp_ms=AFTER_MS - n * 86_400_000, query=text)
        for n in range(1, 6)
    ]
    assert server.stub.Record(pb.RecordRequest(interactions=turns), timeout=60).new_interactions == 5
    assert text in offered(server, "max", near)
    for user in ("ma", "max ", "maxi", "Max", OWNER, *OTHERS):
        for query in (near, text, "play xylocarp", "play something by the ombrophiles"):
            texts = offered(server, user, query)
            assert not any("xylocarp" in t and "xylocarp" not in query for t in texts), (user, query)
            assert text not in texts, (user, query)


@pytest.mark.parametrize("other", ["ida", "idae", "id"])
def test_what_another_records_changes_nothing_for_me(server: RunningServer, other: str) -> None:
    """Bit for bit: not a candidate, not a feature, not a probability."""
    me = "ida2"
    queries = ("play ago", f"play secret {other} song", "set a timer for ten minutes", SECRET)
    server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id=me, timestamp_ms=AFTER_MS - 9_000_000)]))
    before = [grounds(server, me, query) for query in queries]
    assert before == [grounds(server, me, query) for query in queries], "asking again changes nothing either"
    turns = [
        a_turn(interaction_id=f"{other}-{n}", user_id=other, timestamp_ms=AFTER_MS - n * 60_000, query=query)
        for n, query in enumerate(queries)
    ]
    late = [pb.FeedbackEvent(user_id=other, interaction_id="asked", feedback=pb.Feedback(barge_in=True))]
    sent = pb.RecordRequest(interactions=turns, feedback=late)
    assert server.stub.Record(sent, timeout=60).new_interactions == len(turns)
    for query in queries:
        explained(server, other, query)  # what is made and kept for the other is made now
    assert before == [grounds(server, me, query) for query in queries]


@pytest.mark.parametrize("query", [SECRET, REPAIRED_SECRET])
def test_nobody_can_tell_whether_another_has_been_here(launch: Launch, query: str) -> None:
    """What the server keeps at hand for one user (vectors of her texts) must not show in another's figures."""
    server = launch()
    before = grounds(server, "a stranger", query)
    explained(server, OWNER, query)
    assert grounds(server, "a stranger", query) == before
    early = launch()
    explained(early, OWNER, query)
    assert grounds(early, "a stranger", query) == before, "whoever comes first"


TAUGHT = (
    ("my therapist is called quagmire", "call my therapist", "call quagmire"),
    ("when i say zebulon time play vermilion lullaby", "zebulon time", "play vermilion lullaby"),
    ("i'm a vermillion fan", "did my team win", "did vermillion win"),
    ("i like biopsy affairs", "remind me of an affair", "remind me of a biopsy affair"),
)


def test_what_one_teaches_is_nobody_elses(server: RunningServer) -> None:
    """Neither answers nor grounds, lists nor removals of another meet it; nor does it change what another gets."""
    teacher, pupils = "tara", ("tar", "tara ", "Tara", "tara2", OWNER, "a stranger")
    queries = [query for _, query, _ in TAUGHT]
    before = {user: [grounds(server, user, query) for query in queries] for user in pupils}
    ids = []
    for said, query, meant in TAUGHT:
        taught = server.stub.Teach(pb.TeachRequest(user_id=teacher, text=said), timeout=60)
        ids.append(taught.preference.id)
        assert explained(server, teacher, query).response.text == meant
        assert server.stub.Rewrite(request_of(teacher, query), timeout=60).text == meant
    for user in pupils:
        assert [grounds(server, user, query) for query in queries] == before[user]
        assert all(server.stub.Rewrite(request_of(user, q), timeout=60).reason != pb.REASON_TAUGHT for q in queries)
        assert not server.stub.ListPreferences(pb.ListPreferencesRequest(user_id=user), timeout=60).preferences
        for name in ids:
            gone = pb.RemovePreferenceRequest(user_id=user, preference_id=name)
            assert not server.stub.RemovePreference(gone, timeout=60).removed
        server.stub.ForgetUser(pb.ForgetUserRequest(user_id="tar"), timeout=60)
    held = server.stub.ListPreferences(pb.ListPreferencesRequest(user_id=teacher), timeout=60).preferences
    assert [p.id for p in held] == ids
    assert [server.stub.Rewrite(request_of(teacher, q), timeout=60).text for q in queries] == [m for _, _, m in TAUGHT]


def test_what_is_understood_of_a_sentence_leans_on_nobody_elses_names(server: RunningServer) -> None:
    """"my dentist is doctor quagmire" is a name to her who has called him, and to nobody else."""
    said = "my dentist is doctor quagmire"
    with pytest.raises(grpc.RpcError) as refused:
        server.stub.Teach(pb.TeachRequest(user_id="a stranger", text=said), timeout=60)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert private_part({refused.value.details()}, "") == set()
    kept = server.stub.Teach(pb.TeachRequest(user_id=OWNER, text=said), timeout=60).preference
    assert (kept.subject, kept.value) == ("my dentist", "doctor quagmire")


def test_whose_failing_it_is_stays_with_them(server: RunningServer) -> None:
    query = "play my zebulon affair"
    turn = a_turn(user_id="fia", query=query, timestamp_ms=AFTER_MS - 5000, outcome=pb.OUTCOME_NO_MATCH)
    turn.ClearField("interpretation")
    server.stub.Record(pb.RecordRequest(interactions=[turn]), timeout=60)
    assert server.stub.Rewrite(request_of("fia", query), timeout=60).HasField("teach_suggestion")
    for user in OTHERS:
        assert not server.stub.Rewrite(request_of(user, query), timeout=60).HasField("teach_suggestion")


def test_who_was_forgotten_can_be_seen_nowhere(server: RunningServer) -> None:
    me = "mia"
    queries = (SECRET, "call doctor quick mire about my by up see", "call my therapist")
    before = [grounds(server, me, query) for query in queries]
    turns = [a_turn(user_id="nia", timestamp_ms=AFTER_MS - n * 60_000, query=SECRET) for n in range(1, 5)]
    server.stub.Record(pb.RecordRequest(interactions=turns), timeout=60)
    server.stub.Teach(pb.TeachRequest(user_id="nia", text="my therapist is called quagmire"), timeout=60)
    for query in queries:
        explained(server, "nia", query)
    server.stub.ForgetUser(pb.ForgetUserRequest(user_id="nia"), timeout=60)
    assert [grounds(server, me, query) for query in queries] == before
    assert [grounds(server, "nia", query) for query in queries] == before, "nia is a stranger again"


def test_no_private_word_is_in_what_the_bundle_shares(bundle_dir: Path) -> None:
    """Raw bytes of everything but the people's own archive."""
    shared = [p for p in bundle_dir.rglob("*") if p.is_file() and p.parent.name != "people"]
    assert {p.parent.name for p in shared} >= {"global", "bundle"} and len(shared) > 20
    whole = b"\n".join(p.read_bytes().lower() for p in shared)
    assert b"timer" in whole, "what many say is there to be read"
    assert [word for word in (*PRIVATE_WORDS, OWNER) if re.search(rb"\b%s\b" % word.encode(), whole)] == []


def test_no_text_and_no_id_is_ever_logged(launch: Launch) -> None:
    server = launch()
    secret = "call doctor quagmire about xylocarps"
    server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id="maximilian", query=secret)]), timeout=60)
    for user in (OWNER, "maximilian"):
        for query in (*NEAR, secret, "call doctor quagmire about xylo carps"):
            server.stub.Rewrite(request_of(user, query), timeout=60)
        explained(server, user, secret)
        kept = server.stub.Teach(pb.TeachRequest(user_id=user, text=f"when i say zebulon, {secret}"), timeout=60)
        server.stub.Rewrite(request_of(user, "zebulon"), timeout=60)
        with pytest.raises(grpc.RpcError):
            server.stub.Teach(pb.TeachRequest(user_id=user, text=secret), timeout=60)
        server.stub.ListPreferences(pb.ListPreferencesRequest(user_id=user), timeout=60)
        gone = pb.RemovePreferenceRequest(user_id=user, preference_id=kept.preference.id)
        assert server.stub.RemovePreference(gone, timeout=60).removed
    server.stub.ForgetUser(pb.ForgetUserRequest(user_id="maximilian"), timeout=60)
    too_long, nobodys = request_of("maximilian", secret * 100), request_of(" ", secret)
    for bad in (too_long, nobodys, a_request(query=secret, timestamp_ms=-1)):
        with pytest.raises(grpc.RpcError):
            server.stub.Rewrite(bad, timeout=60)
    with pytest.raises(grpc.RpcError):
        server.stub.Record(pb.RecordRequest(interactions=[a_turn(user_id="maximilian", query=secret, outcome=0)]))
    assert server.stop() == 0
    logged = server.log_file.read_text().lower()
    assert logged.count('"rewrite"') > 30 and logged.count('"forget_user"') == 1, "it does log requests"
    words = (*PRIVATE_WORDS, "xylocarp", "xylocarps", "maximilian", OWNER)
    assert [word for word in words if re.search(rf"\b{word}\b", logged)] == []
