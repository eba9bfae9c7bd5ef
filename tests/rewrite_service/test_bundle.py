"""The bundle on disk: whole or refused, swapped as one, the same from the same log, and everybody's turns their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mining.reader import read_log
from mining.sessions import by_user
from ranker.calibration import Calibration
from ranker.model import RankerModel
from ranker.policy import Policy
from ranker.triage import Triage
from retriever.encoder import Encoder
from retriever.vector_cache import CachedEncoder
from rewrite_service import exchange as exchange_module
from rewrite_service import people_archive
from rewrite_service.bundle import MANIFEST, Bundle, feature_schema, open_bundle, read_manifest, write_bundle
from rewrite_service.errors import BundleError
from rewrite_service.examples import learn_knowledge
from rewrite_service.people_archive import NOBODY, PeopleArchive
from rewrite_service.sample.generate import write as write_sample
from tests.turns import DAY_S, turn

REMEDY = "build"
"""Every refusal says what to do about it: build the bundle (anew)."""
CACHE_BYTES = 8 << 20


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def copied(bundle_dir: Path, tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))


def refusal(place: Path, encoder: Encoder) -> str:
    with pytest.raises(BundleError) as raised:
        open_bundle(place, encoder, CACHE_BYTES)
    message = str(raised.value)
    assert str(place) in message and "\n" not in message
    assert REMEDY in message.replace(str(place), ""), f"says what is wrong, but not what to do: {message}"
    return message


def rewrite_manifest(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = orjson.loads((place / MANIFEST).read_bytes())
    change(manifest)
    (place / MANIFEST).write_bytes(orjson.dumps(manifest))


def contents(place: Path) -> dict[str, str]:
    """sha256 by name, of all files under `place`."""
    return {
        p.relative_to(place).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(place.rglob("*"))
        if p.is_file()
    }


# Opening.


def test_a_whole_bundle_opens(copied: Path, encoder: Encoder) -> None:
    opened = open_bundle(copied, encoder, CACHE_BYTES)
    assert opened.version == read_manifest(copied)["version"]
    assert len(opened.knowledge.shared) > 100 and len(opened.people) > 100


def test_the_manifest_lists_every_file(bundle_dir: Path) -> None:
    listed = read_manifest(bundle_dir)["files"]
    found = contents(bundle_dir)
    found.pop(MANIFEST)
    assert {name: f["sha256"] for name, f in listed.items()} == found
    assert {name.split("/")[0] for name in listed} >= {"global", "people", "ranker.txt", "completions.json"}


def test_a_byte_flipped_in_any_file_is_found(copied: Path, encoder: Encoder) -> None:
    for name in read_manifest(copied)["files"]:
        path = copied / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        assert name in refusal(copied, encoder)
        path.write_bytes(whole[:-1])
        assert name in refusal(copied, encoder)
        path.write_bytes(whole)
    open_bundle(copied, encoder, CACHE_BYTES)


@pytest.mark.parametrize("part", ["ranker.txt", "completions.json", "global/texts.blob.npy", "people/turns.npy"])
def test_a_missing_file_is_named(copied: Path, encoder: Encoder, part: str) -> None:
    (copied / part).unlink()
    assert part in refusal(copied, encoder)


@pytest.mark.parametrize("part", ["global", "people"])
def test_a_missing_folder_is_named(copied: Path, encoder: Encoder, part: str) -> None:
    shutil.rmtree(copied / part)
    assert f"{part}/" in refusal(copied, encoder)


@pytest.mark.parametrize("other", [0, 999, "1", None])
def test_another_format_is_refused(copied: Path, encoder: Encoder, other: object) -> None:
    rewrite_manifest(copied, lambda m: m.update(format=other))
    assert f"format {other!r}" in refusal(copied, encoder)


def test_vectors_of_another_encoder_are_refused(copied: Path, encoder: Encoder) -> None:
    rewrite_manifest(copied, lambda m: m.update(encoder="0123456789abcdef"))
    message = refusal(copied, encoder)
    assert "0123456789abcdef" in message and encoder.fingerprint in message


def test_a_ranker_of_other_features_is_refused(copied: Path, encoder: Encoder) -> None:
    rewrite_manifest(copied, lambda m: m.update(feature_schema="0123456789abcdef"))
    assert "features" in refusal(copied, encoder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_manifest_half_written_is_refused(copied: Path, encoder: Encoder, share: float) -> None:
    whole = (copied / MANIFEST).read_bytes()
    (copied / MANIFEST).write_bytes(whole[: int(len(whole) * share)])
    assert MANIFEST in refusal(copied, encoder)


@pytest.mark.parametrize("part", ["files", "policy", "encoder", "feature_schema", "version"])
def test_a_manifest_without_a_part_is_refused(copied: Path, encoder: Encoder, part: str) -> None:
    rewrite_manifest(copied, lambda m: m.pop(part))
    refusal(copied, encoder)


@pytest.mark.parametrize("text", [b"[]", b"null", b"7", b"\xff\xfe"])
def test_something_else_in_the_manifests_place_is_refused(copied: Path, encoder: Encoder, text: bytes) -> None:
    (copied / MANIFEST).write_bytes(text)
    refusal(copied, encoder)


def test_an_empty_folder_or_none_is_no_bundle(tmp_path: Path, encoder: Encoder) -> None:
    assert "no bundle there" in refusal(tmp_path, encoder)
    assert "no bundle there" in refusal(tmp_path / "nothing", encoder)


# Writing.

POLICY = Policy(0.1 + 0.2, 1 / 7, -1 / 3, Calibration((0.0, 1 / 3, 1.0), (0.0, 0.1, 2 / 3)))
PEOPLE = {
    user: [turn("call mom", i * DAY_S, "Call", user, slots={"contact": "mom"}) for i in range(3)]
    for user in ("ann", "bob")
}

Writer = Callable[..., str]


@pytest.fixture(scope="module")
def write_small(bundle_dir: Path, encoder: Encoder) -> Writer:
    """Writes a small bundle: `write_small(place, before_swap=...)`."""
    meaning = CachedEncoder(encoder, Encoder.DIMENSION, CACHE_BYTES)
    knowledge = learn_knowledge(PEOPLE, meaning, 2)
    model = RankerModel.open(bundle_dir / "ranker.txt")
    triage = Triage.open(bundle_dir / "triage.txt", 1 / 3)

    def write(place: Path, **more: Any) -> str:
        given = {
            "knowledge": knowledge,
            "people": PEOPLE,
            "model": model,
            "policy": POLICY,
            "triage": triage,
            "encoder": encoder,
            "built_from": {"turns": 6},
            "settings": {},
            "report": {"rewrites": 0},
        }
        return write_bundle(place, **(given | more))

    return write


def opened(place: Path, encoder: Encoder) -> Bundle:
    return open_bundle(place, encoder, CACHE_BYTES)


def test_what_is_written_can_be_read(tmp_path: Path, write_small: Writer, encoder: Encoder) -> None:
    place = tmp_path / "new" / "bundle"
    made = write_small(place)
    read = opened(place, encoder)
    assert read.version == made and read.policy == POLICY and read.triage.threshold == 1 / 3
    assert read.people.user("ann").turns == PEOPLE["ann"]
    (found,) = read.knowledge.shared.find(["call mom"])
    assert found is not None and found.people == 2
    assert sorted(p.name for p in place.parent.iterdir()) == ["bundle"]


def test_a_new_bundle_takes_the_place_of_the_old_one(copied: Path, write_small: Writer, encoder: Encoder) -> None:
    made = write_small(copied)
    assert opened(copied, encoder).version == made
    assert set(contents(copied)) == {MANIFEST, *read_manifest(copied)["files"]}, "nothing of the old one is left"
    assert sorted(p.name for p in copied.parent.iterdir()) == ["bundle"]


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path, write_small: Writer) -> None:
    folder, file = tmp_path / "thesis", tmp_path / "letter"
    folder.mkdir()
    (folder / "chapter-1.txt").write_text("It was a dark and stormy night.")
    file.write_text("Dear Sir")
    for place in (folder, file):
        with pytest.raises(BundleError, match="is no bundle; name another --out"):
            write_small(place)
    assert (folder / "chapter-1.txt").read_text().startswith("It was") and file.read_text() == "Dear Sir"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter", "thesis"]


def test_an_empty_folder_may_become_a_bundle(tmp_path: Path, write_small: Writer, encoder: Encoder) -> None:
    assert opened(tmp_path, encoder).version if write_small(tmp_path) else None


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError, SystemExit])
def test_a_crash_before_the_swap_leaves_the_old_bundle(
    copied: Path, write_small: Writer, encoder: Encoder, end: type[BaseException]
) -> None:
    before = contents(copied)
    drafts: list[Path] = []

    def crash(draft: Path) -> None:
        drafts.append(draft)
        assert opened(draft, encoder).version, "the new bundle was whole by then"
        raise end

    with pytest.raises(end):
        write_small(copied, before_swap=crash)
    assert contents(copied) == before and opened(copied, encoder)
    assert [p.name for p in copied.parent.iterdir()] == ["bundle"], "no draft is left"
    assert drafts[0].parent == copied.parent, "a draft elsewhere could not be renamed into place"


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_a_crash_in_the_middle_of_the_swap_leaves_the_old_bundle(
    copied: Path, write_small: Writer, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    before = contents(copied)

    def crash(draft: Path, place: Path) -> None:
        raise end

    monkeypatch.setattr(exchange_module, "exchange", crash)
    with pytest.raises(end):
        write_small(copied)
    assert contents(copied) == before
    assert [p.name for p in copied.parent.iterdir()] == ["bundle"]


# What a build puts in.


def test_the_manifest_says_what_the_bundle_was_made_of(bundle_dir: Path, sample_log: Path) -> None:
    manifest = read_manifest(bundle_dir)
    made_from = manifest["built_from"]
    assert made_from["logs"] == [
        {"name": sample_log.name, "sha256": hashlib.sha256(sample_log.read_bytes()).hexdigest()}
    ]
    reading = read_log([sample_log])
    assert (made_from["turns"], made_from["people"]) == (len(reading.turns), len(by_user(reading.turns)))
    assert made_from["from_ms"] < made_from["to_ms"] == reading.turns[-1].request.timestamp_ms
    assert manifest["made_by"]["query-rewrite"] == version("query-rewrite")
    assert manifest["made_by"]["lightgbm"] == version("lightgbm")
    assert manifest["encoder"] == Encoder().fingerprint and manifest["feature_schema"] == feature_schema()
    assert manifest["settings"]["min_people"] >= 2 and 0 < manifest["settings"]["max_needless"] < 1


def test_the_manifest_reports_on_held_out_days_and_keeps_the_promise(bundle_dir: Path) -> None:
    manifest = read_manifest(bundle_dir)
    report, kept = manifest["report"], manifest["settings"]
    assert report["requests"] > report["failed"] > report["wins"] > 0
    assert report["rewrites"] == pytest.approx(sum(report[k] for k in ("wins", "losses", "missed", "needless")), 1e-3)
    assert report["wins_per_harm"] >= kept["wins_per_harm"]
    assert report["needless"] <= kept["max_needless"] * report["requests"]
    assert 0 < report["reduction"] < 1 and 0 < report["goal_among_candidates"] <= 1
    assert sum(block["requests"] for block in report["blocks"]) == report["requests"]
    assert report["blocks"][0]["from_ms"] > manifest["built_from"]["from_ms"]
    assert all(a["from_ms"] < b["from_ms"] for a, b in pairwise(report["blocks"]))


def test_the_same_log_gives_the_same_bundle(tmp_path: Path) -> None:
    """Twice from a smaller log, by processes that hash strings in different orders."""
    log = tmp_path / "log.jsonl"
    write_sample(log, people=16, days=9)
    made = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "rewrite_service.cli", "build", "--quiet"]
        command += ["--log", str(log), "--out", str(out)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        made.append(out)
    one, other = (contents(out) for out in made)
    assert {"ranker.txt", "completions.json", "global/said.values.npy", "global/meaning.faiss"} <= set(one)
    one.pop(MANIFEST), other.pop(MANIFEST)
    assert one == other
    first, second = (read_manifest(out) for out in made)
    for part in ("policy", "report", "settings", "built_from", "files", "encoder", "feature_schema"):
        assert first[part] == second[part], part


# The people archive.


class AnyVectors:
    """Stands for the encoder where vectors do not matter."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.full((len(texts), Encoder.DIMENSION), 0.5, np.float32)


