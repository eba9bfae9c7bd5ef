"""Another bundle for running server processes, under load: no call fails, no answer mixes two, what cannot be used is
refused, and one call goes back."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from conftest import Asking, Launch, RunningServer, a_request, until

from rewrite_service.bundle import MANIFEST, read_manifest
from rewrite_service.kept_bundles import kept_folder
from rewrite_service.pb import admin_pb2, admin_pb2_grpc, rewrite_pb2_grpc
from rewrite_service.pb import rewrite_pb2 as pb

NEVER = "20990101T000000-aaaaaaaaaaaa"
"""Of a bundle that never rewrites; the sample's own does, for `ASKED`."""
ASKED = {"user_id": "somebody", "query": "play we don't talk about brew no", "asr_confidence": 0.8}
WORKERS = 2


def variant(source: Path, target: Path, version: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a bundle under another version, with another manifest."""
    shutil.copytree(source, target)
    manifest = read_manifest(target)
    manifest["version"] = version
    change(manifest)
    (target / MANIFEST).write_bytes(orjson.dumps(manifest))
    return target


@pytest.fixture(scope="module")
def never(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundles") / "never"
    return variant(bundle_dir, place, NEVER, lambda m: m["policy"].update(threshold=1.01))


@pytest.fixture(scope="module")
def place(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(bundle_dir, tmp_path_factory.mktemp("place") / "bundle"))


@pytest.fixture(scope="module")
def server(launch: Launch, place: Path) -> RunningServer:
    running = launch(bundle=place, workers=WORKERS, admin_port=0, bundle_watch_s=0.2, max_wait_ms=60_000)
    until(lambda: sum(line["event"].startswith("listening on") for line in running.log()) == WORKERS)
    assert len(admin(running).BundleStatus(admin_pb2.BundleStatusRequest()).processes) == WORKERS
    return running


_channels: dict[str, grpc.Channel] = {}


def admin(server: RunningServer) -> admin_pb2_grpc.AdminServiceStub:
    address = until(lambda: next((x["admin_address"] for x in server.log() if "admin_address" in x), None))
    channel = _channels.get(address) or _channels.setdefault(address, grpc.insecure_channel(address))
    return admin_pb2_grpc.AdminServiceStub(channel)


def swap(server: RunningServer, **where: str) -> admin_pb2.SwapBundleResponse:
    return admin(server).SwapBundle(admin_pb2.SwapBundleRequest(**where), timeout=120)


def served(server: RunningServer) -> set[str]:
    """By all processes."""
    return {p.version for p in admin(server).BundleStatus(admin_pb2.BundleStatusRequest(), timeout=60).processes}


class Load(Asking):
    """Asks over connections of its own. `seen`: answers by bundle version and decision."""

    def __init__(self, address: str, connections: int = 6) -> None:
        super().__init__(self._once, connections)
        self.seen: Counter[tuple[str, int]] = Counter()
        self.failed: list[str] = []
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.insecure_channel(address, options=options) for _ in range(connections)]

    def _once(self, connection: int) -> None:
        stub = rewrite_pb2_grpc.RewriteServiceStub(self._channels[connection])
        try:
            reply = stub.Rewrite(a_request(**ASKED), timeout=60)
        except grpc.RpcError as error:
            self.failed.append(f"{error.code()}: {error.details()}")
        else:
            self.seen[reply.bundle_version, reply.decision] += 1
        time.sleep(0.02)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for channel in self._channels:
            channel.close()


@pytest.fixture
def back_after(server: RunningServer, bundle_dir: Path) -> Iterator[str]:
    """The version of the sample's bundle, which is served before and after."""
    version = read_manifest(bundle_dir)["version"]
    yield version
    if served(server) != {version}:
        swap(server, path=str(bundle_dir))


def test_under_load_by_call_and_back(server: RunningServer, place: Path, never: Path, back_after: str) -> None:
    with Load(server.address) as load:
        until(lambda: load.seen[back_after, pb.DECISION_REWRITE] > 20)
        done = swap(server, path=str(never))
        assert (done.version, done.before_version) == (NEVER, back_after)
        assert served(server) == {NEVER}
        after = Counter(load.seen)
        until(lambda: sum((load.seen - after).values()) > 40)
        assert {version for version, _ in load.seen - after} == {NEVER}, "once the call returns, all serve the new one"
        back = admin(server).RollBack(admin_pb2.RollBackRequest(from_version=NEVER), timeout=120)
        assert back.version == back_after and served(server) == {back_after}
        with pytest.raises(grpc.RpcError) as again:  # sent twice, it goes back once
            admin(server).RollBack(admin_pb2.RollBackRequest(from_version=NEVER), timeout=120)
        assert again.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert load.failed == []
    assert set(load.seen) == {(back_after, pb.DECISION_REWRITE), (NEVER, pb.DECISION_PASS)}, "none mixes the two"
    swaps = [line for line in server.log() if line["event"] == "bundle swapped"]
    assert len(swaps) >= 2 * WORKERS and all(line["freed"] for line in swaps)
    for pid in {line["pid"] for line in swaps}:
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert str(never) not in mapped and str(place) in mapped, "nothing of the other one is held"


def test_what_cannot_be_used_is_refused_and_nothing_changes(
    server: RunningServer, never: Path, tmp_path: Path, back_after: str
) -> None:
    """A file altered; a file altered with the manifest made to fit; no bundle at all."""
    altered = variant(never, tmp_path / "altered", NEVER, lambda m: None)
    (altered / "ranker.txt").write_text("tree\n")
    fitted = tmp_path / "fitted"
    shutil.copytree(altered, fitted)
    manifest = read_manifest(fitted)
    import hashlib

    manifest["files"]["ranker.txt"] = {"bytes": 5, "sha256": hashlib.sha256(b"tree\n").hexdigest()}
    (fitted / MANIFEST).write_bytes(orjson.dumps(manifest))
    for bad, said in ((altered, "ranker.txt"), (fitted, str(fitted)), (tmp_path, "no bundle there")):
        with pytest.raises(grpc.RpcError) as refused:
            swap(server, path=str(bad))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert said in refused.value.details()
        assert server.stub.Rewrite(a_request(**ASKED), timeout=60).bundle_version == back_after
    until(lambda: served(server) == {back_after})


def test_a_bundle_put_in_the_place_is_taken(
    server: RunningServer, place: Path, never: Path, back_after: str, tmp_path: Path
) -> None:
    """As `build --keep 1` puts it there; then back to the one kept, by its name."""
    from rewrite_service.exchange import put_in_place
    from rewrite_service.kept_bundles import put_aside

    draft = Path(shutil.copytree(never, place.with_name(".draft")))
    put_in_place(draft, place, lambda old: put_aside(old, place, back_after, 1))
    until(lambda: served(server) == {NEVER})
    status = admin(server).BundleStatus(admin_pb2.BundleStatusRequest())
    assert (status.standing_version, list(status.kept_versions)) == (NEVER, [back_after])
    assert swap(server, version=back_after).version == back_after
    kept = str(kept_folder(place) / back_after)
    assert {p.path for p in admin(server).BundleStatus(admin_pb2.BundleStatusRequest()).processes} == {kept}


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"version": "20200101T000000-000000000000"}, grpc.StatusCode.NOT_FOUND),
        ({"version": "../../etc"}, grpc.StatusCode.NOT_FOUND),
        ({"path": "relative"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"path": "/nul\x00"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"path": "/a", "version": "b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"path": "/" * 5000}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"path": "/etc/passwd"}, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_what_names_no_bundle_is_refused(server: RunningServer, where: dict[str, str], code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        swap(server, **where)
    assert refused.value.code() is code
