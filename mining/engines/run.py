"""Mines a log of any size in a work folder: takes up what is new, mines whom it touches, sums.

What is mined of one person hangs on that person's turns and on two things that everybody's came to: the strengths of
reactions, and what the pursuit of a wish looks like. The counts that these are fitted to are rows of the first two
stages, kept like all others, so that fitting them anew costs nothing. People are judged anew, though, only where they
have new turns, as long as the strengths that they were judged by are near those of now (`Settings.max_drift`); where
these have moved on, everybody is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mining.completions import measured
from mining.engines import columns, rows, statements, sums
from mining.engines.base import Engine
from mining.engines.drift import drift_of_pursuit, drift_of_reactions
from mining.engines.folder import DRAFTS, ROWS, TURNS, WorkFolder, write_parquet
from mining.engines.importing import Imported, Job, sha256_of
from mining.engines.stages import ASSESS, EXAMPLES, PURSUE, REACT, STAGES, TRY, Stage, code_fingerprint
from mining.engines.sums import Volume
from mining.frames import frames_of
from mining.mined import Mined
from mining.mishearings import MAX_PAIRS, hearing_of
from mining.pursuit import Pursuit
from mining.reactions import Reactions
from mining.reader import LogError
from retriever.completion import Completer


class Progress(Protocol):
    """Shows how far long work is."""

    def task(self, name: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """`min_people`: who must share a frame or a rule. `max_malformed_share`: of the lines read, 0 to 1. `max_drift`:
    mean change of a turn's probability of having failed up to which people stay judged as they were, 0 to 1; with 0
    everybody is judged by the strengths of now, exactly as if all had been mined at once."""

    min_people: int
    max_malformed_share: float = 0.05
    max_drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Mining:
    """What a run came to. `lines`, `malformed`: of all files taken up so far. `duplicates`: lines that another one of
    the same id replaced. `forgotten`: turns removed, of users who were forgotten. `mined_people`: whose turns were
    judged in this run. `anew`: whether everybody was, because the strengths have moved or never were."""

    mined: Mined
    volume: Volume
    imports: Sequence[Mapping[str, Any]]
    lines: int
    malformed: int
    duplicates: int
    forgotten: int
    anew: bool


@dataclass(frozen=True, slots=True)
class MadeRows:
    """What a stage has made of everybody. Good as long as engine and folder are open."""

    _engine: Engine
    _paths: Sequence[str]
    _names: Sequence[str]

    def rows(self, name: str) -> pa.Table:
        """Everybody's rows of one table, columns as in `mining.engines.rows.SCHEMA`, by `latest` and `key`, so that
        one person's do not stand together."""
        if not self._paths:
            return rows.SCHEMA.empty_table()
        return self._engine.query(statements.rows_in_time(name), {"mined": self._paths})

    def sums(self, names: Sequence[str] | None = None, **more: int) -> dict[str, pa.Table]:
        """Everybody's rows of each table, or of some, summed by key, columns as in `mining.engines.rows.SUMMED`.
        `more`: see `statements.sums`."""
        names = self._names if names is None else names
        if not self._paths:
            return {name: rows.SUMMED.empty_table() for name in names}
        found = self._engine.query(statements.sums(names, **more), {"mined": self._paths})
        return sums.by_name(found, names)


Forgotten = Callable[[str], int]
"""From a user's id to the moment (ms) up to which that user was forgotten; 0: not at all."""


