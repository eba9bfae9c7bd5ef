"""The report on failures as a page and for programs: whole in itself, without anybody's markup or own words."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.labels.report_figures import Count, Meaning, Part, Split
from mining.labels.report_rows import FAILURES
from mining.labels.turn_label import FailurePoint
from retriever.interaction import Context, Interpretation
from rewrite_service.defect_report.files import PAGE, RECORD, check_place, write_report
from rewrite_service.defect_report.findings import Report, findings, trend
from rewrite_service.defect_report.machine import as_record
from rewrite_service.defect_report.page import NAMES, number, render, shown
from rewrite_service.defect_report.repairs import Repair, Repairs
from rewrite_service.errors import NotDone
from tests.mining.labels.report_logs import People, failing, figures, label, logs, names_by_people
from tests.turns import DAY_S, turn

DAYS = (date(2026, 1, 6), date(2026, 1, 9))
HOSTILE = [
    "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", "\"'><svg onload=alert(1)>", "{{ 7*7 }}",
    "\u202egnp.exe", "a\x00\x1b[31mred", "\u200bzero", "--><!-- ]]>", "&lt;b&gt;", "javascript:alert(1)",
    "שלום עולם", "م" * 5000, "x" * 5000, "z̀̀̀̀", "&#x3C;script&#x3E;",
]  # fmt: skip


class Page(HTMLParser):
    """Tags, the attributes of all, the texts between them, and those of them that stand in no <bdi>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.unguarded: list[str] = []
        self._guards = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._guards += tag == "bdi"
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if not self._guards:
            self.unguarded.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._guards -= tag == "bdi"


def report_of(people: People, min_people: int = 2, repairs: Repairs | None = None) -> Report:
    return Report(figures(people, min_people), ("log.jsonl",), DAYS, repairs)


def some_people() -> dict:
    return {user: failing(user, "play ago", "play go", times) for user, times in (("ann", 3), ("bob", 2), ("cleo", 1))}


def hostile_report() -> Report:
    """Names as no log should have them, wherever a name goes."""
    found = figures(some_people())
    count = found.whole.count
    parts = Split(tuple(Part(name, 3, count) for name in HOSTILE), Count())
    meanings = [Meaning(name, Interpretation(name, ((name, name),)), 2, count.by_point) for name in HOSTILE]
    requests = tuple(
        replace(found.requests[0], text=name, meanings=(meaning,))
        for name, meaning in zip(HOSTILE, meanings, strict=True)
    )
    wanted = tuple(replace(found.wanted[0], text=name) for name in HOSTILE)
    made = replace(found, intents=parts, devices=parts, locales=parts, requests=requests, wanted=wanted)
    repairs = Repairs("<b>1", {name: Repair(2, 2, name, 0.5) for name in HOSTILE}, (0.5,) * 5, 30, {}, False)
    return Report(made, tuple(HOSTILE), DAYS, repairs)


# ---- hostile texts


def test_the_page_is_whole_in_itself_and_holds_no_markup_of_others() -> None:
    plain, hostile = Page(render(report_of(some_people()))), Page(render(hostile_report()))
    for page in (plain, hostile):
        assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "style")]
        assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "xlink:href"))
    policy = next(value for name, value in plain.attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert set(hostile.tags) <= set(Page(render(report_of(some_people(), repairs=repairs_with(0.5)))).tags) | {"i"}


def test_what_turns_hides_or_moves_text_is_written_out_and_long_texts_are_cut() -> None:
    page = render(hostile_report())
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\x1b]", page)
    assert "\\u202egnp.exe" in page and "{{ 7*7 }}" in unescape(page)
    assert "x" * 119 + "…" in page and "x" * 120 not in page and "م" * 120 not in page
    assert shown("a" * 120) == "a" * 120


def test_names_that_are_read_from_right_to_left_stay_where_they_are() -> None:
    page = Page(render(hostile_report()))
    assert "שלום עולם" in page.texts and "{{ 7*7 }}" in page.texts
    assert not [text for text in page.unguarded if "שלום" in text or "م" in text or "7*7" in text]


@settings(max_examples=30)
@given(st.text(max_size=300))
def test_any_name_is_text_in_the_page_and_itself_for_programs(name: str) -> None:
    report = report_of(some_people())
    named = replace(report.figures, devices=Split((Part(name, 3, report.figures.whole.count),), Count()))
    page = Page(render(replace(report, figures=named)))
    assert not {"script", "img"} & set(page.tags)
    assert shown(name).strip() in "".join(page.texts) or not name.strip()
    record = orjson.loads(orjson.dumps(as_record(replace(report, figures=named))))
    assert record["devices"]["parts"][0]["name"] == (name or None)


# ---- privacy


