"""Teaching over gRPC: what a user says counts from the very next request, for that user alone, until taken back."""

from __future__ import annotations

import grpc
import pytest
from conftest import NOON, RunningServer, a_request, a_turn

from rewrite_service.pb import rewrite_pb2 as pb

DAY_MS = 86_400_000
MINUTE_MS = 60_000


def teach(server: RunningServer, user: str, text: str, at_ms: int = NOON) -> pb.TeachResponse:
    return server.stub.Teach(pb.TeachRequest(user_id=user, text=text, timestamp_ms=at_ms), timeout=60)


def ask(server: RunningServer, user: str, query: str, at_ms: int = NOON + MINUTE_MS) -> pb.RewriteResponse:
    return server.stub.Rewrite(a_request(user_id=user, query=query, timestamp_ms=at_ms), timeout=60)


def told(server: RunningServer, user: str) -> list[pb.Preference]:
    return list(server.stub.ListPreferences(pb.ListPreferencesRequest(user_id=user), timeout=60).preferences)


def failed(user: str, query: str, at_ms: int) -> pb.Interaction:
    turn = a_turn(user_id=user, query=query, timestamp_ms=at_ms, outcome=pb.OUTCOME_NO_MATCH)
    turn.ClearField("interpretation")
    return turn


@pytest.mark.parametrize(
    ("said", "query", "wanted"),
    [
        ("i'm a warriors fan", "did my team win", "did the warriors win"),
        ("my sister is called anna", "call my sister", "call anna"),
        ("i like italian restaurants", "find a restaurant nearby", "find an italian restaurant nearby"),
        ("when i say movie time turn on the den light", "Movie time!", "turn on the den light"),
    ],
)
def test_what_is_taught_counts_from_the_very_next_request(
    server: RunningServer, said: str, query: str, wanted: str
) -> None:
    user = f"pupil of {said}"
    before = ask(server, user, query)
    assert before.text != wanted and before.reason != pb.REASON_TAUGHT
    taught = teach(server, user, said)
    reply = ask(server, user, query)
    assert (reply.decision, reply.text, reply.reason) == (pb.DECISION_REWRITE, wanted, pb.REASON_TAUGHT)
    assert (reply.layer, reply.probability) == (pb.LAYER_PERSONAL, 1.0)
    assert reply.preference_id == taught.preference.id
    assert taught.preference.text == said and taught.preference.taught_ms == NOON
    assert ask(server, f"{user}2", query).text == before.text, "nobody else gets it"
    gone = pb.RemovePreferenceRequest(user_id=user, preference_id=taught.preference.id)
    assert server.stub.RemovePreference(gone).removed and not server.stub.RemovePreference(gone).removed
    after = ask(server, user, query)
    assert (after.decision, after.text, after.reason) == (before.decision, before.text, before.reason)
    assert told(server, user) == []


def test_the_reply_says_what_is_kept_and_what_it_will_do(server: RunningServer) -> None:
    taught = teach(server, "tess", "My sister is called Carol.")
    kept = taught.preference
    assert (kept.kind, kept.subject, kept.value) == (pb.PREFERENCE_KIND_NAME, "my sister", "carol")
    assert taught.example_query.split()[-2:] == ["my", "sister"]
    assert ask(server, "tess", taught.example_query).text == taught.example_rewrite == "call carol"
    assert told(server, "tess") == [kept]


def test_fields_teach_what_no_sentence_says(server: RunningServer) -> None:
    given = pb.Preference(kind=pb.PREFERENCE_KIND_ALIAS, subject="Xyzzy, plugh", value="Frobnicate the foo")
    taught = server.stub.Teach(pb.TeachRequest(user_id="fay", preference=given)).preference
    assert (taught.subject, taught.value, taught.text) == ("xyzzy plugh", "frobnicate the foo", "")
    assert taught.taught_ms > NOON
    assert ask(server, "fay", "xyzzy plugh").text == "frobnicate the foo"


def test_what_is_said_again_of_the_same_thing_replaces_it(server: RunningServer) -> None:
    teach(server, "rex", "my sister is called anna")
    teach(server, "rex", "my sister is called beth")
    assert [p.value for p in told(server, "rex")] == ["beth"]
    assert ask(server, "rex", "call my sister").text == "call beth"


def test_likes_that_compete_are_weighed_and_not_taken(server: RunningServer) -> None:
    teach(server, "lia", "i like italian restaurants")
    teach(server, "lia", "i like thai restaurants")
    request = a_request(user_id="lia", query="find a restaurant nearby", timestamp_ms=NOON + 1)
    explained = server.stub.Explain(pb.ExplainRequest(request=request), timeout=60)
    offered = {c.text for c in explained.candidates if "taught" in c.sources}
    assert offered == {"find an italian restaurant nearby", "find a thai restaurant nearby"}
    assert explained.response.reason != pb.REASON_TAUGHT


def test_explain_shows_what_was_taught_among_what_else_was_weighed(server: RunningServer) -> None:
    teach(server, "exa", "my boss is called carol")
    request = a_request(user_id="exa", query="call my boss", timestamp_ms=NOON + 1)
    explained = server.stub.Explain(pb.ExplainRequest(request=request), timeout=60)
    assert explained.response.text == "call carol" and explained.response.reason == pb.REASON_TAUGHT
    shown = {c.text: c for c in explained.candidates}
    assert "taught" in shown["call carol"].sources and shown["call carol"].layer == pb.LAYER_PERSONAL
    assert len(shown["call carol"].features) > 50 and len(shown) > 1


