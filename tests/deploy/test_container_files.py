"""What can be checked of Dockerfile, compose file and pins without an engine; deploy/image_test.sh does the rest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def test_the_image_installs_what_is_pinned() -> None:
    """A pin that was changed and not made anew would end the build of the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        pin for extra in ("redis", "tracing") for pin in project["optional-dependencies"][extra]
    ]
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()

    def plain(pin: str) -> str:
        return re.sub("[-_.]+", "-", pin.split("==")[0]).lower() + "==" + pin.split("==")[1]

    constrained = {plain(line) for line in lines if not line.startswith("#")}
    assert {plain(pin) for pin in wanted} <= constrained, "run `make constraints`"


def test_the_image_is_not_roots_and_takes_the_sources_alone() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    runtime = text.split(" AS runtime", 1)[1]
    assert re.findall(r"^USER (.+)$", runtime, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in runtime and "STOPSIGNAL SIGTERM" in runtime
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored, "all stays out but what is named"
    named = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {"pyproject.toml", "retriever", "ranker", "mining", "rewrite_service", "proto", "README.md"} <= named
    assert not named & {"var", "tests", ".git", "benchmarks"}


def test_the_fleet_is_confined_and_stands_open_to_this_machine_alone() -> None:
    fleet = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert fleet["services"].keys() == {"redis", "server", "proxy", "prometheus", "grafana"}
    for name, service in fleet["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        image = service["image"]
        assert re.search(r":v?\d+\.\d+\.\d+$|\$\{VERSION:-\d+\.\d+\.\d+\}$", image), f"{name}: {image}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists(), f"{name}: {source}"
    assert fleet["services"]["server"]["deploy"]["replicas"] == 2
    users_of = {net: {n for n, s in fleet["services"].items() if net in s["networks"]} for net in fleet["networks"]}
    assert users_of["state"] == {"redis", "server"} and users_of["front"] == {"server", "proxy"}
    assert all((settings or {}).get("internal") for net, settings in fleet["networks"].items() if net != "door")
    assert "server" not in users_of["door"]


def test_grafana_finds_data_and_dashboard() -> None:
    """The folder that is mounted is the one that is looked into, and the source is the one the dashboard asks."""
    fleet = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/dashboards.yml").read_text())["providers"][0]
    assert any(volume.split(":")[1].startswith(provider["options"]["path"]) for volume in fleet["grafana"]["volumes"])
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090" and source["type"] == "prometheus" and source["isDefault"]
    config = yaml.safe_load((DEPLOY / "prometheus/compose.yml").read_text())
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert "query-rewrite" in jobs, "as the alert rules call it"


def test_all_speak_of_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = {
        "chart": yaml.safe_load((DEPLOY / "chart" / "Chart.yaml").read_text())["appVersion"],
        "image": re.findall(r"^ARG VERSION=(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[0],
        "fleet": re.findall(r"\$\{VERSION:-(.+?)\}", (DEPLOY / "compose.yaml").read_text())[0],
    }
    assert said == dict.fromkeys(said, version)
