"""What the chart renders: valid for the API servers, confined, probed, balanced; and what it refuses to render."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from rewrite_service.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
SETS = sorted((CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.27", "1.37")
"""The oldest that the chart is for, and the newest that the schemas know."""
OF_AN_OPERATOR = {"ServiceMonitor", "PrometheusRule"}

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> str:
    done = subprocess.run([ROOT / "deploy" / "helm.sh"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, timeout=300, check=False)


def template(helm: str, values: Path, *more: str) -> subprocess.CompletedProcess[str]:
    given = ("--namespace", "speech", "--values", str(values), "--kube-version", "1.30.0")
    return run(helm, "template", "demo", str(CHART), *given, *more)


@pytest.fixture(scope="session")
def rendered(helm: str) -> dict[str, list[Manifest]]:
    """By name of the values' set."""
    with ThreadPoolExecutor() as pool:
        done = dict(zip(SETS, pool.map(lambda values: template(helm, values), SETS), strict=True))
    for values, result in done.items():
        assert result.returncode == 0, f"{values.name}: {result.stderr}"
    return {
        values.name.removesuffix("-values.yaml"): [one for one in yaml.safe_load_all(result.stdout) if one]
        for values, result in done.items()
    }


def of(manifests: list[Manifest], kind: str, name: str = "demo") -> Manifest:
    return next(one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name)


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name of what makes it, and the pod's template."""
    for one in manifests:
        if one["kind"] == "Deployment":
            yield one["metadata"]["name"], one["spec"]["template"]
        if one["kind"] == "CronJob":
            yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_helm_finds_nothing_wrong(helm: str, values: Path) -> None:
    done = run(helm, "lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout


def test_the_api_schemas_take_it(rendered: dict[str, list[Manifest]]) -> None:
    kinds = set()
    for manifests in rendered.values():
        for one in manifests:
            kinds.add(one["kind"])
            for version in VERSIONS:
                if one["kind"] not in OF_AN_OPERATOR:
                    kubernetes_validate.validate(one, version, strict=True)
    of_issue = {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "CronJob", "Service"}
    assert of_issue | OF_AN_OPERATOR <= kinds


def test_every_container_is_confined(rendered: dict[str, list[Manifest]]) -> None:
    for manifests in rendered.values():
        for name, pod in pods(manifests):
            spec = pod["spec"]
            assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0, name
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
            for container in containers(pod):
                confined = {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
                }  # fmt: skip
                assert container["securityContext"] == confined, container["name"]
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}
                assert "memory" in container["resources"]["limits"]


def test_no_image_can_change_by_itself(rendered: dict[str, list[Manifest]]) -> None:
    for name, manifests in rendered.items():
        images = {container["image"] for _, pod in pods(manifests) for container in containers(pod)}
        for image in images:
            assert re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+\.\d+$", image), image
        assert name != "everything" or all("@sha256:" in image for image in images)


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in SETS])
def test_servers_are_probed(rendered: dict[str, list[Manifest]], name: str) -> None:
    server = of(rendered[name], "Deployment")["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name == "tls":
            command = server[probe]["exec"]["command"]
            assert command[:2] == ["query-rewrite", "health"] and "--server-name=rewrite.example.org" in command
        else:
            assert server[probe]["grpc"] == {"port": 50051, "service": "rewrite.v1.RewriteService"}
    patience = server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"]
    assert patience >= 60 and server["readinessProbe"]["periodSeconds"] < server["livenessProbe"]["periodSeconds"] * 6


def test_a_pod_has_time_to_drain(rendered: dict[str, list[Manifest]]) -> None:
    for name, drain in (("redis", 10), ("everything", 20)):
        spec = of(rendered[name], "Deployment")["spec"]["template"]["spec"]
        stop = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert stop == ["sleep", "5"]
        assert spec["terminationGracePeriodSeconds"] > 5 + drain


def test_selectors_find_the_pods_they_mean_and_no_others(rendered: dict[str, list[Manifest]]) -> None:
    for manifests in rendered.values():
        labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}

        def found(selector: dict[str, str], labels: dict[str, dict[str, str]] = labels) -> set[str]:
            return {name for name, had in labels.items() if had.items() >= selector.items()}

        door = "demo-proxy" if "demo-proxy" in labels else "demo"
        assert found(of(manifests, "Service")["spec"]["selector"]) == {door}
        headless = of(manifests, "Service", "demo-servers")
        assert headless["spec"]["clusterIP"] == "None" and found(headless["spec"]["selector"]) == {"demo"}
        for one in manifests:
            if one["kind"] in {"Deployment", "PodDisruptionBudget"}:
                assert found(one["spec"]["selector"]["matchLabels"]) == {one["metadata"]["name"]}
            if one["kind"] == "NetworkPolicy":
                component = one["metadata"]["name"].removeprefix("demo-")
                meant = "demo" if component == "server" else f"demo-{component}"
                assert found(one["spec"]["podSelector"]["matchLabels"]) == {meant}


