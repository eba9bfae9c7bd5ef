"""Proof that a user is forgotten: a scan of files, byte by byte, for what only that user said.

Stores, logs and bundles write texts as JSON, in quotes, so a text is looked for between two quotes: then "play jazz" is
not found in somebody else's "play jazz music". What is word for word somebody else's as well proves nothing and does
not count. Archives of bundles are compressed, and shared texts stand without quotes; both are read as what they are.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mining.schema import to_record
from retriever.interaction import Interaction
from retriever.packed import PackedStrings
from rewrite_service.bundle import read_manifest
from rewrite_service.people_archive import PeopleArchive
from rewrite_service.store.base import user_key
from rewrite_service.store.codec import decode, decode_preference
from rewrite_service.store.embedded_files import DATA, live_rows
from rewrite_service.store.embedded_layout import OF_A_USER, STAMP

LEAST_BYTES = 6
"""A user's id that is shorter turns up by chance where it does not stand in quotes."""
_BLOCK = 1 << 22
_NO_MORE = "in pages no longer used"


@dataclass(frozen=True, slots=True)
class Trace:
    """Something of the user that is left. `place`: a file, or a bundle. `what`: in words, quoting nothing. `remedy`:
    what removes it."""

    place: Path
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Known:
    """What to look for: the user's id; texts and ids of turns; the turns' times, which stand in the store's keys."""

    user_id: str
    texts: frozenset[str]
    stamps: frozenset[int]

    @classmethod
    def of(cls, user_id: str, lines: Iterable[dict[str, Any]]) -> Known:
        """From all that is held of the user, as `rewrite_service.export` has it."""
        texts: set[str] = set()
        stamps: set[int] = set()
        for line in lines:
            names = ("interaction_id", "query", "rewritten_query", "subject", "value", "text")
            texts |= {line[name] for name in names if line.get(name)} | set(line.get("alternatives", ()))
            if "timestamp_ms" in line:
                stamps.add(line["timestamp_ms"])
        return cls(user_id, frozenset(texts - {user_id, ""}), frozenset(stamps))

    def __or__(self, other: Known) -> Known:
        return Known(self.user_id, self.texts | other.texts, self.stamps | other.stamps)


def archive_of(bundle: Path) -> PeopleArchive:
    """The people's archive of a bundle, without the rest. Raises BundleError."""
    read_manifest(bundle)
    return PeopleArchive(bundle / "people")


def traces(known: Known, state_dir: Path | None, bundles: Sequence[Path], others: Sequence[Path] = ()) -> list[Trace]:
    """What is left of the user in the store's folder, in bundles and the quarantine files beside them, and in `others`
    (files, plain, gzip or Parquet, and work folders of builds). Raises StoreError, BundleError, OSError."""
    found = []
    theirs = known.texts - _of_others(known, state_dir, bundles)
    needles = _Needles(known, theirs)
    if state_dir is not None:
        user = user_key(known.user_id)
        held = sum(name in OF_A_USER and key.startswith(user) for name, key, _ in live_rows(state_dir))
        for path in sorted(p for p in state_dir.rglob("*") if p.is_file()):
            if path.name == DATA and held:
                found.append(Trace(path, f"{held} rows of the user", "query-rewrite forget"))
            elif what := needles.found_in(path):
                place = _NO_MORE if path.name == DATA else ""
                found.append(Trace(path, f"{what} {place}".strip(), "query-rewrite compact, once servers are stopped"))
    for bundle in bundles:
        if turns := archive_of(bundle).user(known.user_id).turns:
            found.append(Trace(bundle, f"{len(turns)} turns of the user in the people's archive", "the next build"))
        if shared := len(theirs & set(PackedStrings.open(bundle / "global", "texts"))):
            found.append(Trace(bundle, f"{shared} texts among those that all share", "the next build"))
        quarantine = bundle.absolute().parent / f"{bundle.absolute().name}.quarantine.jsonl"
        for path in sorted(p for p in [*bundle.rglob("*"), quarantine] if p.is_file() and p.parent.name != "people"):
            if what := needles.found_in(path):
                found.append(Trace(path, what, "the next build, from logs without the user's lines"))
    for other in others:
        inside = sorted(p for p in other.rglob("*") if p.is_file()) if other.is_dir() else [other]
        remedy = "the next build with it as --work" if other.is_dir() else "take the user's lines out of it"
        found += [Trace(path, what, remedy) for path in inside if (what := needles.found_in(path))]
    return found


