"""From an interaction log to a bundle: read, mine, learn, write."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import faiss

from mining.contextual_rephrases import RephraseModel
from mining.labels.labelling import learn_labeller
from mining.mined import mine_people
from mining.reader import LogError
from retriever.encoder import Encoder
from retriever.global_layer import MIN_PEOPLE
from retriever.vector_cache import CachedEncoder
from rewrite_service.bundle import check_place, write_bundle
from rewrite_service.errors import BundleError
from rewrite_service.examples import Miner, Replay, block_starts, knowledge_of
from rewrite_service.forgetting import drop_kept_of_forgotten
from rewrite_service.learning import HELD_OUT_BLOCKS, Learned, learn
from rewrite_service.log_mining import EngineSettings, MinedLog, mined_log
from rewrite_service.progress import Progress
from rewrite_service.side_by_side import replayed

_VECTOR_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """`wins_per_harm`: wins to a loss or miss that the threshold must keep on held-out days. `max_needless`: share of
    requests that may be rewritten needlessly, 0 to 1. `min_people`: a text becomes a candidate for others when at
    least this many said it with success. `blocks`: spans of days for learning out of time, the last four held out.
    `max_malformed_share`: of the log's lines, 0 to 1. `encoder`: directory of an encoder that `train-encoder` made,
    which goes into the bundle; None: the one of this package. `rephrase_model`: directory of a model that
    `train-rephrase` made; None: rules say what repaired what. `without`: miners that are left out, to see what they
    add. `training_turns`: of whole users that the ranker learns from at most, chosen by a hash of their
    ids; all else is learned from everybody. `threads`: blocks replayed, and models trained, at the same time; the
    bundle does not depend on it."""

    wins_per_harm: float = 20.0
    max_needless: float = 0.03
    min_people: int = MIN_PEOPLE
    blocks: int = 8
    max_malformed_share: float = 0.05
    encoder: Path | None = None
    rephrase_model: Path | None = None
    without: tuple[Miner, ...] = ()
    training_turns: int = 100_000
    threads: int = field(default_factory=lambda: min(8, len(os.sched_getaffinity(0))))


@dataclass(frozen=True, slots=True)
class BuildResult:
    """`version`: of the bundle. `malformed`: lines set aside in `quarantine`. `forgotten`: turns left out, of users who
    were forgotten. `dropped`: versions of kept bundles that were removed, as they held such users. `anew`: whether
    everybody was judged, and not only those whom new turns touched."""

    version: str
    learned: Learned
    turns: int
    malformed: int
    quarantine: Path
    forgotten: int = 0
    dropped: Sequence[str] = ()
    anew: bool = True


def build(
    logs: list[Path],
    out: Path,
    settings: BuildSettings,
    progress: Progress,
    keep: int = 0,
    tombstones: Mapping[bytes, int] | None = None,
    engine: EngineSettings | None = None,
) -> BuildResult:
    """Builds the bundle `out` from the logs, and from those that a kept work folder holds already (`engine.work`).
    `keep`: how many of the bundles that stood there are kept beside it. `tombstones`: of users who were forgotten
    (`Store.tombstones`), whose turns are left out, and leave the work folder. Raises LogError, BundleError; replaces
    nothing before all is made."""
    out = out.absolute()
    check_place(out)
    tombstones, engine = tombstones or {}, engine or EngineSettings(processes=settings.threads)
    faiss.omp_set_num_threads(1)  # its searches here are too small to be shared out
    if settings.rephrase_model is not None and (engine.work is not None or engine.engine != "duckdb"):
        raise BundleError("--rephrase-model marks a log in memory; leave out --work, and --engine but for duckdb")
    models = _Models.open(settings)
    quarantine = out.parent / f"{out.name}.quarantine.jsonl"
    quarantine.unlink(missing_ok=True)
    with mined_log(
        logs, out, engine, settings.min_people, settings.max_malformed_share, tombstones, quarantine, progress
    ) as log:
        version, learned = _learned_and_written(log, out, settings, models, progress, keep)
    mining = log.mining
    dropped = drop_kept_of_forgotten(out, tombstones)
    return BuildResult(
        version, learned, mining.volume.turns, mining.malformed, quarantine, mining.forgotten, dropped, mining.anew
    )


def _learned_and_written(
    log: MinedLog,
    out: Path,
    settings: BuildSettings,
    models: _Models,
    progress: Progress,
    keep: int,
) -> tuple[str, Learned]:
    """Trains the ranker and writes the bundle; its version."""
    mining, volume = log.mining, log.mining.volume
    if volume.turns < settings.blocks * 4:
        raise LogError(f"the log holds {volume.turns} turns; too few to learn from")
    mined, marks = mining.mined, None
    if models.rephrases is not None:
        everyone = log.people.sample(volume.turns)
        with progress.task("marking rephrases", volume.turns) as step:
            marks = models.rephrases.marks(everyone, step)
        mined = mine_people(everyone, settings.min_people, marks)
    people = log.people.sample(settings.training_turns)
    turns = [turn.request.timestamp_ms for theirs in people.values() for turn in theirs]
    if len(turns) < settings.blocks * 4:
        raise LogError(f"training_turns: {settings.training_turns} leave {len(turns)} turns to train on; allow more")
    after = block_starts(people, settings.blocks)[0]
    with progress.task("learning how sure goals are"):
        labeller = learn_labeller(people, mined)
        labels = {user: labeller.labels(theirs) for user, theirs in people.items()}
    with progress.task("replaying requests", sum(stamp >= after for stamp in turns)) as step:
        replay = Replay.of(
            people,
            models.meaning,
            blocks=settings.blocks,
            min_people=settings.min_people,
            without=settings.without,
            marks=marks,
            labels=labels,
        )
        made = replayed(replay, settings.threads, step)
    with progress.task("learning to rank", HELD_OUT_BLOCKS + 1) as step:
        try:
            learned = learn(
                made,
                wins_per_harm=settings.wins_per_harm,
                max_needless=settings.max_needless,
                threads=settings.threads,
                progress=step,
            )
        except ValueError as error:
            raise LogError(str(error)) from error
    with progress.task("writing the bundle"):
        version = write_bundle(
            out,
            knowledge=knowledge_of(mined, models.meaning, settings.min_people, settings.without),
            people=log.people,
            model=learned.model,
            policy=learned.policy,
            triage=learned.triage,
            lookup=learned.lookup,
            encoder=models.encoder,
            built_from={
                "logs": [{"name": i["name"], "sha256": i["sha256"]} for i in mining.imports],
                "lines": mining.lines,
                "turns": volume.turns,
                "forgotten": mining.forgotten,
                "people": volume.people,
                "duplicates": mining.duplicates,
                "malformed": mining.malformed,
                "trained_on": {"turns": len(turns), "people": len(people)},
                "from_ms": volume.from_ms,
                "to_ms": volume.to_ms,
            },
            settings=_said_of(settings),
            report=learned.report,
            keep=keep,
        )
    return version, learned


def _said_of(settings: BuildSettings) -> dict[str, Any]:
    """For the manifest: what the bundle depends on."""
    said = {**asdict(settings)}
    for name in ("encoder", "rephrase_model"):
        said[name] = said[name] and said[name].name
    del said["threads"]
    return said


def _encoder(directory: Path | None) -> Encoder:
    try:
        return Encoder(directory)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise BundleError(f"--encoder {directory}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Models:
    """What a build is given. `meaning`: the encoder, with what it has encoded. `rephrases`: None for the rules."""

    encoder: Encoder
    meaning: CachedEncoder
    rephrases: RephraseModel | None

    @classmethod
    def open(cls, settings: BuildSettings) -> _Models:
        encoder = _encoder(settings.encoder)
        meaning = CachedEncoder(encoder, Encoder.DIMENSION, _VECTOR_CACHE_BYTES)
        return cls(encoder, meaning, _rephrase_model(settings.rephrase_model, meaning, encoder.fingerprint))


def _rephrase_model(directory: Path | None, meaning: CachedEncoder, encoder: str) -> RephraseModel | None:
    if directory is None:
        return None
    try:
        return RephraseModel(directory, meaning.encode, encoder)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise BundleError(f"--rephrase-model {directory}: {error}") from error