def test_every_pod_is_under_a_network_policy(rendered: dict[str, list[Manifest]]) -> None:
    for name, manifests in rendered.items():
        policies = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
        assert len(policies) == (0 if name == "tls" else len(list(pods(manifests))))
        for policy in policies:
            assert policy["policyTypes"] == ["Ingress", "Egress"]
            assert all(rule.get("from") for rule in policy["ingress"]), "no rule lets everybody in"
            assert all(rule.get("ports") for rule in policy["egress"]), "no rule lets out to every port"


def test_volumes_that_are_mounted_are_there(rendered: dict[str, list[Manifest]]) -> None:
    for manifests in rendered.values():
        made = {one["metadata"]["name"] for one in manifests if one["kind"] in {"ConfigMap", "PersistentVolumeClaim"}}
        outside = {"rewrite-bundles", "interaction-logs"}
        for _, pod in pods(manifests):
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            for container in containers(pod):
                assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
            for volume in volumes.values():
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                config = volume.get("configMap", {}).get("name")
                assert claim is None or claim in made | outside
                assert config is None or config in made


def test_the_server_reads_its_settings(rendered: dict[str, list[Manifest]], monkeypatch: pytest.MonkeyPatch) -> None:
    """File and environment of the rendered pod make settings that the server takes, large numbers among them."""
    for name, manifests in rendered.items():
        server = of(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        toml = tomllib.loads(of(manifests, "ConfigMap", "demo-settings")["data"]["settings.toml"])
        for one in server["env"]:
            monkeypatch.setenv(one["name"], one.get("value", "redis://of-a-secret:6379"))
        settings = Settings(**toml)
        assert settings.store == ("embedded" if name == "embedded" else "redis")
        assert settings.allow_insecure is (name != "tls"), "TLS and client certificates need no leave"
        assert settings.metrics_port == 9464
        if name == "everything":
            assert settings.max_message_bytes == 67108864 and settings.holdout_share == 0.05
            assert settings.redis_cluster and settings.log_texts is False
            mounted = next(m for m in server["volumeMounts"] if m["name"] == "settings")["mountPath"]
            assert str(settings.tokens_file) == f"{mounted}/tokens/tokens.toml"
        for one in server["env"]:
            monkeypatch.delenv(one["name"])


def test_the_job_builds_where_the_servers_look(rendered: dict[str, list[Manifest]]) -> None:
    for name, folder in (("redis", "/bundles/current"), ("everything", "/bundles/english")):
        assert of(rendered[name], "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"][-1] == folder
        job = of(rendered[name], "CronJob", "demo-build")["spec"]
        assert job["concurrencyPolicy"] == "Forbid"
        pod = job["jobTemplate"]["spec"]["template"]["spec"]
        assert f"--out {folder} " in pod["containers"][0]["command"][2]
        claims = {v["name"]: v.get("persistentVolumeClaim") for v in pod["volumes"]}
        assert not claims["bundles"].get("readOnly") and claims["logs"]["readOnly"]
        assert "QUERY_REWRITE_REDIS_URL" in {one["name"] for one in pod["containers"][0]["env"]}, "who was forgotten"


def test_the_job_runs_a_build(rendered: dict[str, list[Manifest]], tmp_path: Path) -> None:
    """Its shell line, with a program that says what it was given in the place of ours."""
    said = tmp_path / "query-rewrite"
    said.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    said.chmod(0o755)
    logs = tmp_path / "logs"
    logs.mkdir()
    command = of(rendered["everything"], "CronJob", "demo-build")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    command = [part.replace("/logs/", f"{logs}/") for part in command["containers"][0]["command"]]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: no log at "), done
    for day in ("2026-01-01.parquet", "2026-01-02.parquet", "2025-12-31.parquet"):
        (logs / day).touch()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    given = done.stdout.splitlines()
    assert given[:6] == ["build", "--quiet", "--out", "/bundles/english", "--keep", "2"]
    assert given[6:] == [
        "--min-people=3", "--wins-per-harm=25",
        "--log", f"{logs}/2026-01-01.parquet", "--log", f"{logs}/2026-01-02.parquet",
    ]  # fmt: skip


def test_the_proxy_keeps_users_to_a_server_and_sends_no_turn_twice(rendered: dict[str, list[Manifest]]) -> None:
    as_it_stands = yaml.safe_load((ROOT / "deploy" / "envoy" / "envoy.yaml").read_text())
    of_the_chart = yaml.safe_load(of(rendered["redis"], "ConfigMap", "demo-proxy")["data"]["envoy.yaml"])
    for config, host in ((as_it_stands, "server"), (of_the_chart, "demo-servers.speech.svc")):
        cluster = config["static_resources"]["clusters"][0]
        assert cluster["lb_policy"] == "RING_HASH" and cluster["health_checks"][0]["grpc_health_check"]
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        assert endpoint["address"]["socket_address"] == {"address": host, "port_value": 50051}
        door = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        reads, rest = door["route_config"]["virtual_hosts"][0]["routes"]
        asked = re.compile(reads["match"]["safe_regex"]["regex"])
        methods = re.findall(r"rpc (\w+)\(", (ROOT / "proto/rewrite/v1/rewrite.proto").read_text())
        again = {name for name in methods if asked.fullmatch(f"/rewrite.v1.RewriteService/{name}")}
        assert again == {"Rewrite", "Explain", "ListPreferences"}, "only what changes nothing"
        assert "retry_policy" in reads["route"] and "retry_policy" not in rest["route"]
        for route in (reads, rest):
            assert route["route"]["hash_policy"] == [{"header": {"header_name": "x-user-key"}}]
        assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_monitoring_is_what_the_rules_expect(rendered: dict[str, list[Manifest]]) -> None:
    monitor = of(rendered["everything"], "ServiceMonitor")["spec"]
    assert monitor["endpoints"][0]["relabelings"] == [{"targetLabel": "job", "replacement": "query-rewrite"}]
    labels = of(rendered["everything"], "Service", "demo-servers")["metadata"]["labels"]
    assert labels.items() >= monitor["selector"]["matchLabels"].items()
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    assert of(rendered["everything"], "PrometheusRule")["spec"] == rules


WRONG = {
    "redis.existingSecret: several": ["replicas=2"],
    "build.enabled: the job": ["replicas=1", "autoscaling.enabled=false"],
    "build.logClaim: name": ["redis.existingSecret=r"],
    "tls.existingSecret: without": ["redis.existingSecret=r", "build.logClaim=l", "networkPolicy.enabled=false"],
    "proxy.enabled: the proxy": [
        "redis.existingSecret=r", "build.logClaim=l", "tls.existingSecret=t", "tls.serverName=n"
    ],
    "tls.serverName: the name": ["redis.existingSecret=r", "build.logClaim=l", "tls.existingSecret=t"],
    "image.tag": ["image.tag=latest"],
    "settings: Additional property": ["settings.nonsense=1"],
    "settings.holdout_share": ["settings.holdout_share=2"],
    "build.logs.0": ["build.logs={/logs/$(reboot)}"],
}  # fmt: skip


def test_what_does_not_go_together_is_refused_with_a_remedy(helm: str) -> None:
    def refused(values: list[str]) -> subprocess.CompletedProcess[str]:
        return template(helm, CHART / "values.yaml", *(part for value in values for part in ("--set", value)))

    with ThreadPoolExecutor() as pool:
        for (said, values), done in zip(WRONG.items(), pool.map(refused, WRONG.values()), strict=True):
            assert done.returncode != 0 and said in done.stderr, (values, done.stderr)


def leaves(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values and path.rsplit(".", 1)[-1] != "resources":
        for name, value in values.items():
            yield from leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path


def test_every_value_is_explained_and_has_bounds() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    explained = re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE)
    assert explained == list(leaves(values))
    schema = CHART / "schema.py"
    program = f"import runpy; print(runpy.run_path({str(schema)!r})['text'](), end='')"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert (CHART / "values.schema.json").read_text() == made.stdout, "run python deploy/chart/schema.py"
    bounded = json.loads(made.stdout)["properties"]
    assert bounded.keys() - {"global"} == values.keys()