def test_what_has_come_to_work_as_said_is_left_alone(server: RunningServer) -> None:
    """The words have worked since then, as another request than the one that was taught."""
    teach(server, "wes", "by the usual i mean play jazz")
    assert ask(server, "wes", "the usual").text == "play jazz"
    jazz = pb.Interpretation(intent="play_music", slots={"genre": "jazz"})
    coffee = pb.Interpretation(intent="order", slots={"what": "coffee"})
    turns = [
        a_turn(user_id="wes", query=query, interpretation=meant, timestamp_ms=NOON + n * DAY_MS)
        for n in range(1, 5)
        for query, meant in (("play jazz", jazz), ("the usual", coffee))
    ]
    server.stub.Record(pb.RecordRequest(interactions=turns), timeout=60)
    assert ask(server, "wes", "the usual", NOON + 9 * DAY_MS).reason != pb.REASON_TAUGHT
    teach(server, "wes", "by the usual i mean play jazz", NOON + 10 * DAY_MS)
    assert ask(server, "wes", "the usual", NOON + 11 * DAY_MS).text == "play jazz"


def test_a_client_that_does_not_say_what_it_served_does_not_unteach(server: RunningServer) -> None:
    teach(server, "lazy", "when i say jazz o'clock, play jazz")
    jazz = pb.Interpretation(intent="play_music", slots={"genre": "jazz"})
    turns = [
        a_turn(user_id="lazy", query="jazz o'clock", interpretation=jazz, timestamp_ms=NOON + n * DAY_MS)
        for n in range(1, 4)
    ]
    server.stub.Record(pb.RecordRequest(interactions=turns), timeout=60)
    assert ask(server, "lazy", "jazz o'clock", NOON + 9 * DAY_MS).text == "play jazz"


def test_who_fails_again_with_the_same_words_is_asked_to_teach(server: RunningServer) -> None:
    query = "play my xylocarp mix"
    assert not ask(server, "sue", query, NOON).HasField("teach_suggestion")
    server.stub.Record(pb.RecordRequest(interactions=[failed("sue", query, NOON)]), timeout=60)
    reply = ask(server, "sue", query, NOON + 20_000)
    assert reply.decision == pb.DECISION_PASS
    hint = reply.teach_suggestion
    assert (hint.kind, hint.subject) == (pb.PREFERENCE_KIND_NAME, "my xylocarp")
    given = pb.Preference(kind=hint.kind, subject=hint.subject, value="jazz")
    server.stub.Teach(pb.TeachRequest(user_id="sue", preference=given, timestamp_ms=NOON + 21_000))
    assert ask(server, "sue", query, NOON + 22_000).text == "play jazz mix"
    assert not ask(server, "sue", "play jazz", NOON + 23_000).HasField("teach_suggestion")
    whole = "frobnicate the living room"
    server.stub.Record(pb.RecordRequest(interactions=[failed("sue", whole, NOON + 30_000)]), timeout=60)
    hint = ask(server, "sue", whole, NOON + 40_000).teach_suggestion
    assert (hint.kind, hint.subject) == (pb.PREFERENCE_KIND_ALIAS, whole)
    assert not ask(server, "sue", whole, NOON + DAY_MS).HasField("teach_suggestion"), "long ago"
    assert not ask(server, "sam", whole, NOON + 40_000).HasField("teach_suggestion"), "another's failure"


def given(kind: int, subject: str, value: str) -> pb.TeachRequest:
    return pb.TeachRequest(user_id="u", preference=pb.Preference(kind=kind, subject=subject, value=value))


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (pb.TeachRequest(text="my sister is called anna"), "user_id"),
        (pb.TeachRequest(user_id="u"), "lesson"),
        (pb.TeachRequest(user_id="u", text="quagmire biopsy zebulon"), "text"),
        (pb.TeachRequest(user_id="u", text="x" * 1001), "text"),
        (pb.TeachRequest(user_id="u", text="my x is called y", timestamp_ms=-1), "timestamp_ms"),
        (given(0, "a", "b"), "preference.kind"),
        (given(9, "a", "b"), "preference.kind"),
        (given(1, "!", "b"), "preference.subject"),
        (given(1, "a", ""), "preference.value"),
        (given(1, "A", "a"), "preference.value"),
        (given(1, "a", "b" * 1001), "preference.value"),
        (given(3, "a b", "c"), "preference.subject"),
    ],
)
def test_what_cannot_be_taken_down_is_refused_by_name_and_not_quoted(
    server: RunningServer, sent: pb.TeachRequest, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        server.stub.Teach(sent, timeout=60)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith(f"{field}: ")
    assert not any(word in refused.value.details() for word in ("quagmire", "biopsy", "zebulon"))
    assert told(server, "u") == []


def test_there_is_an_end_to_what_is_kept(server: RunningServer) -> None:
    lesson = lambda n: pb.TeachRequest(  # noqa: E731
        user_id="max", preference=pb.Preference(kind=pb.PREFERENCE_KIND_NAME, subject=f"thing {n}", value="it")
    )
    for n in range(100):
        server.stub.Teach(lesson(n), timeout=60)
    with pytest.raises(grpc.RpcError) as refused:
        server.stub.Teach(lesson(100), timeout=60)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    server.stub.Teach(lesson(99), timeout=60)
    assert len(told(server, "max")) == 100