@settings(max_examples=25)
@given(logs(), st.integers(2, 4))
def test_nothing_that_few_people_said_is_on_the_page_or_beside_it(people: People, min_people: int) -> None:
    report = report_of(people, min_people)
    page, record = Page(render(report)), orjson.dumps(as_record(report)).decode()
    texts = "\n".join(page.texts) + "\n".join(value for _, value in page.attributes)
    assert "ofuser" not in texts and "ofuser" not in record
    for name, whose in names_by_people(people).items():
        if len(whose) < min_people:
            assert not re.search(rf"\b{re.escape(name)}\b", texts), (name, whose)
            assert f'"{name}"' not in record


# ---- figures


def repairs_with(share: float) -> Repairs:
    by_point = tuple(share if point is FailurePoint.ASR else None for point in FAILURES)
    return Repairs("v1", {"play ago": Repair(3, 3, "play go", share)}, by_point, 30, {"play go": share}, True)


def test_what_is_repaired_and_what_is_left_add_up() -> None:
    report = report_of(some_people(), repairs=repairs_with(0.75))
    (found,) = findings(report)
    assert (found.point, found.defects, found.repaired, found.left) == (FailurePoint.ASR, 6, 4.5, 1.5)
    assert found.potential == pytest.approx(1.5) and found.wanted[0][0].text == "play go"
    record = as_record(report)
    assert record["defects"] == 6 and record["repaired_by_bundle"] == 4.5 and record["points"][0]["left"] == 1.5
    assert record["requests"][0]["bundle"]["text"] == "play go" and record["requests"][0]["left"] == 1.5
    text = " ".join(" ".join(Page(render(report)).texts).split())
    assert "rewriting repairs 4.5 of them, 1.5 are left" in text.replace(" ,", ",")


def test_a_component_that_rewriting_does_not_help_comes_first() -> None:
    people = some_people()
    for user in ("dan", "eve"):
        people[user] = failing(user, "turn it up", "play louder", 2, FailurePoint.RESULT)
    without = findings(report_of(people))
    assert [found.point for found in without] == [FailurePoint.ASR, FailurePoint.RESULT]
    with_bundle = findings(report_of(people, repairs=repairs_with(0.75)))
    assert [found.point for found in with_bundle] == [FailurePoint.RESULT, FailurePoint.ASR]
    assert with_bundle[0].repaired is None and with_bundle[0].left == 4


def test_the_trend_is_of_the_later_half_of_the_days() -> None:
    def over(rates: Sequence[float]) -> People:
        return {
            user: (
                [turn("hi", DAY_S * n + t, "greet", user=user) for n in range(len(rates)) for t in range(100)],
                [label(FailurePoint.NLU, probability=rate) for rate in rates for _ in range(100)],
            )
            for user in ("ann", "bob")
        }

    worse = trend(figures(over([0.0, 0.25, 0.5, 0.5, 0.75])).days)
    assert worse is not None and (worse.days, worse.before.rate, worse.after.rate) == (2, 0.125, 0.625)
    assert worse.clear and worse.change == 0.5
    same = trend(figures(over([0.25, 0.25])).days)
    assert same is not None and not same.clear
    assert trend(figures(over([0.5])).days) is None and trend(()) is None


def test_numbers_are_written_as_they_are_read() -> None:
    assert [number(x) for x in (0, 0.04, 3, 3.14, 9.96, 12.5, 12345.6)] == [
        "0", "0.0", "3", "3.1", "10", "12", "12,346"
    ]  # fmt: skip


# ---- pages of little


@pytest.mark.parametrize(
    "people",
    [
        {},
        {"ann": failing("ann", "play ago", "play go")},
        {user: ([turn("hi", 0, "greet", user=user)], [label()]) for user in ("ann", "bob")},
        {user: ([turn("", 0, user=user, context=Context())], [label(FailurePoint.FALSE_WAKE)]) for user in ("a", "b")},
    ],
    ids=["nobody", "one user", "no defects", "empty texts"],
)
def test_there_is_always_a_page(people: People) -> None:
    for repairs in (None, Repairs("v1", {}, (None,) * 5, 0, {}, False)):
        report = report_of(people, repairs=repairs)
        page = render(report)
        assert "ago" not in page and all(name in page for name in NAMES.values())
        assert orjson.dumps(as_record(report))


# ---- files


def test_written_whole_for_its_owner_only(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".report.draft-killed").mkdir()
    page = write_report(report_of({}), out)
    again = write_report(report_of(some_people()), out)
    assert page == again == out / PAGE and "play ago" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in out.iterdir()) == sorted([PAGE, RECORD])
    assert [path.name for path in out.parent.iterdir()] == ["report"], "no draft is left"
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}


def test_nothing_but_a_report_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(NotDone, match=r"precious\.txt, which is of no report; name another --out"):
        check_place(tmp_path)
    with pytest.raises(NotDone, match="is no folder; name another --out"):
        check_place(tmp_path / "precious.txt")
    with pytest.raises(NotDone):
        write_report(report_of({}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report"
    write_report(report_of(some_people()), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rewrite_service.exchange.put_in_place", full)
    with pytest.raises(OSError, match="No space"):
        write_report(report_of({}), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
