"""Puts the report together and writes it: one file, nothing loaded from elsewhere.

It holds texts of users (the worst harms), so it is as private as the log it was made from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ranker.feature_names import CANDIDATE_FEATURES, QUERY_FEATURES
from rewrite_service.decision import ScoredCandidate
from rewrite_service.evaluation import Case, Evaluation, accepted, intervals, policy_for, summary
from rewrite_service.report import charts
from rewrite_service.whole_file import written_whole

NAME = "index.html"
WISHES = (5, 8, 10, 12, 15, 20, 30)
WORST = 15
_FEATURES_SHOWN = 8
_MEANING = dict(QUERY_FEATURES + CANDIDATE_FEATURES)


def _groups(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Figures of each kind of wish, most failed first."""
    by_kind: dict[str, list[Case]] = defaultdict(list)
    for c in cases:
        by_kind[c.kind or "(not known)"].append(c)
    rows = [{"name": kind, **summary(theirs)} for kind, theirs in by_kind.items()]
    return sorted(rows, key=lambda r: (-r["failed"], r["name"]))


def _wishes(cases: Sequence[Case], max_needless: float) -> list[dict[str, Any]]:
    """For each wished ratio, the bounds to choose and what they give on these cases."""
    rows = []
    for ratio in WISHES:
        policy = policy_for(cases, ratio, max_needless)
        taken = accepted(cases, policy)
        rows.append(
            {
                "wished": ratio,
                "reached": any(taken),
                "threshold": policy.threshold,
                "least_win": policy.least_win,
                **summary(cases, taken),
                "interval": intervals(cases, taken),
            }
        )
    return rows


def _worst(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The surest rewrites that did harm: losses first, each with what spoke for it most."""
    harms = [c for c in cases if c.explained]
    harms.sort(key=lambda c: (-c.shares[1], -c.decision.probability))
    return [
        {
            "what": "loss" if c.shares[1] else "missed",
            "case": c,
            "features": _features(next((e for e in c.explained if e.layer is not None), None)),
        }
        for c in harms[:WORST]
    ]


def _features(candidate: ScoredCandidate | None) -> list[dict[str, Any]]:
    if candidate is None:
        return []
    strongest = sorted(candidate.contributions, key=lambda c: -abs(c.contribution))[:_FEATURES_SHOWN]
    return [
        {
            "name": c.name,
            "meaning": _MEANING[c.name],
            "value": "unknown" if math.isnan(c.value) else f"{c.value:.3g}",
            "added": c.contribution,
        }
        for c in strongest
    ]


def render(evaluation: Evaluation, logs: Sequence[str]) -> str:
    """The page. Texts are escaped: they come from anybody."""
    cases, manifest = evaluation.cases, evaluation.manifest
    policy = manifest["policy"]
    environment = Environment(
        loader=PackageLoader("rewrite_service.report", "."), autoescape=True, undefined=StrictUndefined
    )

    def day(ms: int) -> str:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"

    return environment.get_template("page.html").render(
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        logs=logs,
        bundle=manifest["version"],
        span=f"{day(cases[0].timestamp_ms)} to {day(cases[-1].timestamp_ms)}" if cases else "no cases",
        policy=policy,
        total=summary(cases),
        interval=intervals(cases),
        unknown=sum(not c.known for c in cases),
        held_out=manifest["report"],
        wishes=_wishes(cases, manifest["settings"].get("max_needless", 0.03)),
        kinds=_groups(cases),
        layers=[
            {"name": name, **summary(cases, [c.decision.is_rewrite and c.decision.layer == name for c in cases])}
            for name in ("personal", "global")
        ],
        worst=_worst(cases),
        charts=[
            charts.thresholds(cases, policy["least_win"], policy["threshold"]),
            charts.trade(cases, policy["least_win"]),
            charts.calibration(cases),
        ],
    )


def write_report(evaluation: Evaluation, directory: Path, logs: Sequence[str]) -> Path:
    """Writes `directory`/index.html, readable by its owner only, in one step; returns its path. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / NAME
    with written_whole(page) as file:
        file.write(render(evaluation, logs).encode("utf-8", "replace"))
    return page
