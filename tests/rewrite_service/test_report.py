"""`evaluate --report`: one page, whole in itself, with figures that a slow twin confirms, and nobody's markup in it."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite_service.decision import Contribution, Decision, Layer, Reason, ScoredCandidate
from rewrite_service.evaluation import Case, Evaluation, accepted, intervals, like_other_failures, policy_for, summary
from rewrite_service.report.charts import calibration_bins, curve
from rewrite_service.report.page import NAME, render, write_report

EVIL = '<script src="https://evil.example/x.js"></script>'
MANIFEST = {
    "version": "20260101T000000-abc",
    "policy": {"threshold": 0.7, "least_win": 0.1, "margin": -1.0},
    "settings": {"max_needless": 0.03},
    "report": {"reduction": 0.4, "wins_per_harm": 15.0},
}
WIN, LOSS, MISSED, NEEDLESS = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))


def case(shares: tuple, probability: float = 0.9, user: str = "ann", rewritten: bool = True, **more) -> Case:
    decision = Decision(
        "play go" if rewritten else None,
        Reason.CONFIDENT if rewritten else Reason.BELOW_THRESHOLD,
        probability=probability,
        win=more.pop("win", 0.5),
        layer=Layer.PERSONAL,
    )
    explained = ()
    if rewritten and (shares[1] or shares[2]):
        added = (Contribution("heard_cost", float("nan"), 1.5), Contribution("likeness", 0.25, -0.5))
        explained = (ScoredCandidate("play go", Layer.PERSONAL, ("personal",), 0.5, added),)
    given = {"kind": "Song", "known": True, "query": "play ago", "wanted": "play go"} | more
    failed = bool(shares[0] or shares[2])
    return Case(user, 1_767_614_400_000, failed=failed, best="play go", decision=decision, shares=shares,
                explained=explained, **given)  # fmt: skip


def test_a_wish_that_nobody_knows_is_met_as_often_as_those_of_other_failures() -> None:
    """At 0.7, where half of all that mattered won: since the other half had served, and was broken."""
    unknown = case((0.7, 0, 0.3, 0), 0.7, known=False)
    nothing_found = replace(unknown, best="", shares=(0.0, 0.0, 0.0, 0.0))
    known = [case(WIN, 0.7)] * 57 + [case(MISSED, 0.7)] * 3 + [case(LOSS, 0.7)] * 60
    found = like_other_failures([*known, unknown, nothing_found])
    assert found[:-2] == known and found[-1] == nothing_found
    assert found[-2].shares == pytest.approx((0.95, 0, 0.05, 0), abs=0.01)
    few = like_other_failures([*known[-100:], unknown])[-1]
    assert few.shares == pytest.approx(unknown.shares), "too few to say so"
    assert like_other_failures([]) == []


CASES = st.lists(
    st.builds(
        case,
        st.sampled_from([WIN, LOSS, MISSED, NEEDLESS]),
        st.integers(0, 8).map(lambda n: n / 8),
        st.sampled_from(["ann", "bob"]),
        st.booleans(),
        win=st.integers(0, 8).map(lambda n: n / 8),
    ),
    max_size=40,
)


class Page(HTMLParser):
    """Tags and the addresses in their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]


def page_of(cases: Sequence[Case]) -> str:
    return render(Evaluation(cases, MANIFEST), ["log.jsonl"])


def test_the_page_is_whole_in_itself() -> None:
    page = Page(page_of([case(WIN), case(LOSS), case(NEEDLESS, rewritten=False)]))
    assert page.tags.count("svg") == 3
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert all(a.startswith("#") for a in page.addresses), "nothing is loaded from elsewhere"


def test_what_users_said_is_text_and_never_markup() -> None:
    text = page_of([case(LOSS, query=EVIL, wanted=EVIL, kind=EVIL)])
    assert "<script" not in text and "&lt;script" in text
    assert "\udc80" not in page_of([case(LOSS, query="\udc80 play")]).encode("utf-8", "replace").decode()


def test_harms_are_shown_with_what_spoke_for_them() -> None:
    text = page_of([case(LOSS, 0.8, query="play the worst"), case(WIN, query="play the best")])
    assert "play the worst" in text and "play the best" not in text
    assert re.search(r"heard_cost<td>unknown<td>\+1\.50", text)


def test_without_cases_there_is_still_a_page() -> None:
    text = page_of([])
    assert "no cases" in text and "None." in text


def test_written_in_one_step_for_its_owner_only(tmp_path: Path) -> None:
    written = write_report(Evaluation([case(WIN)], MANIFEST), tmp_path / "deep" / "report", ["log.jsonl"])
    assert written == tmp_path / "deep" / "report" / NAME
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert [p.name for p in written.parent.iterdir()] == [NAME]


@settings(max_examples=60)
@given(CASES)
def test_every_point_of_a_curve_is_what_its_threshold_gives(cases: list[Case]) -> None:
    values = curve(cases, 0.25)
    for i, threshold in enumerate(values["threshold"]):
        taken = [c.decision.probability >= threshold and c.decision.win >= 0.25 for c in cases]
        total = summary(cases, taken)
        reduction = total["reduction"] if total["failed"] else -total["losses"]
        assert values["reduction"][i] == pytest.approx(reduction, abs=1e-3)
        assert values["wins_per_harm"][i] == pytest.approx(total["wins_per_harm"], abs=1e-3)


@settings(max_examples=60)
@given(CASES, st.sampled_from([1.0, 2.0, 5.0]))
def test_the_advised_bounds_keep_what_was_wished(cases: list[Case], wished: float) -> None:
    taken = accepted(cases, policy_for(cases, wished, 0.03))
    total = summary(cases, taken)
    if any(taken):
        assert total["wins"] >= wished * max(1.0, total["losses"] + total["missed"])
        assert total["needless"] <= 0.03 * len(cases)


def test_intervals_hold_the_figure_and_narrow_with_people() -> None:
    def cases(people: int) -> list[Case]:
        return [case(WIN if i % 3 else MISSED, user=f"u{i % people}") for i in range(people * 6)]

    for people in (5, 80):
        low, high = intervals(cases(people))["reduction"]
        assert low <= summary(cases(people))["reduction"] <= high
    assert intervals([]) == {"reduction": (0.0, 0.0), "wins_per_harm": (0.0, 0.0)}


def test_calibration_bins_count_known_wishes_that_mattered() -> None:
    rows = [case(WIN, 0.95), case(MISSED, 0.95), case(NEEDLESS, 0.95), case(WIN, 0.15), case(WIN, 0.95, known=False)]
    assert calibration_bins(rows) == [
        (pytest.approx(0.15), pytest.approx(1.0), 1),
        (pytest.approx(0.95), pytest.approx(0.5), 2),
    ]
