"""A user who is forgotten is gone: from answers, memory, files, the next build; and comes back as a new one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import orjson
import pytest
from conftest import RunningServer, a_request, a_turn
from typer.testing import CliRunner

from mining.schema import to_record
from retriever.packed import PackedStrings
from retriever.preferences import PreferenceKind, preference
from retriever.remember import remembered as results_kept
from retriever.vector_cache import CachedEncoder
from rewrite_service import forgetting
from rewrite_service.access.tenants import inner_id
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.cli import app
from rewrite_service.examples import learn_knowledge
from rewrite_service.forgetting import drop_kept_of_forgotten, tombstones_of, without_forgotten
from rewrite_service.kept_bundles import kept_folder, with_kept
from rewrite_service.lesson import Lesson
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pipeline import Pipeline
from rewrite_service.settings import load_settings
from rewrite_service.store.base import user_key
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.traces import Known, traces
from tests.turns import request, turn

SECRET, NEAR = "play xylocarp by the ombrophiles", "play zylocarp by the ombrofiles"
NOW = int(time.time() * 1000)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def said(user: str, query: str = SECRET, days: int = 5, at_ms: int = NOW) -> list[pb.Interaction]:
    return [a_turn(user_id=user, query=query, timestamp_ms=at_ms - n * DAY_MS) for n in range(1, days + 1)]


def record(server: RunningServer, turns: list[pb.Interaction]) -> int:
    return server.stub.Record(pb.RecordRequest(interactions=turns), timeout=60).new_interactions


def teach(server: RunningServer, user: str) -> None:
    server.stub.Teach(pb.TeachRequest(user_id=user, text="my sister is called anna"), timeout=60)


def forget(server: RunningServer, user: str) -> pb.ForgetUserResponse:
    return server.stub.ForgetUser(pb.ForgetUserRequest(user_id=user), timeout=60)


def answers(server: RunningServer, user: str) -> list[bytes]:
    """All that is said to a user, but for how long it took."""
    out = []
    for query in (NEAR, SECRET, "call my sister", "play ago"):
        asked = a_request(interaction_id="asked", user_id=user, query=query, timestamp_ms=NOW)
        explained = server.stub.Explain(pb.ExplainRequest(request=asked), timeout=60)
        explained.response.ClearField("stage_us")
        reply = server.stub.Rewrite(asked, timeout=60)
        reply.ClearField("stage_us")
        out += [explained.SerializeToString(deterministic=True), reply.SerializeToString(deterministic=True)]
    out.append(server.stub.ListPreferences(pb.ListPreferencesRequest(user_id=user), timeout=60).SerializeToString())
    return out


def test_who_is_forgotten_is_answered_like_one_nobody_knows(server: RunningServer) -> None:
    strangers = answers(server, "a stranger")
    record(server, said("fred"))
    record(server, said("fred's friend"))
    teach(server, "fred")
    teach(server, "fred's friend")
    friends = answers(server, "fred's friend")
    assert answers(server, "fred") != strangers
    gone = forget(server, "fred")
    assert (gone.turns, gone.preferences, gone.in_bundle) == (5, 1, False) and gone.bundle_version
    assert answers(server, "fred") == strangers
    assert answers(server, "fred's friend") == friends, "nobody else has lost anything"
    again = forget(server, "fred")
    assert (again.turns, again.preferences) == (0, 0)


def test_whom_the_bundle_knows_is_served_from_it_no_longer(server: RunningServer) -> None:
    strangers = answers(server, "a stranger")
    assert answers(server, "cleo") != strangers
    assert forget(server, "cleo").in_bundle
    assert answers(server, "cleo") == strangers


def test_what_comes_late_does_not_bring_a_user_back_and_what_is_new_counts(server: RunningServer) -> None:
    strangers = answers(server, "a stranger")
    turns = said("lena")
    record(server, turns)
    forget(server, "lena")
    assert record(server, turns) == 0
    late = pb.FeedbackEvent(user_id="lena", interaction_id=turns[0].interaction_id, feedback=pb.Feedback(barge_in=True))
    server.stub.Record(pb.RecordRequest(feedback=[late]), timeout=60)
    assert answers(server, "lena") == strangers
    teach(server, "lena")
    new = [a_turn(user_id="lena", query=SECRET, timestamp_ms=NOW + HOUR_MS + n) for n in range(5)]
    assert record(server, new) == 5
    assert answers(server, "lena") != strangers


def test_a_clock_that_is_ahead_hides_nothing(server: RunningServer) -> None:
    strangers = answers(server, "a stranger")
    ahead = said("tim", at_ms=NOW + 90 * DAY_MS)
    record(server, ahead)
    forget(server, "tim")
    assert record(server, ahead) == 0
    assert answers(server, "tim") == strangers


@pytest.mark.parametrize("user_id", ["", " ", "x" * 129])
def test_nobody_in_particular_cannot_be_forgotten(server: RunningServer, user_id: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        forget(server, user_id)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith("user_id: ")


# In memory


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)


@pytest.fixture
def pipeline(bundle: Bundle, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(bundle, EmbeddedStore(tmp_path), decision_cache_bytes=1 << 20)
    yield made
    made.close()


def remembered(pipeline: Pipeline, query: str) -> list[str]:
    """The caches in which something of ann, or of her text, is left."""
    count, knowledge = results_kept(), pipeline._bundle.knowledge  # the count first: looking is remembered too
    held = {
        "users": "ann" in pipeline._users.users(),
        "decisions": "ann" in pipeline._decisions.users(),
        "meaning": query in knowledge.meaning,
        "sound": query in knowledge.sound,
        "words": count > 0,
    }
    return [name for name, there in held.items() if there]


def be_known(pipeline: Pipeline) -> None:
    pipeline.record([turn(SECRET, -n * 86_400, "music", slots={"song": "xylocarp"}) for n in range(1, 5)])
    pipeline.people.teach(Lesson("ann", "my sister is called anna", None, NOW))
    for query in (NEAR, SECRET):
        pipeline.rewrite(request(query))
    pipeline.rewrite(request("Call My Sister!"))


def test_nothing_stays_in_memory(pipeline: Pipeline) -> None:
    be_known(pipeline)
    assert len(remembered(pipeline, SECRET)) == 5
    pipeline.people.forget("ann")
    assert remembered(pipeline, SECRET) == []
    assert pipeline.cache_figures()["users"]["bytes"] == pipeline.cache_figures()["decisions"]["bytes"] == 0


def test_nothing_stays_in_memory_of_whom_another_process_has_forgotten(pipeline: Pipeline) -> None:
    be_known(pipeline)
    pipeline.people.drop_forgotten()
    assert len(remembered(pipeline, SECRET)) == 5, "nobody was forgotten"
    forgetting.forget("ann", pipeline._store, [])
    pipeline.people.drop_forgotten()
    assert remembered(pipeline, SECRET) == []
    pipeline.rewrite(request(SECRET))
    pipeline.people.drop_forgotten()
    assert "ann" in pipeline._users.users(), "who came back is not dropped again and again"


# In files


def store_of_three(place: Path, turns: int = 300) -> Known:
    """A store with three users who said much that nobody else did; what is to be found of one of them."""
    with_store = EmbeddedStore(place)
    for user in ("ann", "berthold", "cleopatra"):
        own = [turn(f"thing {n} of {user}", n, "x", user=user) for n in range(turns)]
        with_store.append([*own, turn("play jazz", -5, "x", user=user)])
        with_store.put_preference(user, preference(PreferenceKind.NAME, "my sister", f"sister of {user}"))
    with_store.close()
    texts = {f"thing {n} of berthold" for n in range(turns)} | {"play jazz", "sister of berthold"}
    stamps = frozenset(t.request.timestamp_ms for t in own)
    return Known("berthold", frozenset(texts), stamps)


def command(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_scan_finds_what_is_left_until_the_store_is_compacted(tmp_path: Path) -> None:
    place, exported = tmp_path / "state", tmp_path / "berthold.jsonl"
    known = store_of_three(place)
    forgetting = ("forget", "--user", "berthold", "--state-dir", place)
    assert command("export", "--user", "berthold", "--state-dir", place, "--out", exported)[0] == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    code, output = command(*forgetting, "--only-verify")
    assert code == 1 and "rows of the user" in output
    (place / ".compact-killed").mkdir()
    code, output = command(*forgetting, "--verify", "--also", exported)
    assert code == 1 and "forgotten: 301 turns and 1 preferences" in output
    assert "in pages no longer used" in output and "berthold.jsonl" in output
    assert "thing" not in output, "nothing is quoted"
    [left] = traces(known, place, [])
    assert left.what.startswith("the user's id and ") and "keys of turns" in left.what
    assert command("compact", "--state-dir", place)[0] == 0
    assert traces(known, place, []) == [] and {p.name for p in place.iterdir()} == {"data.mdb", "lock.mdb"}
    code, output = command(*forgetting, "--only-verify", "--known", exported)
    assert (code, output.split(",")[0]) == (0, "nothing is left")
    whole = b"".join(p.read_bytes() for p in place.iterdir())
    assert b"berthold" not in whole and whole.count(b"of cleopatra") > 300
    assert command("export", "--user", "berthold", "--state-dir", place) == (0, "")
    store = EmbeddedStore(place)
    assert len(store.user("cleopatra").turns) == 301 and store.user("cleopatra").preferences
    assert store.append([turn("thing 7 of berthold", 7, "x", user="berthold")]) == 0, "the tombstone is kept"
    store.close()


def test_what_is_everybodys_proves_nothing(tmp_path: Path) -> None:
    known = store_of_three(tmp_path, turns=3)
    store = EmbeddedStore(tmp_path)
    store.forget("berthold", NOW)
    store.close()
    assert command("compact", "--state-dir", tmp_path)[0] == 0
    assert b'"play jazz"' in (tmp_path / "data.mdb").read_bytes() and "play jazz" in known.texts
    assert traces(known, tmp_path, []) == []


def test_a_store_in_use_is_not_compacted(tmp_path: Path) -> None:
    store_of_three(tmp_path, turns=3)
    hold = "import sys,pathlib; from rewrite_service.store.embedded import EmbeddedStore as S;"
    hold += "s=S(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        before = (tmp_path / "data.mdb").stat().st_ino
        done = CliRunner().invoke(app, ["compact", "--state-dir", str(tmp_path)])
        assert "in use" in str(done.exception)
        assert (tmp_path / "data.mdb").stat().st_ino == before and len(list(tmp_path.iterdir())) == 2
        other.stdin.close()
    assert command("compact", "--state-dir", tmp_path)[0] == 0


def test_a_bundle_that_still_holds_a_user_is_named(bundle_dir: Path, tmp_path: Path) -> None:
    EmbeddedStore(tmp_path).close()
    code, output = command("forget", "--user", "ada", "--state-dir", tmp_path, "--bundle", bundle_dir, "--verify")
    assert code == 1 and str(bundle_dir) in output and "the next build" in output
    code, output = command("export", "--user", "ada", "--state-dir", tmp_path, "--bundle", bundle_dir)
    assert (code, output) == (0, ""), "what is not served is not given out either"


def test_a_kept_bundle_that_holds_a_user_is_named_and_dropped_by_the_next_build(
    bundle_dir: Path, tmp_path: Path
) -> None:
    state, place = tmp_path / "state", tmp_path / "bundle"
    kept = kept_folder(place) / "20260101T000000-0123456789ab"
    shutil.copytree(bundle_dir, place)
    shutil.copytree(bundle_dir, kept)
    shutil.copytree(place / "global", other := kept_folder(place) / "20250101T000000-0123456789ab")
    EmbeddedStore(state).close()
    asked = ("forget", "--user", "ada", "--state-dir", state, "--bundle", place, "--verify")
    code, output = command(*asked)
    assert code == 1 and f"left in {kept}:" in output and f"left in {other}: a kept bundle that cannot" in output
    store = EmbeddedStore(state)
    forgotten = store.tombstones()
    store.close()
    assert drop_kept_of_forgotten(place, {user_key("somebody else"): 1 << 60}) == [other.name]
    assert kept.is_dir(), "it holds nobody who was forgotten"
    assert drop_kept_of_forgotten(place, forgotten) == [kept.name]
    assert place.is_dir() and not kept.exists()
    assert drop_kept_of_forgotten(place, forgotten) == []


def test_an_export_has_everything(bundle_dir: Path, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    mine = turn(SECRET, 5, "music", user="ada", slots={"song": "xylocarp"})
    store.append([mine])
    store.put_preference("ada", preference(PreferenceKind.NAME, "my sister", "anna", "my sister is called anna", 9))
    store.close()
    code, output = command("export", "--user", "ada", "--state-dir", tmp_path, "--bundle", bundle_dir)
    lines = [orjson.loads(line) for line in output.splitlines()]
    assert code == 0 and {line["type"] for line in lines} == {"turn", "preference"}
    # With `--bundle`, others may be kept beside it.
    assert {line["held_in"] for line in lines} == {"store", *map(str, with_kept(bundle_dir))}
    assert to_record(mine).items() <= lines[0].items() and lines[0]["rewritten_query"] is None
    assert lines[1]["text"] == "my sister is called anna"
    assert all(line["user_id"] == "ada" for line in lines if line["type"] == "turn") and len(lines) > 100


def test_one_tenants_user_is_not_anothers(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.append([turn("play jazz", user="ann"), turn("play go", user=inner_id("acme", "ann"))])
    store.close()
    of_acme = ("--user", "ann", "--tenant", "acme", "--state-dir", tmp_path)
    [line] = command("export", *of_acme)[1].splitlines()
    assert orjson.loads(line)["query"] == "play go"
    assert command("forget", *of_acme, "--compact", "--verify")[0] == 0
    assert command("export", *of_acme) == (0, "")
    [line] = command("export", "--user", "ann", "--state-dir", tmp_path)[1].splitlines()
    assert orjson.loads(line)["query"] == "play jazz"


# In the next build


def test_the_next_build_leaves_out_the_user_and_what_needed_them(bundle: Bundle, tmp_path: Path) -> None:
    """A text that two said is nobody's any more once one of them is gone."""
    people = {
        user: [turn(text, n * 3600, "music", user=user, slots={"song": text}) for n in range(4)]
        for user, text in (("ann", SECRET), ("bob", SECRET), ("cy", "play jazz"), ("di", "play jazz"))
    }
    store = EmbeddedStore(tmp_path)
    store.forget("bob", NOW)
    store.close()
    left = without_forgotten([t for turns in people.values() for t in turns], tombstones_of(load_settings(), tmp_path))
    assert {t.request.user_id for t in left} == {"ann", "cy", "di"}

    def shared(turns: list) -> set[str]:
        theirs = {user: [t for t in turns if t.request.user_id == user] for user in people}
        layer = learn_knowledge(theirs, bundle.knowledge.meaning, 2).shared
        layer.save(tmp_path / "layer")
        return set(PackedStrings.open(tmp_path / "layer", "texts"))

    assert isinstance(bundle.knowledge.meaning, CachedEncoder)
    assert shared([t for turns in people.values() for t in turns]) == {SECRET, "play jazz"}
    assert shared(left) == {"play jazz"}


def test_turns_after_a_forgetting_are_built_from(tmp_path: Path) -> None:
    turns = [turn("play jazz", at, "x") for at in (0, 10, 20)]
    kept = without_forgotten(turns, {user_key("ann"): turns[1].request.timestamp_ms})
    assert kept == turns[2:]
    assert without_forgotten(turns, {}) == turns


def test_build_reads_the_tombstones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, state = tmp_path / "log.jsonl", tmp_path / "state"
    log.write_bytes(b"".join(orjson.dumps(to_record(turn("play jazz", n, "x"))) + b"\n" for n in range(40)))
    store = EmbeddedStore(state)
    store.forget("ann", NOW)
    store.close()
    build = ["build", "--quiet", "--log", str(log), "--out", str(tmp_path / "bundle")]
    done = CliRunner().invoke(app, [*build, "--forgotten", str(state)])
    assert "the log holds 0 turns" in str(done.exception)
    done = CliRunner().invoke(app, [*build, "--forgotten", str(tmp_path / "none")])
    assert "no store there" in str(done.exception)
    monkeypatch.setenv("QUERY_REWRITE_STATE_DIR", str(state))
    assert "the log holds 0 turns" in str(CliRunner().invoke(app, build).exception), "without being told"
