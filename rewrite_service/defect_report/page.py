"""The report as a page: one file, whole in itself. Nothing is loaded, nothing runs, and all that comes from a log is
text: it may be anybody's."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mining.labels.report_figures import Figures, summed
from mining.labels.report_rows import FAILURES
from mining.labels.turn_label import FailurePoint
from mining.tables import MOST_PER_PERSON
from retriever.interaction import Interpretation
from rewrite_service.defect_report import charts
from rewrite_service.defect_report.findings import Report, findings, rest_of, trend
from rewrite_service.logs import printable

LONGEST = 120
"""Characters of a text that are shown."""
MOST_PARTS = 30
"""Intents, device types, locales that are shown."""
NAMES = {
    FailurePoint.FALSE_WAKE: "False wakes",
    FailurePoint.ASR: "Recogniser",
    FailurePoint.NLU: "Understanding",
    FailurePoint.ENTITY_RESOLUTION: "Entity resolution",
    FailurePoint.RESULT: "Result",
}
WHAT_FAILED = {
    FailurePoint.FALSE_WAKE: "Nobody spoke to the assistant, and it answered.",
    FailurePoint.ASR: "Other words were heard than were said, and that changed the answer.",
    FailurePoint.NLU: "The words were right; the intent, or that there is one, was not seen.",
    FailurePoint.ENTITY_RESOLUTION: "The intent was right; a name in it came to mean something else.",
    FailurePoint.RESULT: "It was understood as it was meant, and what was done was still not what was asked for.",
}
WHAT_TO_DO = {
    FailurePoint.FALSE_WAKE: "Use these as negatives for the wake word, and for telling whether it is addressed.",
    FailurePoint.ASR: "Give what was meant to the language model or as hints, and test on what was heard.",
    FailurePoint.NLU: "Add these as training sentences of the intent that was meant.",
    FailurePoint.ENTITY_RESOLUTION: "Look up these names in the catalogue: what is missing, or ranked too low?",
    FailurePoint.RESULT: "Ask whoever answers these requests why the answer did not do.",
}


def shown(text: str, longest: int = LONGEST) -> str:
    """`text` so that it can be read: nothing in it that turns around, hides or moves what stands beside it, and cut."""
    return printable(text if len(text) <= longest else text[: longest - 1].rstrip() + "…")


def number(amount: float) -> str:
    """An expected number, in full where it is large."""
    return f"{amount:,.0f}" if amount >= 9.95 or amount == int(amount) else f"{amount:.1f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"


def reading(interpretation: Interpretation) -> str:
    """An interpretation in a line."""
    slots = ", ".join(f"{shown(name)}: {shown(value)}" for name, value in interpretation.slots)
    return f"{shown(interpretation.intent)} ({slots})" if slots else shown(interpretation.intent)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("rewrite_service.defect_report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "number": number, "percent": percent, "reading": reading}
    return made


def render(report: Report) -> str:
    """The page."""
    figures = report.figures
    return _environment().get_template("page.html").render(
        report=report,
        figures=figures,
        whole=figures.whole,
        total=figures.whole.count.defects,
        repaired=report.repaired,
        findings=findings(report),
        trend=trend(figures.days),
        rest=rest_of(report),
        points=[{"point": point, "n": n, "name": NAMES[point]} for n, point in enumerate(FAILURES)],
        names=NAMES,
        what_failed=WHAT_FAILED,
        what_to_do=WHAT_TO_DO,
        splits=_splits(figures),
        charts=charts,
        most_per_person=MOST_PER_PERSON,
        most_parts=MOST_PARTS,
    )


def _splits(figures: Figures) -> list[dict[str, Any]]:
    """The tables of parts. `none`: what stands for a turn of which the log names none."""
    tables = (
        ("intents", "By intent", "Understood as", "not understood", figures.intents),
        ("devices", "By device type", "Device", "not named", figures.devices),
        ("locales", "By locale", "Locale", "not named", figures.locales),
    )
    return [
        {
            "id": name,
            "title": title,
            "column": column,
            "none": none,
            "split": split,
            "rest": summed(part.count for part in split.parts[MOST_PARTS:]),
        }
        for name, title, column, none, split in tables
    ]
