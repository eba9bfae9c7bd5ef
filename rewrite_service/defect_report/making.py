"""Makes the report from logs: mines them, labels every turn, sums by person, asks a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from mining.engines.people import PeopleOfLog
from mining.labels.labelling import learn_labeller
from mining.labels.report_figures import Figures
from mining.labels.report_rows import REPORT, Labeller
from mining.labels.report_sums import figures_of
from mining.reader import LogError
from retriever.global_layer import MIN_PEOPLE
from rewrite_service.bundle import check_whole
from rewrite_service.defect_report.files import check_place, write_report
from rewrite_service.defect_report.findings import Report
from rewrite_service.defect_report.repairs import Repairs, failed_turns, repairs_of
from rewrite_service.log_mining import EngineSettings, asked_log
from rewrite_service.progress import Progress

ASKED_OF = 30_000
"""Turns of whole users, at most, of which some that failed are asked of the bundle."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`min_people`: who must share a thing for it to be named, at least 2. `max_malformed_share`: 0 to 1.
    `training_turns`: turns of whole users that the labels are learned from at most."""

    min_people: int = MIN_PEOPLE
    max_malformed_share: float = 0.05
    training_turns: int = 100_000


@dataclass(frozen=True, slots=True)
class Made:
    """`page`: its path. `malformed`: lines set aside in `quarantine`. `forgotten`: turns left out, of users who were
    forgotten."""

    report: Report
    page: Path
    malformed: int
    quarantine: Path
    forgotten: int


def make_report(
    logs: Sequence[Path],
    out: Path,
    settings: ReportSettings,
    engine: EngineSettings,
    bundle: Path | None,
    tombstones: Mapping[bytes, int],
    progress: Progress,
) -> Made:
    """Writes the report on the logs, and on those that a kept work folder holds already, to the folder `out`. `bundle`:
    that is asked. `tombstones`: of users who were forgotten, who are left out. Raises LogError, BundleError, NotDone,
    OSError; replaces nothing before all is made."""
    out = out.absolute()
    check_place(out)
    if bundle is not None:
        check_whole(bundle)  # now, and not once all else is done
    quarantine = out.parent / f"{out.name}.quarantine.jsonl"
    quarantine.unlink(missing_ok=True)
    with asked_log(
        logs, out, engine, MIN_PEOPLE, settings.max_malformed_share, tombstones, quarantine, progress
    ) as log:
        mining = log.mining
        people = log.people.sample(settings.training_turns)
        if not people:
            raise LogError(f"no user has as few as {settings.training_turns} turns; too few people to learn from")
        with progress.task("learning labels"):
            labeller = learn_labeller(people, mining.mined)
        made = log.miner.further(REPORT, labeller, labeller.fingerprint)
        with progress.task("summing up"):
            figures = figures_of(lambda names, least: made.sums(names, least_people=least), settings.min_people)
        repairs = None if bundle is None else _repairs(bundle, log.people, labeller, figures, settings, progress)
    days = _day(mining.volume.from_ms), _day(mining.volume.to_ms)
    report = Report(figures, tuple(str(read["name"]) for read in mining.imports), days, repairs)
    return Made(report, write_report(report, out), mining.malformed, quarantine, mining.forgotten)


def _repairs(
    bundle: Path,
    people: PeopleOfLog,
    labeller: Labeller,
    figures: Figures,
    settings: ReportSettings,
    progress: Progress,
) -> Repairs:
    some = people.sample(ASKED_OF)
    with progress.task("looking for failed turns", sum(map(len, some.values()))) as step:
        failed = list(failed_turns(some.values(), labeller, step))
    with progress.task("asking the bundle") as step:
        requests = [request.text for request in figures.requests]
        return repairs_of(bundle, failed, requests, figures.said, settings.min_people, step)


def _day(stamp_ms: int) -> date:
    return datetime.fromtimestamp(stamp_ms / 1000, UTC).date()
