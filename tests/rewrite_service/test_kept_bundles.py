"""Bundles kept to go back to: the newest stay, names are versions and no paths, and a start falls back on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rewrite_service.bundle import MANIFEST, read_manifest
from rewrite_service.errors import BundleError
from rewrite_service.exchange import put_in_place
from rewrite_service.kept_bundles import kept_bundle, kept_folder, kept_versions, put_aside
from rewrite_service.settings import Settings
from rewrite_service.swap.order import give_order, new_order, read_order, wanted
from rewrite_service.swap.swapper import Swapper

VERSIONS = [f"2026010{day}T000000-00000000000{day}" for day in range(1, 6)]


def replace(place: Path, number: int, keep: int) -> None:
    """Puts bundle `number` where the one before it stands."""
    draft = place.with_name("draft")
    draft.mkdir()
    (draft / "name").write_text(VERSIONS[number])
    put_in_place(draft, place, lambda old: put_aside(old, place, VERSIONS[number - 1], keep))


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, VERSIONS[3:4]), (2, VERSIONS[2:4]), (9, VERSIONS[:4])])
def test_the_newest_stay(tmp_path: Path, keep: int, left: list[str]) -> None:
    place = tmp_path / "bundle"
    for number in range(5):
        replace(place, number, keep)
    assert (place / "name").read_text() == VERSIONS[4]
    assert kept_versions(place) == left
    assert all((kept_folder(place) / version / "name").read_text() == version for version in left)
    assert not (tmp_path / "draft").exists()


def test_keeping_none_drops_those_kept_before(tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    for number, keep in enumerate((9, 9, 9, 0)):
        replace(place, number, keep)
    assert kept_versions(place) == []


@pytest.mark.parametrize("version", [None, "", "..", "../bundle", "20260101T000000-00000000000g"])
def test_what_has_no_version_is_not_kept(tmp_path: Path, version: str | None) -> None:
    place, old = tmp_path / "bundle", tmp_path / "old"
    old.mkdir()
    put_aside(old, place, version, 3)
    assert not old.exists() and kept_versions(place) == []
    assert version is None or kept_bundle(place, version) is None


def test_an_order_holds_while_that_bundle_stands_there(bundle_dir: Path, tmp_path: Path) -> None:
    place, version = tmp_path / "bundle", read_manifest(bundle_dir)["version"]
    assert wanted(place, "b", None) == place
    give_order(tmp_path, new_order(bundle_dir, version, "b"))
    order = read_order(tmp_path)
    assert wanted(place, "b", order) == bundle_dir
    assert wanted(place, "c", order) == place, "another took its place since"
    give_order(tmp_path, new_order(bundle_dir, "another version", "b"))
    assert wanted(place, "b", read_order(tmp_path)) == place, "the bundle ordered is not there any more"


def test_a_start_beside_a_bundle_that_cannot_be_used(bundle_dir: Path, tmp_path: Path) -> None:
    place, settings = tmp_path / "bundle", Settings(state_dir=tmp_path / "state")
    place.mkdir()
    (place / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match=MANIFEST):
        Swapper(place, settings).open()
    version = read_manifest(bundle_dir)["version"]
    shutil.copytree(bundle_dir, kept_folder(place) / version)
    pipeline = Swapper(place, settings).open()
    assert pipeline.bundle_version == version
    pipeline.close()
