"""The report for programs: the same figures as the page has, as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mining.labels.report_figures import Count, Meaning, Split
from mining.labels.report_rows import FAILURES
from retriever.interaction import Interpretation
from rewrite_service.defect_report.findings import Costly, Report, findings, rest_of, trend

FORMAT = 1
LONGEST = 1000
"""Characters of a text that are told."""
_DIGITS = 6


def as_record(report: Report) -> dict[str, Any]:
    """The figures. Amounts are expected numbers of turns, to a millionth."""
    figures, moved, repairs = report.figures, trend(report.figures.days), report.repairs
    others, rest = figures.other_requests, rest_of(report)
    return {
        "format": FORMAT,
        "from": report.days[0].isoformat(),
        "to": report.days[1].isoformat(),
        "logs": list(report.logs),
        "min_people": figures.min_people,
        "bundle": None if repairs is None else repairs.bundle,
        "people": figures.whole.people,
        **_count(figures.whole.count),
        "repaired_by_bundle": None if report.repaired is None else _rounded(report.repaired),
        "turns_asked": None if repairs is None else repairs.asked,
        "asked_later_turns": None if repairs is None else repairs.later,
        "trend": moved
        and {"days": moved.days, "before": _count(moved.before), "after": _count(moved.after), "clear": moved.clear},
        "points": [
            {
                "point": f.point.value,
                "defects": _rounded(f.defects),
                "share": _rounded(f.share),
                "repaired_by_bundle": None if f.repaired is None else _rounded(f.repaired),
                "left": _rounded(f.left),
                "potential": _rounded(f.potential),
                "begin_with": [c.request.text[:LONGEST] for c in f.top],
                "begin_with_wanted": [
                    {
                        "text": wanted.text[:LONGEST],
                        "people": wanted.people,
                        "defects": _rounded(wanted.at(f.point)),
                        "left": _rounded(left),
                    }
                    for wanted, left in f.wanted
                ],
            }
            for f in findings(report)
        ],
        "days": [{"day": d.day.isoformat(), "people": d.people, **_count(d.count)} for d in figures.days],
        "other_days": _count(figures.other_days),
        "intents": _split(figures.intents),
        "devices": _split(figures.devices),
        "locales": _split(figures.locales),
        "requests": [_request(costly) for costly in report.costliest],
        "more_requests": {"number": rest[0], **_count(rest[1])},
        "other_requests": _count(others),
        "repeats": _count(figures.repeats),
    }


def _rounded(amount: float) -> float:
    return round(amount, _DIGITS)


def _by_point(amounts: Sequence[float]) -> dict[str, float]:
    return {point.value: _rounded(amount) for point, amount in zip(FAILURES, amounts, strict=True)}


def _count(count: Count) -> dict[str, Any]:
    return {
        "turns": _rounded(count.turns),
        "defects": _rounded(count.defects),
        "by_point": _by_point(count.by_point),
        "rewritten": _rounded(count.rewritten),
        "rewritten_served": _rounded(count.repaired),
    }


def _split(split: Split) -> dict[str, Any]:
    """A part of no name is one of which the log names none."""
    parts = [{"name": p.name[:LONGEST] or None, "people": p.people, **_count(p.count)} for p in split.parts]
    return {"parts": parts, "others": _count(split.others)}


def _request(costly: Costly) -> dict[str, Any]:
    request, repair = costly.request, costly.repair
    return {
        "text": request.text[:LONGEST],
        "people": request.people,
        "said_by": request.said_by,
        **_count(request.count),
        "meant": [_meaning(meaning) for meaning in request.meanings],
        "bundle": repair
        and {
            "asked": repair.asked,
            "rewritten": repair.rewritten,
            "text": repair.text and repair.text[:LONGEST],
            "repaired_share": repair.share,
        },
        "left": _rounded(costly.left),
    }


def _meaning(meaning: Meaning) -> dict[str, Any]:
    return {
        "text": meaning.text[:LONGEST],
        "people": meaning.people,
        "by_point": _by_point(meaning.by_point),
        "interpretation": _interpretation(meaning.interpretation),
    }


def _interpretation(interpretation: Interpretation | None) -> dict[str, Any] | None:
    if interpretation is None:
        return None
    slots = {name[:LONGEST]: value[:LONGEST] for name, value in interpretation.slots}
    return {"intent": interpretation.intent[:LONGEST], "slots": slots}
