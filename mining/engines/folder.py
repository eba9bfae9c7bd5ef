"""The work folder: turns by bucket of users, mined rows by stage and bucket, a manifest that says which files count.

The manifest is replaced as a whole, after the files that it names are whole: a process that is killed at any moment
leaves files that no manifest names, which the next one removes, and never half of anything. One process works in a
folder at a time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet

from mining.engines import columns
from mining.reader import LogError

FORMAT = 1
_MANIFEST, _LOCK = "manifest.json", "lock"
TURNS, ROWS, DRAFTS = "turns", "rows", "drafts"
_FOLDERS = (TURNS, ROWS, DRAFTS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one stage has to do for one bucket. Paths lie in the folder. `inputs`: of turns, or of rows of the stage
    before. `since`: only users with a line of this sequence or a later one are mined; 0: all. `kept`: rows as they were
    mined before, of which those of other users stay."""

    bucket: int
    inputs: tuple[str, ...]
    since: int = 0
    kept: tuple[str, ...] = ()


class WorkFolder:
    """An opened work folder, locked until it is closed. Raises LogError where another process works in it, or where it
    is none of this version."""

    def __init__(self, path: Path, buckets: int) -> None:
        """`buckets`: how many there shall be where the folder is new; one that exists keeps its own."""
        self.path = path.absolute()
        if self.path.exists() and not self.path.is_dir():
            raise LogError(f"{path}: is a file; name a folder for --work")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / _LOCK).is_file():
            raise LogError(f"{path}: exists and is no work folder; name another --work, or remove it yourself")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LogError(f"{path}: another process works in this folder; wait for it, or name another") from None
        try:
            self._read(buckets)
        except BaseException:
            os.close(self._lock)
            raise

    def _read(self, buckets: int) -> None:
        try:
            raw = orjson.loads((self.path / _MANIFEST).read_bytes())
        except FileNotFoundError:
            raw = {"format": FORMAT, "buckets": buckets, "imports": [], "turns": {}, "stages": {}, "knowledge": {}}
        except orjson.JSONDecodeError as error:
            raise LogError(f"{self.path / _MANIFEST}: cannot be read: {error}; remove the folder") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise LogError(f"{self.path}: a work folder of another version; remove it, or name another")
        self._manifest: dict[str, Any] = raw
        for folder in _FOLDERS:
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(self.path / DRAFTS)
        (self.path / DRAFTS).mkdir(mode=0o700)
        self.sweep()

    @property
    def buckets(self) -> int:
        return int(self._manifest["buckets"])

    @property
    def imports(self) -> list[dict[str, Any]]:
        """What was read: of each file `number`, `name`, `path`, `bytes`, `modified_ns`, `sha256`, `lines`, `turns`,
        `malformed`."""
        held: list[dict[str, Any]] = self._manifest["imports"]
        return held

    @property
    def knowledge(self) -> dict[str, Any]:
        """What stages were given, as JSON, by the name of the stage."""
        held: dict[str, Any] = self._manifest["knowledge"]
        return held

    def close(self) -> None:
        os.close(self._lock)

    def remove(self) -> None:
        """The folder and all that is in it; not to be used any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def new_file(self, folder: str, stem: str) -> str:
        """A name, in the folder, that no file has."""
        return f"{folder}/{stem}-{uuid.uuid4().hex[:12]}.parquet"

    def paths(self, names: Iterable[str]) -> list[str]:
        return [str(self.path / name) for name in names]

    # ---- turns

    def next_import(self) -> int:
        """The number of the next import, from 1."""
        return int(self._manifest.get("last_import", 0)) + 1

    def add_import(self, read: Mapping[str, Any], parts: Mapping[int, str]) -> None:
        """Takes up a file that was read, durably. `parts`: the file of its turns in each bucket."""
        self.imports.append(dict(read))
        self._manifest["last_import"] = max(self._manifest.get("last_import", 0), read["number"])
        for bucket, name in parts.items():
            self._manifest["turns"].setdefault(str(bucket), []).append(name)
        self.save()

    def turns(self, bucket: int | None = None) -> list[str]:
        """The files of turns, of one bucket or of all."""
        held = self._manifest["turns"]
        return [name for b in (held if bucket is None else [str(bucket)]) for name in held.get(b, ())]

    def filled(self) -> list[int]:
        """The buckets that hold turns, in order."""
        return sorted(int(bucket) for bucket, names in self._manifest["turns"].items() if names)

    def replace_turns(self, bucket: int, names: Sequence[str]) -> None:
        """Puts other files in the place of a bucket's; not durable before `save`."""
        self._manifest["turns"][str(bucket)] = list(names)

    # ---- stages

    def rows(self, stage: str, bucket: int | None = None) -> list[str]:
        """The files of a stage's rows, of one bucket or of all."""
        held = self._manifest["stages"].get(stage, {})
        return [name for b in (held if bucket is None else [str(bucket)]) for name in held.get(b, {}).get("files", ())]

    def plans(self, stage: str, fingerprint: str, after: str | None = None) -> list[Plan]:
        """What is left to do for a stage. `fingerprint`: of its code and knowledge: rows made by another are made
        anew. `after`: the stage whose rows it reads; None for turns."""
        held, last = self._manifest["stages"].get(stage, {}), self._manifest.get("last_import", 0)
        plans = []
        for bucket in self.filled():
            inputs = tuple(self.turns(bucket) if after is None else self.rows(after, bucket))
            done = held.get(str(bucket))
            if done is None or done["fingerprint"] != fingerprint or (after and done["inputs"] != list(inputs)):
                plans.append(Plan(bucket, inputs))
            elif done["through"] < last and after is None:
                since = columns.sequence(done["through"] + 1, 0)
                plans.append(Plan(bucket, inputs, since, tuple(done["files"])))
        return plans

    def add_rows(self, stage: str, fingerprint: str, plan: Plan, names: Sequence[str], save: bool = True) -> None:
        """Takes up what a stage has mined by `plan`."""
        self._manifest["stages"].setdefault(stage, {})[str(plan.bucket)] = {
            "files": list(names),
            "fingerprint": fingerprint,
            "through": self._manifest.get("last_import", 0),
            "inputs": list(plan.inputs),
        }
        if save:
            self.save()

    def replace_rows(self, stage: str, bucket: int, names: Sequence[str] | None) -> None:
        """Puts other files in the place of a stage's for one bucket; None: it has to be mined anew. Not durable before
        `save`."""
        held = self._manifest["stages"].get(stage, {})
        if names is None:
            held.pop(str(bucket), None)
        elif str(bucket) in held:
            held[str(bucket)]["files"] = list(names)

    @property
    def stages(self) -> list[str]:
        return list(self._manifest["stages"])

    # ---- durability

    def save(self) -> None:
        """Replaces the manifest. What it names no longer goes with `sweep`."""
        draft = self.path / f".{_MANIFEST}.draft"
        with draft.open("wb") as out:
            out.write(orjson.dumps(self._manifest, option=orjson.OPT_INDENT_2))
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, self.path / _MANIFEST)
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sweep(self) -> None:
        """Removes what the manifest does not name."""
        named = {*self.turns(), *(name for stage in self.stages for name in self.rows(stage))}
        for folder in (TURNS, ROWS):
            for path in (self.path / folder).rglob("*"):
                if path.is_file() and path.relative_to(self.path).as_posix() not in named:
                    path.unlink()
            for path in (self.path / folder).iterdir():
                if path.is_dir() and not any(p.is_file() for p in path.rglob("*")):
                    shutil.rmtree(path, ignore_errors=True)


def write_parquet(path: Path, schema: pyarrow.Schema, batches: Iterable[pyarrow.RecordBatch]) -> int:
    """Writes the batches, durably, to a file that appears under its name once it is whole. Returns the rows."""
    draft = path.with_name(f".{path.name}.draft")
    rows = 0
    try:
        with pyarrow.parquet.ParquetWriter(draft, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
        fd = os.open(draft, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return rows