def archive(directory: Path, *users: str) -> PeopleArchive:
    people = {u: [turn(f"{u} says this", i, "X", u) for i in range(2)] for u in users}
    PeopleArchive.write(directory, people, AnyVectors())
    return PeopleArchive(directory)


def test_a_user_is_found_with_their_own_turns_alone(tmp_path: Path) -> None:
    users = ("ann", "ann ", "an", "anna", "ANN", "änn", "ann\x1fbob", "bob")
    found = archive(tmp_path, *users)
    assert len(found) == len(users)
    for user in users:
        read = found.user(user)
        assert [t.request.user_id for t in read.turns] == [user, user]
        assert len(read.texts) == 1
        assert read.vectors.shape == (1, Encoder.DIMENSION) and read.vectors.dtype == np.float32


@pytest.mark.parametrize("user", ["", "a", "annn", "nobody", "bob\x1fann"])
def test_who_is_not_in_the_log_is_nobody(tmp_path: Path, user: str) -> None:
    assert archive(tmp_path, "ann", "bob").user(user) is NOBODY


def test_an_archive_of_nobody_knows_nobody(tmp_path: Path) -> None:
    assert archive(tmp_path).user("ann") is NOBODY


def test_people_whose_keys_collide_never_get_each_others_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_archive, "key_hash", lambda *parts: 42)
    alone = archive(tmp_path / "alone", "ann")
    assert alone.user("ann").turns and alone.user("bob") is NOBODY
    both = archive(tmp_path / "both", "ann", "bob")
    for user in ("ann", "bob", "cat"):
        assert all(t.request.user_id == user for t in both.user(user).turns)
        assert set(both.user(user).texts) <= {f"{user} says this"}


def test_the_bundle_knows_the_people_of_its_log(bundle_dir: Path, sample_log: Path, encoder: Encoder) -> None:
    people = by_user(read_log([sample_log]).turns)
    read = opened(bundle_dir, encoder).people
    assert len(read) == len(people)
    for user in ("ada", "ben", "cleo"):
        assert read.user(user).turns == people[user]
    assert read.user("nobody at all") is NOBODY
