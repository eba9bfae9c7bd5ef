"""From interaction logs to a file of labels: what failed turns should have been, to train a recogniser and language
understanding with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mining.labels.confidence import Threshold, lowest
from mining.labels.label_stage import ASR, LABEL, LABELS, NLU, Wanted, records
from mining.labels.labelling import Labeller, learn_labeller
from retriever.global_layer import MIN_PEOPLE
from rewrite_service.errors import RewriteError
from rewrite_service.export import written
from rewrite_service.log_mining import EngineSettings, asked_log
from rewrite_service.progress import Progress
from rewrite_service.whole_file import written_whole

_BATCH = 1 << 12


class LabelError(RewriteError):
    """There can be no labels as they were asked for."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """`precision`: share of the labels that shall be right, 0.5 to 1, by its lower bound on held-out days.
    `training_turns`: of whole users that is learned from at most, chosen by a hash of their ids. `min_people`: see
    `BuildSettings`. `max_malformed_share`: of the log's lines, 0 to 1. `with_users`: name users in the labels."""

    precision: float = 0.98
    training_turns: int = 200_000
    min_people: int = MIN_PEOPLE
    max_malformed_share: float = 0.05
    with_users: bool = False


@dataclass(frozen=True, slots=True)
class LabelResult:
    """`threshold`: what was chosen, with what it leaves of the held-out days. `labels`: lines written. `of_use`: how
    many are for a recogniser, and for language understanding. `malformed`, `quarantine`, `forgotten`: see
    `BuildResult`."""

    threshold: Threshold
    turns: int
    labels: int
    of_use: Mapping[str, int]
    malformed: int
    quarantine: Path
    forgotten: int


def label(
    logs: list[Path],
    out: Path,
    settings: LabelSettings,
    progress: Progress,
    tombstones: Mapping[bytes, int] | None = None,
    engine: EngineSettings | None = None,
) -> LabelResult:
    """Labels the turns of logs, and of those that a kept work folder holds already, and puts the labels in `out`, in
    order of time. `tombstones`: of users who were forgotten; they are left out.

    Writes nothing before all is made, and `out` whole or not at all. Raises LogError, LabelError.
    """
    out, engine = out.absolute(), engine or EngineSettings()
    if out.is_dir():
        raise LabelError(f"{out}: is a directory; name a file for --out")
    quarantine = out.parent / f"{out.name}.quarantine.jsonl"
    quarantine.unlink(missing_ok=True)
    with asked_log(
        logs, out, engine, settings.min_people, settings.max_malformed_share, tombstones or {}, quarantine, progress
    ) as log:
        with progress.task("learning what a label is worth"):
            people = log.people.sample(settings.training_turns)
            if not people:
                raise LabelError(f"training_turns: no user has as few as {settings.training_turns} turns; allow more")
            labeller = learn_labeller(people, log.mining.mined)
        threshold = _chosen(labeller, settings.precision)
        wanted = Wanted(labeller, threshold.least)
        made = log.miner.further(LABEL, wanted, f"{labeller.fingerprint} {threshold.least}").rows(LABELS)
        of_use = {ASR: 0, NLU: 0}
        with progress.task("writing labels", made.num_rows) as step, written_whole(out) as file:
            for batch in made.to_batches(_BATCH):
                for record in records(batch.to_pylist(), settings.with_users):
                    file.write(written(record))
                    for use in record["use"]:
                        of_use[use] += 1
                step(batch.num_rows)
        mining = log.mining
    return LabelResult(
        threshold, mining.volume.turns, made.num_rows, of_use, mining.malformed, quarantine, mining.forgotten
    )


def _chosen(labeller: Labeller, precision: float) -> Threshold:
    chosen = lowest(labeller.found, precision)
    if chosen is not None:
        return chosen
    best = max(labeller.found, key=lambda t: t.at_least, default=None)
    if best is None:
        raise LabelError("the log's last days hold no failed turn that somebody repaired; give more days")
    raise LabelError(
        f"no threshold shows a precision of {precision:g} on the held-out days, which hold "
        f"{labeller.found[-1].labels} labels; give more days, or --precision {_floor(best.at_least):g}"
    )


def _floor(share: float) -> float:
    return int(share * 1000) / 1000
