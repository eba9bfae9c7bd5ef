"""`query-rewrite report` as somebody uses it: on a log, with a bundle, looked at in a real browser."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from browser import browser
from stopped import stopped

from mining.reader import LogError
from retriever.normalise import normalise
from rewrite_service.defect_report.files import PAGE, RECORD
from rewrite_service.defect_report.making import ReportSettings, make_report
from rewrite_service.errors import BundleError
from rewrite_service.log_mining import EngineSettings
from rewrite_service.progress import Progress
from rewrite_service.sample.generate import generate
from rewrite_service.store.base import user_key
from tests.mining.engine_runs import write_log

COMMAND = [sys.executable, "-m", "rewrite_service.cli", "report", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a log of some people, some of whom are misheard in the same way."""
    folder = tmp_path_factory.mktemp("report-command")
    log = list(generate(people=16, days=8))
    users = sorted({record["user_id"] for record in log})
    for n, user in enumerate(users[:5] * 2):
        at_ms = max(record["timestamp_ms"] for record in log if record["user_id"] == user) + 3_600_000
        reading = {"intent": "home.switch", "slots": {"device": "light", "room": "office", "action": "on"}}
        common = {"user_id": user, "channel": "voice", "asr_confidence": 0.6, "context": {"device_type": "speaker"}}
        misheard = {"query": "turn on the off us light", "interpretation": None, "outcome": "no_match"}
        repair = {"query": "turn on the office light", "interpretation": reading, "outcome": "ok"}
        log.append(common | misheard | {"interaction_id": f"a{n}", "timestamp_ms": at_ms})
        log.append(common | repair | {"interaction_id": f"b{n}", "timestamp_ms": at_ms + 8000})
    write_log(folder / "log.jsonl.gz", log)
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, bundle_dir: Path) -> Path:
    """A report as the command makes it, and the work folder that it was made in."""
    done = run(folder, "--bundle", str(bundle_dir), "--work", str(folder / "work"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"turns, 16 people, [0-9.]+% failed", done.stdout) and "report in" in done.stdout
    assert "learning labels: done" in done.stderr
    return folder / "report"


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--log", str(folder / "log.jsonl.gz"), "--out", str(folder / "report"), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def records(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "log.jsonl.gz") as lines:
        return [orjson.loads(line) for line in lines]


def test_it_counts_every_turn_and_names_nothing_of_one_person(folder: Path, out: Path) -> None:
    told, log = orjson.loads((out / RECORD).read_bytes()), records(folder)
    assert told["turns"] == len(log) and told["people"] == 16 and told["turns_asked"] > 0
    assert told["defects"] == pytest.approx(sum(told["by_point"].values()), abs=1e-4)
    assert told["requests"][0]["text"] == "turn on the off us light" and told["requests"][0]["people"] == 5
    assert told["requests"][0]["meant"][0]["text"] == "turn on the office light"
    assert told["points"][0]["left"] <= told["points"][0]["defects"]
    said, slots = defaultdict(set), defaultdict(set)
    for record in log:
        said[normalise(record["query"])].add(record["user_id"])
        for value in ((record["interpretation"] or {}).get("slots") or {}).values():
            slots[value].add(record["user_id"])
    texts = {request["text"] for request in told["requests"]}
    texts |= {meaning["text"] for request in told["requests"] for meaning in request["meant"]}
    texts |= {request["bundle"]["text"] for request in told["requests"] if request["bundle"]} - {None}
    assert all(len(said[text]) >= 2 for text in texts)
    readings = [meaning["interpretation"] for request in told["requests"] for meaning in request["meant"]]
    assert all(len(slots[value]) >= 2 for reading in readings if reading for value in reading["slots"].values())
    shown = re.findall(r"<bdi>([^<]*)</bdi>", (out / PAGE).read_text(encoding="utf-8"))
    assert shown and not [text for text in shown if 0 < len(said.get(text, ())) < 2]
    assert not [user for user in {record["user_id"] for record in log} if user in (out / PAGE).read_text()]


def test_a_browser_shows_it_without_a_complaint_or_a_request(out: Path) -> None:
    complaints, requests = [], []
    with browser() as chromium:
        for scheme, width in (("light", 1200), ("dark", 390)):
            page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
            page.on("console", lambda said: complaints.append(said.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda asked: requests.append(asked.url))
            page.goto((out / PAGE).as_uri())
            assert page.locator("h1").inner_text() == "Where requests fail, and what was meant"
            assert page.locator("svg.chart rect").count() > 0
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
            style = "getComputedStyle(document.body).backgroundColor"
            assert (page.evaluate(style) == "rgb(18, 20, 26)") == (scheme == "dark")
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.className") == "skip", "keys lead past the links"
    assert complaints == [] and {*requests} == {(out / PAGE).as_uri()}


def test_one_that_is_killed_leaves_the_report_before_whole(folder: Path, out: Path) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    options = ["--quiet", "--log", folder / "log.jsonl.gz", "--out", out, "--min-people", 5]
    killed = stopped("learning labels", 0, "report", "--threads", 1, *options, by=signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(folder.glob(".report.work-*/rows/*")), "in the midst of it"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_who_was_forgotten_is_not_in_it(folder: Path, out: Path, tmp_path: Path) -> None:
    log = records(folder)
    gone = log[0]["user_id"]
    theirs = [record for record in log if record["user_id"] == gone]
    made = make_report(
        [], tmp_path / "report", ReportSettings(), EngineSettings(work=folder / "work"), None,
        {user_key(gone): max(record["timestamp_ms"] for record in theirs)}, Progress(quiet=True),
    )  # fmt: skip
    whole = made.report.figures.whole
    assert (whole.people, whole.count.turns, made.forgotten) == (15, len(log) - len(theirs), len(theirs))


def test_what_is_wrong_is_said_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    def told(*options: str) -> str:
        done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2
        return " ".join(re.sub("[│╭╮╰╯─]", " ", done.stderr).split())

    assert "name a log, or a --work folder" in told("--out", str(tmp_path / "r"))
    log = folder / "log.jsonl.gz"
    quiet = Progress(quiet=True)
    with pytest.raises(BundleError, match="no bundle there"):
        make_report([log], tmp_path / "r", ReportSettings(), EngineSettings(), tmp_path / "no", {}, quiet)
    with pytest.raises(LogError, match="no such file"):
        make_report([tmp_path / "no"], tmp_path / "r", ReportSettings(), EngineSettings(), None, {}, quiet)
    assert not (tmp_path / "r").exists()
