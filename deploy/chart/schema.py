"""Writes values.schema.json: names, kinds and bounds of the chart's values, those of the server's settings taken from
`rewrite_service.settings`. Helm checks values by it. Run it after a change of either.

usage: python deploy/chart/schema.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rewrite_service.settings import Settings

FILE = Path(__file__).with_name("values.schema.json")
OF_THE_CHART = {
    *("host", "port", "workers", "metrics_host", "metrics_port", "admin_host", "admin_port", "http_host", "http_port"),
    *("store", "state_dir", "redis_url", "redis_cluster"),
    *("tls_cert", "tls_key", "tls_client_ca", "tokens_file", "allow_insecure"),
}
"""Settings that follow from other values, or that a pod has no use for: not to be set under `settings`."""

TEXT: dict[str, Any] = {"type": "string"}
FLAG: dict[str, Any] = {"type": "boolean"}
WHOLE: dict[str, Any] = {"type": "integer", "minimum": 1}
NAME = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", "maxLength": 253}
DOMAIN = {"type": "string", "pattern": "^[-a-zA-Z0-9.]*$"}
FOLDER = {"type": "string", "pattern": "^[-_a-zA-Z0-9]+$"}
LOG = {"type": "string", "pattern": "^/logs/[-_./*?a-zA-Z0-9]+$"}
"""It stands in a shell's line."""
PERCENT = {"type": "integer", "minimum": 1, "maximum": 100}
KEY = {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$", "maxLength": 253}
DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
QUANTITY = {"type": "string", "pattern": "^[1-9][0-9]*(Ki|Mi|Gi|Ti)?$"}
POLICY = {"enum": ["Always", "IfNotPresent", "Never"]}
PEERS = {"type": "array", "items": {"type": "object", "minProperties": 1}}
OBJECT: dict[str, Any] = {"type": "object"}
SETTING_KINDS = {"integer", "number", "boolean", "string"}


def closed(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object of these properties and no other."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


def image(repository: dict[str, Any]) -> dict[str, Any]:
    tag = {"type": "string", "pattern": "^[A-Za-z0-9_.-]*$", "not": {"enum": ["latest", "stable", "main"]}}
    return closed(repository=repository, tag=tag, digest=DIGEST, pullPolicy=POLICY)


def setting(schema: dict[str, Any]) -> dict[str, Any]:
    """Of what pydantic says of a setting, what binds a value here."""
    kept = next((one for one in schema.get("anyOf", []) if one.get("type") in SETTING_KINDS), schema)
    return {name: kept[name] for name in ("type", "enum", "minimum", "maximum", "minLength", "pattern") if name in kept}


def values() -> dict[str, Any]:
    """The schema as a whole."""
    known = Settings.model_json_schema()["properties"]
    settings = {name: setting(schema) for name, schema in known.items() if name not in OF_THE_CHART}
    resources = closed(requests=OBJECT, limits=OBJECT, claims={"type": "array"})
    top = closed(
        nameOverride={**NAME, "maxLength": 50},
        image=image({"type": "string", "minLength": 1}),
        imagePullSecrets={"type": "array", "items": closed(name=NAME)},
        replicas=WHOLE,
        settings=closed(**settings),
        redis=closed(existingSecret=NAME, key=KEY, cluster=FLAG),
        tokens=closed(existingSecret=NAME, key=KEY),
        tls=closed(existingSecret=NAME, serverName=DOMAIN, clientAuthority=FLAG),
        allowInsecure=FLAG,
        bundles=closed(existingClaim=NAME, storageClass=NAME, size=QUANTITY, folder=FOLDER),
        state=closed(size=QUANTITY, storageClass=NAME),
        build=closed(
            enabled=FLAG,
            schedule={"type": "string", "pattern": "^(@[a-z]+|[-0-9*,/A-Za-z]+( [-0-9*,/A-Za-z]+){4})$"},
            timeZone={"type": "string", "minLength": 1},
            logClaim=NAME,
            logs={"type": "array", "minItems": 1, "items": LOG},
            keep={"type": "integer", "minimum": 0},
            arguments={"type": "array", "items": TEXT},
            deadlineSeconds=WHOLE,
            resources=resources,
        ),
        resources=resources,
        autoscaling=closed(enabled=FLAG, min=WHOLE, max=WHOLE, cpuPercent=PERCENT),
        disruption=closed(maxUnavailable={"type": ["integer", "string"]}),
        proxy=closed(
            enabled=FLAG, replicas=WHOLE, image=image({"type": "string", "minLength": 1}), resources=resources
        ),
        networkPolicy=closed(
            enabled=FLAG, clients={**PEERS, "minItems": 1}, monitoring=PEERS, redis=PEERS,
            redisPort={"type": "integer", "minimum": 1, "maximum": 65535}, extraEgress={"type": "array"},
        ),
        metrics=closed(serviceMonitor=FLAG, interval={"type": "string", "pattern": "^[0-9]+(ms|s|m)$"}, rules=FLAG),
        preStopSeconds={"type": "integer", "minimum": 0, "maximum": 600},
        podAnnotations={"type": "object", "additionalProperties": TEXT},
        nodeSelector={"type": "object", "additionalProperties": TEXT},
        tolerations={"type": "array", "items": OBJECT},
        affinity=OBJECT,
    )  # fmt: skip
    top["properties"]["global"] = OBJECT
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of query-rewrite"} | top


def text() -> str:
    return json.dumps(values(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(FILE.name)
