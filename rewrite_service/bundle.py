"""The bundle: everything a server loads, made together, versioned together, swapped together.

A directory with a manifest. It is written beside its place and renamed into it, so that a reader finds a whole bundle
or none; what stood there before is kept beside it or removed only afterwards. Opening checks every file against the
manifest's sha256 and the parts against each other, and refuses what does not fit.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mining.reactions import Reactions
from ranker.calibration import Calibration
from ranker.feature_names import NAMES, QUERY_FEATURES
from ranker.lookup import NEVER, LookupPolicy
from ranker.model import RankerModel
from ranker.model_text import check_model_text
from ranker.policy import Policy
from ranker.triage import Triage
from retriever.completion import Completer, Rule
from retriever.encoder import WEIGHTS, Encoder
from retriever.fragments import Fragments
from retriever.global_layer import GlobalLayer
from retriever.hearing import Hearing
from retriever.interaction import Interaction
from retriever.known_rewrites import KnownRewrites
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge
from rewrite_service.errors import BundleError
from rewrite_service.exchange import put_in_place, sync
from rewrite_service.kept_bundles import put_aside
from rewrite_service.people_archive import PeopleArchive

FORMAT = 6
"""Raised when a change makes older bundles unreadable."""
MANIFEST = "manifest.json"
SOUND_CACHE_BYTES = 32 << 20
ENCODER = "encoder"
"""Folder of the bundle's own encoder, where it has one."""
QUERY_NAMES = tuple(name for name, _ in QUERY_FEATURES)
_HELD = re.compile(r"/proc/self/fd/\d+")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. `version`: of this bundle, unique. `manifest`: as written, the held-out report included."""

    version: str
    knowledge: Knowledge
    people: PeopleArchive
    model: RankerModel
    policy: Policy
    triage: Triage
    lookup: LookupPolicy
    manifest: Mapping[str, Any]

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest["made_at"])


def feature_schema() -> str:
    """Changes whenever the features change in name, number or order."""
    return hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> dict[str, Path]:
    found = {p.relative_to(directory).as_posix(): p for p in sorted(directory.rglob("*")) if p.is_file()}
    found.pop(MANIFEST, None)
    return found


def check_place(place: Path) -> None:
    """Raises BundleError where a bundle cannot be put: something else stands there. Cheap: ask before long work."""
    if place.exists() and any(place.iterdir() if place.is_dir() else [place]) and not (place / MANIFEST).is_file():
        raise BundleError(f"{place}: exists and is no bundle; name another --out, or remove it yourself")


def write_bundle(
    place: Path,
    *,
    knowledge: Knowledge,
    people: Mapping[str, Sequence[Interaction]],
    model: RankerModel,
    policy: Policy,
    triage: Triage,
    lookup: LookupPolicy = NEVER,
    encoder: Encoder,
    built_from: Mapping[str, Any],
    settings: Mapping[str, Any],
    report: Mapping[str, Any],
    keep: int = 0,
    before_swap: Callable[[Path], None] = lambda directory: None,
) -> str:
    """Writes a bundle and puts it in `place`; returns its version. An encoder that is not this package's goes into it.
    `keep`: how many of the bundles that stood there are kept beside it (`kept_bundles`), the newest; 0: none. A crash
    at any moment leaves the old bundle or the new one in place, never a mixture. Raises BundleError where `place` is
    something else than a bundle."""
    place = place.absolute()
    check_place(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.draft-", dir=place.parent))
    try:
        knowledge.shared.save(draft / "global")
        knowledge.known.save(draft / "global")  # it names rows of that layer
        (draft / "completions.json").write_bytes(orjson.dumps([r.to_record() for r in knowledge.completer.rules]))
        knowledge.fragments.save(draft / "fragments")
        np.save(draft / "hearing.npy", knowledge.hearing.costs)
        (draft / "reactions.json").write_bytes(orjson.dumps(asdict(knowledge.reactions)))
        PeopleArchive.write(draft / "people", people, knowledge.meaning)
        model.save(draft / "ranker.txt")
        triage.save(draft / "triage.txt")
        if encoder.directory != WEIGHTS:
            shutil.copytree(encoder.directory, draft / ENCODER)
        files = {name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for name, path in _files(draft).items()}
        made = datetime.now(UTC)
        digest = hashlib.sha256(orjson.dumps(files, option=orjson.OPT_SORT_KEYS)).hexdigest()
        name = f"{made:%Y%m%dT%H%M%S}-{digest[:12]}"
        manifest = {
            "format": FORMAT,
            "version": name,
            "made_at": made.isoformat(timespec="seconds"),
            "made_by": {
                name: version(name) for name in ("query-rewrite", "faiss-cpu", "lightgbm", "onnxruntime", "numpy")
            },
            "encoder": encoder.fingerprint,
            "feature_schema": feature_schema(),
            "settings": settings,
            "built_from": built_from,
            "policy": {
                "threshold": policy.threshold,
                "least_win": policy.least_win,
                "margin": policy.margin,
                "triage": triage.threshold,
                "lookup": None if lookup == NEVER else asdict(lookup),
                "calibration": {
                    "scores": policy.calibration.scores,
                    "probabilities": policy.calibration.probabilities,
                },
            },
            "report": report,
            "files": files,
        }
        (draft / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        for path in [*_files(draft).values(), draft / MANIFEST, draft]:
            sync(path)
        before_swap(draft)
        replaced = version_of(place)
        put_in_place(draft, place, lambda old: put_aside(old, place, replaced, keep))
    except BaseException:  # Ctrl-C as well: no draft is left behind
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return name


def read_manifest(place: Path) -> dict[str, Any]:
    """The manifest of the bundle in `place`. Raises BundleError where there is none, or of a format not known here."""
    try:
        if not (place / MANIFEST).is_file():  # a pipe would be read for ever
            raise FileNotFoundError
        manifest = orjson.loads((place / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{place}: no bundle there (no {MANIFEST}); make one with `query-rewrite build`") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise BundleError(f"{place / MANIFEST}: cannot be read: {error}; build the bundle anew") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(f"{place}: bundle format {found!r}, this version reads {FORMAT}; build it anew")
    return manifest


def version_of(place: Path) -> str | None:
    """The version of the bundle in `place`; None where there is none that can be read."""
    try:
        found = read_manifest(place).get("version")
    except BundleError:
        return None
    return found if isinstance(found, str) else None


def manifest_digest(place: Path) -> str:
    """sha256 (hex) of the manifest, which holds that of every other file: of the bundle as a whole. Raises
    BundleError."""
    try:
        return _sha256(place / MANIFEST)
    except OSError as error:
        raise BundleError(f"{place}: no bundle there ({error.strerror}); make one with `query-rewrite build`") from None


@contextmanager
def _held(place: Path) -> Iterator[Path]:
    """A name for the directory that is at `place` now. It stays good while another takes that place, so that no bundle
    is read half from the old one and half from the new."""
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BundleError(f"{place}: no bundle there ({error.strerror}); make one with `query-rewrite build`") from None
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _check_files(place: Path, manifest: Mapping[str, Any]) -> None:
    expected, present = manifest["files"], _files(place)
    if missing := sorted(set(expected) - set(present)):
        raise BundleError(f"{place}: {missing[0]} is missing ({len(missing)} in all); not whole; build it anew")

    def altered(name: str) -> bool:
        wanted = expected[name]
        return bool(present[name].stat().st_size != wanted["bytes"]) or _sha256(present[name]) != wanted["sha256"]

    # The greatest first, so that none is left to a single core in the end.
    names = sorted(expected, key=lambda name: -expected[name]["bytes"])
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0))), thread_name_prefix="sha256") as pool:
        for name, is_altered in zip(names, pool.map(altered, names), strict=True):
            if is_altered:
                pool.shutdown(wait=False, cancel_futures=True)
                raise BundleError(f"{place}: {name} is not the file that the manifest describes; build the bundle anew")


def encoder_of(place: Path, threads: int = 1) -> Encoder:
    """The encoder that the bundle in `place` brings along, or else this package's. Raises BundleError."""
    own = place / ENCODER
    if not own.is_dir():
        return Encoder(threads=threads)
    try:
        return Encoder(own, threads)
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise BundleError(f"{own}: cannot be read: {error}; build the bundle anew") from error


