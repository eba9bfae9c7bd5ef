"""How much load a server bears: rates are raised until the budget breaks, as table, JSON and plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from rewrite_service.loadtest import LoadReport

STEP = 1.5
"""Each rate to the one before, until one is too much."""
BISECTIONS = 2
MOST_STEPS = 16


def sweep(run: Callable[[float], LoadReport], first_rate: float, budget_ms: float) -> list[LoadReport]:
    """Reports by rate, ascending: from `first_rate` (requests a second) up until 99 of 100 answers no longer keep
    within `budget_ms` or the server no longer keeps up, then between the last rate that did and the first that did not.
    `run`: one load test at a rate."""
    reports: list[LoadReport] = []
    rate, kept, broken = first_rate, 0.0, 0.0
    for _ in range(MOST_STEPS):
        reports.append(run(rate))
        if not reports[-1].keeps(budget_ms):
            broken = rate
            break
        kept, rate = rate, rate * STEP
    for _ in range(BISECTIONS if kept and broken else 0):
        rate = (kept + broken) / 2
        reports.append(run(rate))
        if reports[-1].keeps(budget_ms):
            kept = rate
        else:
            broken = rate
    return sorted(reports, key=lambda report: report.rate)


def capacity(reports: Sequence[LoadReport], budget_ms: float) -> float:
    """The greatest rate, of those tried, at which the server kept up; 0 where none is."""
    return max((report.rate for report in reports if report.keeps(budget_ms)), default=0.0)


def as_table(reports: Sequence[LoadReport], budget_ms: float) -> Table:
    """For people, one row a rate."""
    table = Table("a second", "answered", "p50 ms", "p90", "p99", "remembered", f"p99 in {budget_ms:g} ms", box=None)
    for r in reports:
        figures = (r.latency.p50_ms, r.latency.p90_ms, r.latency.p99_ms) if r.latency else ()
        cells = [f"{value:.2f}" for value in figures] or ["-"] * 3
        share = f"{100 * r.remembered / max(1, r.answered):.0f} %"
        table.add_row(f"{r.rate:.0f}", f"{r.achieved_rate:.0f}", *cells, share, "yes" if r.keeps(budget_ms) else "no")
    return table


def plot(reports: Sequence[LoadReport], budget_ms: float, file: Path) -> None:
    """Latency over rate; the kind of file by its ending (svg, png, pdf)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    answered = [r for r in reports if r.latency]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name in ("p50", "p90", "p99"):
        axes.plot([r.rate for r in answered], [getattr(r.latency, f"{name}_ms") for r in answered], "o-", label=name)
    axes.axhline(budget_ms, color="grey", linestyle="--", label=f"budget, {budget_ms:g} ms")
    axes.set(xlabel="requests a second, open loop", ylabel="milliseconds from the appointed start", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file)
    pyplot.close(figure)
