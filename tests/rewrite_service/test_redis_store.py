"""The Redis store on real servers: the contract of all stores, on one server and on a cluster, and what is Redis's own:
keys, times to live, round trips, durability, faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from conftest import until
from redis.crc import key_slot
from store_contract import StoreContract, taught, turn, turns_of
from structlog.testing import capture_logs

from benchmarks.chaos.redis_server import RedisServer, redis_cluster, redis_server
from retriever.interaction import Explicit, Feedback, Request
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.errors import StoreError
from rewrite_service.pipeline import Pipeline
from rewrite_service.store import Store, TurnFeedback, UserRecord, user_key
from rewrite_service.store.redis_check import warnings_of
from rewrite_service.store.redis_scripts import PUT_NOTE
from rewrite_service.store.redis_store import RedisStore

T = TypeVar("T")
PATIENT = {"read_timeout_s": 60.0, "write_timeout_s": 60.0, "connect_timeout_s": 60.0}
"""For tests that are about something else than time."""
IMPATIENT = {"read_timeout_s": 0.5, "write_timeout_s": 1.0, "probe_every_s": 0.02}


def until_it_is_back(ask: Callable[[], T]) -> T:
    """What `ask` returns, once it raises no more."""
    answers: list[T] = []

    def is_back() -> bool:
        with suppress(StoreError):
            answers.append(ask())
        return bool(answers)

    until(is_back)
    return answers[0]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server("--appendfsync", "everysec") as it:
        yield it


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster("--appendfsync", "everysec") as servers:
        yield servers


@contextmanager
def emptied(servers: list[RedisServer], **options: object) -> Iterator[RedisStore]:
    for server in servers:
        with server.client() as client:
            client.flushall()
    store = RedisStore(servers[0].url, **(PATIENT | options))
    try:
        yield store
    finally:
        store.close()


class TestContract(StoreContract):
    examples = 40

    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        type(self).servers = [server]

    def opened(self, max_turns: int = 2000, max_bytes: int = 1 << 20, max_count_rows: int = 1000):
        bounds = {"max_turns_per_user": max_turns, "max_bytes_per_user": max_bytes, "max_count_rows": max_count_rows}
        return emptied(self.servers, **bounds, cluster=len(self.servers) > 1)


class TestContractOnACluster(TestContract):
    examples = 15

    @pytest.fixture(autouse=True)
    def _server(self, cluster: list[RedisServer]) -> None:
        type(self).servers = cluster


def filled(store: Store) -> None:
    store.append([turn("ada", "i-1", query="a secret"), turn("bob", "i-2")])
    store.amend([TurnFeedback("ada", "i-1", Feedback(True))])
    store.put_preference("ada", taught())
    store.put_preference("eve", taught())
    store.remove_preference("eve", "p-1")
    store.forget("cleo", 5)
    store.add_counts("pairs", {b"k": (1,)})
    store.put_note("ada", "pairs", b"what came of it", store.revision("ada"))


def test_every_key_lives_for_a_time_and_a_users_keys_share_a_slot(server: RedisServer) -> None:
    with emptied([server], ttl_s=3600) as store, server.client() as client:
        filled(store)
        keys = list(client.scan_iter())
        assert len(keys) >= 9
        assert all(0 < client.pttl(key) <= 3_600_000 for key in keys if not key.endswith(b":gone"))
        assert all(client.pttl(key) > 3_600_000 for key in keys if key.endswith(b":gone"))
        assert not any(name in key for key in keys for name in (b"ada", b"bob", b"eve", b"cleo"))
        tags = {key.split(b":")[1] for key in keys if key.startswith(b"qr1:{")}
        for tag in tags:
            assert len({key_slot(key) for key in keys if tag in key}) == 1


def test_what_is_forgotten_is_in_no_key(server: RedisServer) -> None:
    with emptied([server]) as store, server.client() as client:
        filled(store)
        store.forget("ada", 10_000)
        for key in client.scan_iter():
            held = client.dump(key)
            assert not any(text in held for text in (b"secret", b"warriors", b"what came of it"))


def test_a_note_of_a_user_who_is_forgotten_meanwhile_does_not_stay(server: RedisServer) -> None:
    with emptied([server], max_notes=3) as store:
        store.append([turn()])
        script = store._writes.script

        def slow(*given):  # the user is forgotten while the note is on its way
            done = script(*given)
            if given[0].source == PUT_NOTE:
                store.forget("ada", 10_000)
            return done

        store._writes.script = slow
        assert not store.put_note("ada", "pairs", b"note", store.revision("ada"))
        assert store.notes("pairs") == {}
        store._writes.script = script
        for n in range(9):
            store.put_note(f"user-{n}", "pairs", b"note", 0)
        assert len(store.notes("pairs")) == 3 and user_key("user-8") in store.notes("pairs")


def test_a_store_that_was_emptied_gives_no_revision_twice(server: RedisServer) -> None:
    with emptied([server]) as store, server.client() as client:
        seen = []
        for _ in range(3):
            store.append([turn()])
            seen.append(store.revision("ada"))
            client.flushall()
            assert store.revision("ada") == 0 and store.user("ada") == UserRecord()
        assert seen == sorted(set(seen))


def test_feedback_that_comes_at_once_is_all_merged(server: RedisServer) -> None:
    with emptied([server]) as store, ThreadPoolExecutor(4) as pool:
        store.append([turn(name=f"i-{n}") for n in range(5)])
        late = [
            TurnFeedback("ada", f"i-{n}", feedback)
            for n in range(5)
            for feedback in (Feedback(True), Feedback(explicit=Explicit.YES), Feedback(dwell_s=3.0))
        ]
        assert sum(pool.map(lambda one: store.amend([one]), late)) == 15
        assert {kept.feedback for kept in turns_of(store, "ada")} == {Feedback(True, Explicit.YES, 3.0)}


def test_what_was_acknowledged_outlives_kill_minus_nine() -> None:
    with redis_server() as server:
        store = RedisStore(server.url, **PATIENT)
        store.append([turn(name=f"i-{n}", at=n + 1) for n in range(50)])
        server.kill()
        for call in (lambda: store.user("ada"), lambda: store.revision("ada"), lambda: store.append([turn()])):
            with pytest.raises(StoreError):
                call()
        server.start()
        assert len(until_it_is_back(lambda: turns_of(store, "ada"))) == 50
        store.close()


def test_a_frozen_redis_is_waited_for_a_few_times_and_then_not_at_all(server: RedisServer) -> None:
    with emptied([server], **IMPATIENT) as store:
        store.append([turn()])
        store.user("ada")
        server.freeze()
        try:
            said = []
            for _ in range(50):
                with pytest.raises(StoreError) as raised:
                    store.user("ada")
                said.append(str(raised.value))
            tried = [one for one in said if "is not asked again yet" not in one]
            assert 1 <= len(tried) <= 3, "three fail, the others are not tried"
        finally:
            server.thaw()
        assert until_it_is_back(lambda: turns_of(store, "ada")) == [turn()], "by itself"


def test_one_ill_node_costs_the_users_of_others_nothing(cluster: list[RedisServer]) -> None:
    with emptied(cluster, cluster=True, **IMPATIENT) as store:
        users = [f"user-{n}" for n in range(30)]
        store.append([turn(user) for user in users])
        with cluster[0].client() as client:
            kept_by_ill = {key.decode() for key in client.scan_iter("*:user")}
        ill = [user for user in users if f"qr1:{{{user_key(user).hex()}}}:user" in kept_by_ill]
        well = [user for user in users if user not in ill]
        assert len(ill) > 3 and len(well) > 3
        cluster[0].freeze()
        try:
            for user in ill[:4]:
                with pytest.raises(StoreError):
                    store.user(user)
            # Each may be slow by itself for a moment; what an ill one did to it would last.
            assert until_it_is_back(lambda: [turns_of(store, user) for user in well]) == [[turn(user)] for user in well]
            for user in ill:
                with pytest.raises(StoreError):
                    store.user(user)
        finally:
            cluster[0].thaw()


def test_a_redis_that_is_not_there_yet_is_found_when_it_comes() -> None:
    with redis_server() as server:
        server.kill()
        with capture_logs() as logs:
            store = RedisStore(server.url, **IMPATIENT)
        assert "cannot be reached" in str(logs)
        with pytest.raises(StoreError):
            store.user("ada")
        server.start()
        until_it_is_back(lambda: store.append([turn()]))
        assert until_it_is_back(lambda: turns_of(store, "ada")) == [turn()]
        store.close()


def test_a_redis_that_cannot_be_used_is_an_error_that_tells_no_password(
    server: RedisServer, cluster: list[RedisServer]
) -> None:
    url = f"redis://somebody:hush-hush@127.0.0.1:{server.port}"
    for wrong, said, options in (
        (url, "password or user", {}),
        (cluster[0].url, "set redis_cluster", {}),
        (server.url, "is redis_cluster right", {"cluster": True}),
    ):
        with capture_logs() as logs, pytest.raises(StoreError, match=said) as raised:
            RedisStore(wrong, **PATIENT, **options)
        assert "hush" not in str(raised.value) + str(logs)
        assert raised.value.__cause__ is None


def test_the_operator_hears_what_may_be_lost(server: RedisServer) -> None:
    def said(**settings: str) -> str:
        with server.client() as client:
            before = client.config_get(*(name.replace("_", "-") for name in settings))
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)
            found = " ".join(warnings_of(client))
            for name, value in before.items():
                client.config_set(name, value)
        return found

    assert said(appendfsync="always", maxmemory_policy="noeviction") == ""
    assert "last second" in said(appendfsync="everysec")
    assert "users may be dropped" in said(appendfsync="always", maxmemory_policy="allkeys-lru")
    assert "appendonly is off" in said(appendonly="no")


def test_a_request_is_one_round_trip(server: RedisServer, bundle_dir: Path) -> None:
    """Whether nothing is known of the user, or something that is current, or something that is not. What is recorded is
    one more, by which it is taken in before the user asks again."""
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    with emptied([server]) as store:
        pipeline = Pipeline(bundle, store, decision_cache_bytes=1 << 20)
        ask = lambda n, text: pipeline.rewrite(Request(f"q-{n}", "ada", 10_000 + n, text))  # noqa: E731

        def record_and_settle() -> None:
            before = pipeline._users._states["ada"]
            pipeline.record([turn(name="i-2")])
            until(lambda: pipeline._users._states["ada"] is not before)

        ask(0, "play jazz")  # connects, and tells Redis the script
        with server.client() as client, client.monitor() as monitor:
            steps = [
                lambda: ask(1, "play jazz"),
                lambda: ask(2, "a text that nobody has said"),
                lambda: store.append([turn()]),
                lambda: ask(3, "play jazz"),
                record_and_settle,
                lambda: ask(4, "play jazz"),
                lambda: pipeline.rewrite(Request("q", "a stranger", 1, "play jazz")),
            ]
            counts = []
            for step in steps:
                step()
                with server.client() as other:
                    other.echo("step done")
                seen = []
                while "step done" not in (command := monitor.next_command())["command"]:
                    if command["client_type"] != "lua" and not command["command"].startswith(("CLIENT", "HELLO")):
                        seen.append(command["command"].split()[0])
                counts.append(seen)
        again = {"EVAL"} if counts[2] == ["EVALSHA", "EVAL"] else set()
        calls = [[name for name in seen if name not in again] for seen in counts]
        assert calls == [["EVALSHA"]] * 4 + [["EVALSHA"] * 2] + [["EVALSHA"]] * 2
        pipeline._loader.close(wait=True)


def test_what_one_server_records_makes_stale_what_another_remembers(server: RedisServer, bundle_dir: Path) -> None:
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    with emptied([server]) as store, emptied([server]) as others:
        one, other = (Pipeline(bundle, each, decision_cache_bytes=1 << 20) for each in (store, others))
        ask = lambda: other.rewrite(Request("q", "dora", 10_000, "play jazz"))  # noqa: E731
        ask()
        assert "remembered" in ask().stage_us
        for change in (
            lambda: one.record([turn("dora")]),
            lambda: one.record([], [TurnFeedback("dora", "i-1", Feedback(True))]),
            lambda: store.put_preference("dora", taught()),
            lambda: store.forget("dora", 5_000),
        ):
            change()
            assert "remembered" not in ask().stage_us and "remembered" in ask().stage_us
        for pipeline in (one, other):
            pipeline._loader.close(wait=True)


def test_a_failed_read_is_not_taken_for_a_stranger(bundle_dir: Path) -> None:
    """Nothing that was decided without the user's rows is remembered, and the user is whole again once Redis is."""
    bundle = open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)
    with redis_server() as server:
        store = RedisStore(server.url, **PATIENT, probe_every_s=0.02)
        pipeline = Pipeline(bundle, store, decision_cache_bytes=1 << 20)
        ask = lambda: pipeline.rewrite(Request("q", "cleo", int(time.time() * 1000), "play ago"))  # noqa: E731
        whole = ask()
        assert "personal" not in whole.skipped
        server.kill()
        without = ask()
        assert "personal" in without.skipped
        assert pipeline.cache_figures()["decisions"]["hits"] == 0
        server.start()
        again = until(lambda: None if "personal" in (decision := ask()).skipped else decision)
        assert (again.text, again.reason) == (whole.text, whole.reason)
        pipeline.close()


def test_the_client_library_is_the_fast_one() -> None:
    assert redis.utils.HIREDIS_AVAILABLE
