"""Dashboard and alerts ask for what a real server tells; alerts fire when they should, and each is explained."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Launch, Scrape

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "query-rewrite.json"
DOCUMENT = ROOT / "docs" / "operations.md"
OURS = re.compile(r"\b(query_rewrite_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
OF_PROMETHEUS = {"job", "instance"}
"""Labels that come with the scrape."""


@pytest.fixture(scope="module")
def scraped(launch: Launch) -> Scrape:
    return launch(metrics_port=0).scrape()


@pytest.fixture(scope="module")
def promtool() -> str:
    done = subprocess.run([ROOT / "deploy" / "promtool.sh"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions_of_the_dashboard() -> list[str]:
    """With Grafana's variables as they may come out."""
    board = json.loads(DASHBOARD.read_text())
    raw = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    raw += [annotation["expr"] for annotation in board["annotations"]["list"]]
    return [expr.replace("$__rate_interval", "1m").replace("$job", ".*") for expr in raw]


def rules() -> list[str]:
    """As one text without comments: what is no expression in it names no metric of ours."""
    return ["\n".join(line for line in RULES.read_text().splitlines() if not line.strip().startswith("#"))]


ASKED = {"dashboard": expressions_of_the_dashboard, "rules": rules}


def selectors(expressions: list[str]) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for expression in expressions:
        for name, matchers in OURS.findall(expression):
            yield name, MATCHER.findall(matchers)


def matches(labels: dict[str, str], name: str, how: str, value: str) -> bool:
    had = labels.get(name, "")
    met = re.fullmatch(value, had) is not None if "~" in how else had == value
    return met is not how.startswith("!")


@pytest.mark.parametrize("where", ASKED)
def test_whatever_is_asked_for_is_there(scraped: Scrape, where: str) -> None:
    """Every selector finds at least one series: a name or a label that is misspelt finds none."""
    found = list(selectors(ASKED[where]()))
    assert len(found) > 20
    for metric, matchers in found:
        own = [matcher for matcher in matchers if matcher[0] not in OF_PROMETHEUS]
        series = [dict(labels) for name, labels in scraped.series if name == metric]
        assert any(all(matches(labels, *matcher) for matcher in own) for labels in series), (metric, own)


@pytest.mark.parametrize("where", ASKED)
def test_labels_to_sum_by_are_there(scraped: Scrape, where: str) -> None:
    known = {label for _, labels in scraped.series for label, _ in labels} | OF_PROMETHEUS
    groups = [group for text in ASKED[where]() for group in re.findall(r"\bby \(([^)]+)\)", text)]
    grouped = {label.strip() for group in groups for label in group.split(",")}
    assert grouped and grouped <= known


def test_the_rules_parse_and_the_dashboard_asks_in_good_promql(promtool: str, tmp_path: Path) -> None:
    asked = {"groups": [{"name": "asked", "rules": []}]}
    for number, expression in enumerate(expressions_of_the_dashboard()):
        asked["groups"][0]["rules"].append({"record": f"asked:{number}", "expr": expression})
    as_rules = tmp_path / "dashboard.yml"
    as_rules.write_text(json.dumps(asked))  # which is YAML too
    config = RULES.parent / "prometheus.yml"
    for command in (["check", "rules", str(RULES), str(as_rules)], ["check", "config", str(config)]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tests", sorted(RULES.parent.glob("*_test.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(promtool: str, tests: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", tests], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_explained() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    tested = "".join(path.read_text() for path in RULES.parent.glob("*_test.yml"))
    document = DOCUMENT.read_text(encoding="utf-8")
    assert len(alerts) > 10
    for alert in alerts:
        fires = rf"alertname: {alert}\n +eval_time: \w+\n +exp_alerts:"
        assert re.search(fires, tested), f"no test in which {alert} fires"
        assert f"\n### {alert}\n" in document, f"{alert} is not in the runbook"
        assert f"runbook: docs/operations.md#{alert.lower()}\n" in RULES.read_text()


def test_the_exposition_is_clean(promtool: str, scraped: Scrape) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=scraped.text, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_the_dashboard_is_laid_out_without_gaps_or_overlaps() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not taken & cells and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"])
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


def test_every_metric_is_looked_at_somewhere(scraped: Scrape) -> None:
    """A metric that neither a panel nor an alert shows is either of no use or forgotten."""
    told = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in scraped.series}
    shown = " ".join(expressions_of_the_dashboard() + rules())
    assert {name for name in told if name not in shown} == set()