class Miner:
    """Mines in one folder with one engine."""

    def __init__(self, engine: Engine, folder: WorkFolder, settings: Settings, progress: Progress) -> None:
        self._engine, self._folder, self._settings, self._progress = engine, folder, settings, progress
        self.forgotten = 0

    # ---- taking up

    def take_up(self, logs: Sequence[Path], quarantine: Path | None = None) -> None:
        """Reads the files that were not read before, by their content. Writes malformed lines to `quarantine`. Raises
        LogError where too much is malformed, before anything is taken up."""
        folder = self._folder
        new = [path for path in logs if not self._known(path)]
        if not new:
            return
        first = folder.next_import()
        jobs = []
        for number, path in enumerate(new, first):
            names = [folder.new_file(TURNS, f"{bucket:04}-{number:06}") for bucket in range(folder.buckets)]
            bad = str(folder.path / DRAFTS / f"malformed-{number:06}.jsonl")
            jobs.append(Job(str(path), number, tuple(folder.paths(names)), bad))
        with self._progress.task("reading the log") as step:
            read = sorted(self._engine.read(jobs, step), key=lambda done: done.number)
        self._check_malformed(jobs, read, quarantine)
        for job, done in zip(jobs, read, strict=True):
            place = folder.path
            parts = {
                bucket: str(Path(path).relative_to(place))
                for bucket, (path, turns) in enumerate(zip(job.parts, done.turns, strict=True))
                if turns
            }
            stat = Path(job.path).stat()
            folder.add_import(
                {
                    "number": done.number,
                    "name": Path(job.path).name,
                    "path": str(Path(job.path).absolute()),
                    "bytes": stat.st_size,
                    "modified_ns": stat.st_mtime_ns,
                    "sha256": done.sha256,
                    "lines": done.lines,
                    "turns": sum(done.turns),
                    "malformed": done.malformed,
                },
                parts,
            )

    def _known(self, path: Path) -> bool:
        """Whether the file was taken up: as it is told by place, size and time, or by its content."""
        if not path.is_file():
            raise LogError(f"{path}: no such file; name a JSON lines (plain or gzip) or Parquet file")
        stat = path.stat()
        same = (str(path.absolute()), stat.st_size, stat.st_mtime_ns)
        imports = self._folder.imports
        if any((i["path"], i["bytes"], i["modified_ns"]) == same for i in imports):
            return True
        return any(i["bytes"] == stat.st_size for i in imports) and sha256_of(path) in {i["sha256"] for i in imports}

    def _check_malformed(self, jobs: Sequence[Job], read: Sequence[Imported], quarantine: Path | None) -> None:
        lines, bad = sum(done.lines for done in read), sum(done.malformed for done in read)
        if quarantine is not None and bad:
            quarantine.parent.mkdir(parents=True, exist_ok=True)
            with quarantine.open("wb") as out:
                for job, done in zip(jobs, read, strict=True):
                    out.write(Path(job.quarantine).read_bytes() if done.malformed else b"")
        for job in jobs:
            Path(job.quarantine).unlink(missing_ok=True)
        share = self._settings.max_malformed_share
        if lines and bad / lines > share:
            first = next(done.first for done in read if done.first)
            self._folder.sweep()
            raise LogError(
                f"{bad} of {lines} lines are malformed, over the limit of {share:.0%}; "
                f"the first: {first.file} line {first.line}: {first.reason}"
                + (f"; all of them: {quarantine}" if quarantine else "")
            )

    # ---- forgetting

    def forget(self, forgotten: Forgotten) -> None:
        """Removes the turns and rows of users who were forgotten, the bytes of the files included."""
        folder = self._folder
        if not folder.turns():
            return
        users = self._engine.query(statements.USERS, {"turns": folder.paths(folder.turns())})
        gone: dict[int, dict[str, int]] = {}
        of_each = [users.column(name).to_pylist() for name in ("bucket", "user_id", "first_ms")]
        for bucket, user, first_ms in zip(*of_each, strict=True):
            if (up_to := forgotten(user)) >= first_ms:
                gone.setdefault(bucket, {})[user] = up_to
        for bucket, theirs in gone.items():
            self._forget_in(bucket, theirs)
        if gone:
            folder.save()
            folder.sweep()

    def _forget_in(self, bucket: int, gone: Mapping[str, int]) -> None:
        folder, names, rest = self._folder, [], 0
        users = pa.array(list(gone), pa.string())
        for path in folder.paths(folder.turns(bucket)):
            table = pyarrow.parquet.read_table(path, partitioning=None)
            theirs = [gone.get(user, -1) for user in table.column("user_id").to_pylist()]
            up_to = pa.array(theirs, pa.int64())
            kept = table.filter(pc.greater(table.column("timestamp_ms"), up_to))
            self.forgotten += len(table) - len(kept)
            rest += pc.sum(pc.is_in(kept.column("user_id"), users)).as_py() or 0
            if len(kept):
                names.append(folder.new_file(TURNS, f"{bucket:04}"))
                write_parquet(folder.path / names[-1], columns.SCHEMA, kept.to_batches())
        folder.replace_turns(bucket, names)
        for stage in folder.stages:
            if rest or not names:  # who goes on talking after being forgotten is judged by what is left
                folder.replace_rows(stage, bucket, None)
                continue
            files = []
            for path in folder.paths(folder.rows(stage, bucket)):
                table = pyarrow.parquet.read_table(path, partitioning=None)
                kept = table.filter(pc.invert(pc.is_in(table.column("user_id"), users)))
                if len(kept):
                    files.append(folder.new_file(ROWS, f"{stage}-{bucket:04}"))
                    write_parquet(folder.path / files[-1], kept.schema, kept.to_batches())
            folder.replace_rows(stage, bucket, files)

    # ---- mining

    def mine(self) -> Mining:
        """Runs all stages over whom they have not seen. Raises LogError where there are no turns."""
        if not self._folder.turns():
            raise LogError("the log holds 0 turns; too few to learn from")
        self._stage(REACT, None, "")
        reacted = self._sums(REACT)
        seen = sums.signals(reacted)
        fitted = Reactions.fit_counts(seen)
        reactions = self._near(PURSUE, fitted, lambda old: drift_of_reactions(seen, old, fitted))
        self._stage(PURSUE, reactions, _fingerprint(asdict(reactions)))
        steps = sums.steps(self._sums(PURSUE))
        whole = replace(reactions, pursuit=Pursuit.fit_counts(steps["unrelated"], steps["after_failure"]))
        judged = self._near(
            ASSESS,
            whole,
            lambda old: (
                drift_of_reactions(seen, old, whole)
                + drift_of_pursuit(steps["after_failure"], old.pursuit, whole.pursuit)
            ),
        )
        anew = self._stage(ASSESS, judged, _fingerprint(asdict(judged)))
        return self._summed(judged, reacted, anew)

    def _near(self, stage: Stage, now: Reactions, drift: Callable[[Reactions], float]) -> Reactions:
        """The strengths that a stage was given before, where those of now are near them; else those of now."""
        known = self._folder.knowledge.get(stage.name)
        if known is not None:
            old = Reactions.of_record(known)
            if old == now or (self._settings.max_drift and drift(old) <= self._settings.max_drift):
                return old
        self._folder.knowledge[stage.name] = asdict(now)
        return now

    def _stage(self, stage: Stage, knowledge: Any, fingerprint: str) -> bool:
        """Runs a stage where it is not done. Tells whether it went over all people."""
        folder, fingerprint = self._folder, f"{code_fingerprint()} {fingerprint}"
        plans = folder.plans(stage.name, fingerprint, stage.after)
        if not plans:
            return False
        with self._progress.task(f"mining: {stage.name}", len(plans)) as step:
            for done in self._engine.mine(stage, knowledge, plans, folder):
                folder.add_rows(stage.name, fingerprint, done.plan, done.files)
                step(1)
        folder.sweep()
        return all(plan.since == 0 for plan in plans)

    def _sums(self, stage: Stage, names: Sequence[str] | None = None, **more: int) -> dict[str, pa.Table]:
        """Everybody's rows of some tables of a stage, by name. `more`: see `statements.sums`."""
        paths = self._folder.paths(self._folder.rows(stage.name))
        return MadeRows(self._engine, paths, stage.names if names is None else names).sums(None, **more)

    def _summed(self, reactions: Reactions, seen: Mapping[str, pa.Table], anew: bool) -> Mining:
        folder, settings = self._folder, self._settings
        with self._progress.task("summing up"):
            found = self._sums(ASSESS, [name for name in ASSESS.names if name not in _NOT_SUMMED_WHOLE])
            found |= self._sums(ASSESS, ("rules",), least_people=settings.min_people)
            found |= self._sums(ASSESS, ("mishearings", "doubts"), most_rows=MAX_PAIRS)
        draft = sums.draft(found)
        self._stage(TRY, draft, _fingerprint([rule.to_record() for rule in draft]))
        with self._progress.task("making tables"):
            paths = folder.paths(folder.rows(ASSESS.name))
            counted = sums.counter_of_people(lambda statement, at: self._engine.query(statement, {"mined": paths}, at))
            frames, fragments = frames_of(sums.served_pairs(found), counted, settings.min_people)
            mined = Mined(
                reactions=reactions,
                tables=sums.tables(found),
                chains=sums.chains(found),
                frames=frames,
                fragments=fragments,
                completer=Completer(measured(draft, sums.tried(self._sums(TRY), draft))),
                hearing=hearing_of(sums.mishearings(found)),
            )
        volume = sums.volume(seen)
        lines, bad = (sum(i[name] for i in folder.imports) for name in ("lines", "malformed"))
        duplicates = self._rows_held() - volume.turns
        return Mining(mined, volume, folder.imports, lines, bad, duplicates, self.forgotten, anew)

    def _rows_held(self) -> int:
        folder = self._folder
        return sum(pyarrow.parquet.read_metadata(path).num_rows for path in folder.paths(folder.turns()))

    # ---- what else is asked of each person

    def further(self, stage: Stage, knowledge: Any, fingerprint: str) -> MadeRows:
        """Runs one more stage, a person at a time as those of mining. `stage`: of a name that none of `STAGES` has.
        `knowledge`: all that it needs of others; it goes to processes and machines by pickle. `fingerprint`: of the
        knowledge; rows that were made with another are made anew, those of people who have not changed are kept."""
        if stage.name in STAGES:
            raise ValueError(f"{stage.name}: a stage of mining has this name")
        self._stage(stage, knowledge, fingerprint)
        return MadeRows(self._engine, self._folder.paths(self._folder.rows(stage.name)), stage.names)

    def summed(self) -> dict[str, pa.Table]:
        """Everybody's rows of every table, by its name: to compare."""
        return {name: table for stage in STAGES.values() for name, table in self._sums(stage).items()}


_NOT_SUMMED_WHOLE = frozenset(("rules", "mishearings", "doubts", EXAMPLES))


def _fingerprint(knowledge: Any) -> str:
    return hashlib.sha256(orjson.dumps(knowledge)).hexdigest()[:16]

