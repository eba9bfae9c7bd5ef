"""The report's charts, as SVG in the page itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rewrite_service.evaluation import Case

# Words stay text, so that they can be searched and read aloud; ids are the same in every run.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "query-rewrite",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
BINS = 10


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.1))
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def curve(cases: Sequence[Case], least_win: float) -> dict[str, np.ndarray]:
    """Over every threshold that makes a difference, from the highest: `threshold`; `reduction`; `wins_per_harm`;
    `precision`, share of rewrites that serve; `coverage`, share of failed requests that a rewrite repairs."""
    kept = sorted(
        (c for c in cases if c.best and c.decision.win >= least_win), key=lambda c: -c.decision.probability
    )
    failed = max(1, sum(c.failed for c in cases))
    shares = np.array([c.shares for c in kept]).reshape(-1, 4).cumsum(axis=0)
    probability = np.array([c.decision.probability for c in kept])
    ends = np.append(np.flatnonzero(np.diff(probability)), len(kept) - 1) if len(kept) else np.zeros(0, int)
    wins, losses, missed, needless = shares[ends].T if len(ends) else np.zeros((4, 0))
    return {
        "threshold": probability[ends],
        "reduction": (wins - losses) / failed,
        "wins_per_harm": wins / np.maximum(1.0, losses + missed),
        "precision": (wins + needless) / np.maximum(1e-9, wins + losses + missed + needless),
        "coverage": wins / failed,
    }


def thresholds(cases: Sequence[Case], least_win: float, chosen: float) -> str:
    """Reduction and wins to a harm over the threshold."""
    values = curve(cases, least_win)
    with rc_context(_STYLE):
        figure, axes = _axes("What a threshold gives", "threshold on the probability", "reduction of failures")
        axes.plot(values["threshold"], values["reduction"], color="tab:blue")
        axes.axvline(chosen, color="gray", linestyle=":", label="chosen")
        other = axes.twinx()
        other.plot(values["threshold"], values["wins_per_harm"], color="tab:orange")
        axes.yaxis.label.set_color("tab:blue")
        other.set_ylabel("wins to a harm", color="tab:orange")
        other.grid(False)
        axes.legend(loc="lower left")
        return _svg(figure)


def trade(cases: Sequence[Case], least_win: float) -> str:
    """Precision over coverage."""
    values = curve(cases, least_win)
    with rc_context(_STYLE):
        figure, axes = _axes("Precision, coverage", "share of failed requests repaired", "share of rewrites that serve")
        axes.plot(values["coverage"], values["precision"], color="tab:green")
        axes.set_ylim(top=1.01)
        return _svg(figure)


def calibration_bins(cases: Sequence[Case]) -> list[tuple[float, float, int]]:
    """(mean probability, share of wins among wins and harms, cases) in bins of equal width, of known wishes only."""
    rows = [(c.decision.probability, c.shares[0]) for c in cases if c.known and c.best and c.shares[3] == 0]
    if not rows:
        return []
    probability, won = np.array(rows).T
    at = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        (float(probability[at == b].mean()), float(won[at == b].mean()), int((at == b).sum()))
        for b in range(BINS)
        if (at == b).any()
    ]


def calibration(cases: Sequence[Case]) -> str:
    """What was said against what came."""
    bins = calibration_bins(cases)
    with rc_context(_STYLE):
        figure, axes = _axes("Calibration", "probability given", "share that won, of those that mattered")
        axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
        if bins:
            said, came, number = zip(*bins, strict=True)
            axes.plot(said, came, marker="o", color="tab:purple")
            for x, y, n in zip(said, came, number, strict=True):
                axes.annotate(str(n), (x, y), textcoords="offset points", xytext=(4, -10), fontsize=7)
        return _svg(figure)