def _of_others(known: Known, state_dir: Path | None, bundles: Sequence[Path]) -> set[str]:
    """The texts that are somebody else's as well."""
    found: set[str] = set()
    if state_dir is not None:
        user = user_key(known.user_id)
        for name, key, row in live_rows(state_dir):
            if name in ("turns", "preferences") and not key.startswith(user):
                found.update(text for text in _in_row(name, row) if text in known.texts)
    for bundle in bundles:
        for turns in archive_of(bundle).everyone():
            if turns and turns[0].request.user_id != known.user_id:
                found.update(text for text in _texts(turns) if text in known.texts)
    return found


def _in_row(name: str, row: bytes) -> Iterator[str]:
    if name == "preferences":
        yield from map(str, astuple(decode_preference(row)))
        return
    turn = decode(row)
    yield from _texts([turn.interaction])
    yield turn.rewritten_query or ""


def _texts(turns: Sequence[Interaction]) -> Iterator[str]:
    for turn in turns:
        yield from _strings(to_record(turn))


def _strings(value: object) -> Iterator[str]:
    """All strings in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


class _Needles:
    """What is looked for, and how it may be written."""

    def __init__(self, known: Known, theirs: frozenset[str]) -> None:
        """`theirs`: those of the known texts that are nobody else's."""
        self._user = user_key(known.user_id)
        self._keys = {STAMP.pack(stamp) for stamp in known.stamps}
        self._ids = set(_written(known.user_id))
        self._bare_ids = {way for way in self._ids if len(way) >= LEAST_BYTES}
        self._texts = {way for text in theirs for way in _written(text)}
        # A block is cut at quotes, so that a text with a quote in it is looked for as a whole.
        self._whole = {way for way in self._texts if b'"' in way}
        self._overlap = 2 + max(map(len, self._ids | self._texts | {self._user + b" " * STAMP.size}))

    def found_in(self, path: Path) -> str:
        """What of it the file holds, in words, a gzipped one as unpacked; "" where nothing."""
        names: set[bytes] = set()
        texts: set[bytes] = set()
        keys: set[bytes] = set()
        with path.open("rb") as file:
            before = b""
            for block in _blocks(path, file):
                block = before + block
                quoted = set(block.split(b'"')[1:-1])
                names |= (quoted & self._ids) | {way for way in self._bare_ids if way in block}
                texts |= (quoted & self._texts) | {way for way in self._whole if b'"%b"' % way in block}
                keys |= self._keys_in(block)
                before = block[-self._overlap :]
        parts = ["the user's id"] * bool(names) + [f"{len(texts)} texts or ids of turns"] * bool(texts)
        return " and ".join(parts + [f"{len(keys)} keys of turns"] * bool(keys))

    def _keys_in(self, block: bytes) -> set[bytes]:
        found = set()
        at = block.find(self._user)
        while at >= 0:
            at += len(self._user)
            found.add(block[at : at + STAMP.size])
            at = block.find(self._user, at)
        return found & self._keys


def _blocks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes; of what is compressed, those that it holds: a gzipped file's, a Parquet file's texts, each in
    quotes."""
    head = file.read(4)
    file.seek(0)
    if head == b"PAR1":
        import pyarrow.parquet  # not needed to serve

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield b"".join(b'"%b"\n' % text.encode() for row in batch.to_pylist() for text in _values(row))
        return
    with gzip.open(file) if head[:2] == b"\x1f\x8b" else file as stream:
        while block := stream.read(_BLOCK):
            yield block


def _values(value: object) -> Iterator[str]:
    """All strings in a row, but for the names of its columns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part)


def _written(text: str) -> set[bytes]:
    """The text as JSON writes it, between the quotes."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    return {plain, json.dumps(text)[1:-1].encode()}
