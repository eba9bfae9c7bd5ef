"""From an interaction log to a bundle: read, mine, learn, write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mining.reader import LogError, read_log
from mining.sessions import by_user
from retriever.encoder import Encoder
from retriever.global_layer import MIN_PEOPLE
from retriever.vector_cache import CachedEncoder
from rewrite_service.bundle import check_place, write_bundle
from rewrite_service.errors import BundleError
from rewrite_service.examples import block_starts, examples, learn_knowledge
from rewrite_service.forgetting import drop_kept_of_forgotten, without_forgotten
from rewrite_service.learning import HELD_OUT_BLOCKS, Learned, learn
from rewrite_service.progress import Progress

_VECTOR_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """`wins_per_harm`: wins to a loss or miss that the threshold must keep on held-out days. `max_needless`: share of
    requests that may be rewritten needlessly, 0 to 1. `min_people`: a text becomes a candidate for others when at
    least this many said it with success. `blocks`: spans of days for learning out of time, the last four held out.
    `max_malformed_share`: of the log's lines, 0 to 1. `encoder`: directory of an encoder that `train-encoder` made,
    which goes into the bundle; None: the one of this package. `threads`: models trained at the same time."""

    wins_per_harm: float = 20.0
    max_needless: float = 0.03
    min_people: int = MIN_PEOPLE
    blocks: int = 8
    max_malformed_share: float = 0.05
    encoder: Path | None = None
    threads: int = 2


@dataclass(frozen=True, slots=True)
class BuildResult:
    """`version`: of the bundle. `malformed`: lines set aside in `quarantine`. `forgotten`: turns left out, of users who
    were forgotten. `dropped`: versions
    of kept bundles that were removed, as they held such users."""

    version: str
    learned: Learned
    turns: int
    malformed: int
    quarantine: Path
    forgotten: int = 0
    dropped: Sequence[str] = ()


def build(
    logs: list[Path],
    out: Path,
    settings: BuildSettings,
    progress: Progress,
    keep: int = 0,
    tombstones: Mapping[bytes, int] | None = None,
) -> BuildResult:
    """Builds the bundle `out` from the logs. `keep`: how many of the bundles that stood there are kept beside it.
    `tombstones`: of users who were forgotten (`Store.tombstones`), whose turns are left out. Raises LogError,
    BundleError; replaces nothing before all is made."""
    out = out.absolute()
    check_place(out)
    encoder = _encoder(settings.encoder)
    quarantine = out.parent / f"{out.name}.quarantine.jsonl"
    quarantine.unlink(missing_ok=True)
    with progress.task("reading the log") as step:
        reading = read_log(logs, quarantine, settings.max_malformed_share, step)
    turns = without_forgotten(reading.turns, tombstones or {})
    people = by_user(turns)
    if len(turns) < settings.blocks * 4:
        raise LogError(f"the log holds {len(turns)} turns; too few to learn from")
    meaning = CachedEncoder(encoder, Encoder.DIMENSION, _VECTOR_CACHE_BYTES)
    after = block_starts(people, settings.blocks)[0]
    replayed = sum(t.request.timestamp_ms >= after for t in turns)
    with progress.task("replaying requests", replayed) as step:
        made = list(examples(people, meaning, blocks=settings.blocks, min_people=settings.min_people, progress=step))
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
        knowledge = learn_knowledge(people, meaning, settings.min_people)
        version = write_bundle(
            out,
            knowledge=knowledge,
            people=people,
            model=learned.model,
            policy=learned.policy,
            triage=learned.triage,
            encoder=encoder,
            built_from={
                "logs": [{"name": p.name, "sha256": _sha256(p)} for p in logs],
                "lines": reading.lines,
                "turns": len(turns),
                "forgotten": len(reading.turns) - len(turns),
                "people": len(people),
                "duplicates": reading.duplicates,
                "malformed": len(reading.malformed),
                "from_ms": turns[0].request.timestamp_ms,
                "to_ms": turns[-1].request.timestamp_ms,
            },
            settings={**asdict(settings), "encoder": settings.encoder and settings.encoder.name},
            report=learned.report,
            keep=keep,
        )
    dropped = drop_kept_of_forgotten(out, tombstones or {})
    forgotten = len(reading.turns) - len(turns)
    return BuildResult(version, learned, len(turns), len(reading.malformed), quarantine, forgotten, dropped)


def _encoder(directory: Path | None) -> Encoder:
    try:
        return Encoder(directory)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise BundleError(f"--encoder {directory}: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