def check_whole(place: Path) -> str:
    """The version of the bundle in `place`, all of whose files are what its manifest says; nothing is loaded. Raises
    BundleError."""
    try:
        with _held(place) as held:
            manifest = read_manifest(held)
            _check_files(held, manifest)
            return str(manifest["version"])
    except (BundleError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise _refusal(place, error) from error


def open_bundle(
    place: Path, encoder: Encoder, text_vector_cache_bytes: int, meaning: CachedEncoder | None = None
) -> Bundle:
    """Opens the bundle in `place`; `encoder` is its `encoder_of`. `meaning`: a cache before that very encoder that is
    to be gone on with, in place of an empty one. Raises BundleError naming the part that is missing, altered or does
    not fit."""
    try:
        if meaning is None:
            meaning = CachedEncoder(encoder, Encoder.DIMENSION, text_vector_cache_bytes)
        with _held(place) as held:
            return _open(held, encoder, meaning)
    except BundleError as error:
        raise _refusal(place, error) from error
    except Exception as error:  # what stands in a file decides what is raised: nothing of it may end a server
        raise _refusal(place, error) from error


def _refusal(place: Path, error: Exception) -> BundleError:
    """`error` in one line that names `place`."""
    message = _HELD.sub(str(place), str(error)).replace("\n", " ")
    if isinstance(error, BundleError):
        return BundleError(message)
    return BundleError(f"{place}: a part cannot be read: {type(error).__name__}: {message}; build the bundle anew")


def _open(place: Path, encoder: Encoder, meaning: CachedEncoder) -> Bundle:
    manifest = read_manifest(place)
    _check_files(place, manifest)
    if manifest["encoder"] != encoder.fingerprint:
        raise BundleError(
            f"{place}: its vectors were made by encoder {manifest['encoder']}, this version has "
            f"{encoder.fingerprint}; build the bundle anew"
        )
    if manifest["feature_schema"] != feature_schema():
        raise BundleError(f"{place}: its ranker was trained on other features; build the bundle anew")
    for name, features in (("ranker.txt", NAMES), ("triage.txt", QUERY_NAMES)):
        check_model_text((place / name).read_bytes(), features)
    rules = orjson.loads((place / "completions.json").read_bytes())
    shared = GlobalLayer.open(place / "global")
    knowledge = Knowledge.of(
        shared,
        KnownRewrites.open(place / "global", shared),
        Completer(Rule.from_record(r) for r in rules),
        Fragments.open(place / "fragments"),
        Reactions.of_record(orjson.loads((place / "reactions.json").read_bytes())),
        Hearing(np.load(place / "hearing.npy", allow_pickle=False)),
        meaning,
        SOUND_CACHE_BYTES,
    )
    datetime.fromisoformat(manifest["made_at"])  # which metrics ask for later
    chosen = manifest["policy"]
    of = chosen["calibration"]
    calibration = Calibration(tuple(map(float, of["scores"])), tuple(map(float, of["probabilities"])))
    threshold, least_win, margin = (float(chosen[name]) for name in ("threshold", "least_win", "margin"))
    return Bundle(
        version=str(manifest["version"]),
        knowledge=knowledge,
        people=PeopleArchive(place / "people"),
        model=RankerModel.open(place / "ranker.txt"),
        triage=Triage.open(place / "triage.txt", float(chosen["triage"])),
        policy=Policy(threshold, least_win, margin, calibration),
        lookup=_lookup_policy(chosen["lookup"]),
        manifest=manifest,
    )


def _lookup_policy(record: Mapping[str, Any] | None) -> LookupPolicy:
    if record is None:
        return NEVER
    return LookupPolicy(*(float(record[name]) for name in ("threshold", "wins_per_harm", "probability")))
