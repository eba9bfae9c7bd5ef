#!/usr/bin/env bash
# Starts deploy/compose.yaml with podman-compose (servers, Redis, proxy, Prometheus), checks and measures it, and removes
# it. Grafana is left out where its image cannot be pulled: there is no package to make a stand-in from.
# usage: deploy/compose_test.sh [--results FILE] [--keep]      --keep: leave the image in var/containers, for the next run
# BUNDLE=folder names a bundle of the sample log; default: var/bundle (`make compose-test` makes it).
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/containers/engine.sh
. deploy/containers/base_image.sh

results=() keep=no
while [ $# -gt 0 ]; do
  case $1 in
    --results) results=(--results "$2"); shift ;;
    --keep) keep=yes ;;
    *) fail "unknown option $1; see the head of $0" ;;
  esac
  shift
done
bundle=${BUNDLE:-var/bundle}
[ -e "$bundle/manifest.json" ] || fail "there is no bundle in $bundle: make one with \`make bundle\`, or name one in BUNDLE"
[ -x .venv/bin/python ] || fail "there is no .venv: run \`make setup\`"

project=query-rewrite-test
export VERSION=test PORT=${PORT:-50951} PROMETHEUS_PORT=${PROMETHEUS_PORT:-50990} GRAFANA_PASSWORD=only-for-the-test REDIS_PASSWORD=only-for-the-test
export BUNDLES=$WORK/bundles
engine_open
packages_for podman-compose=podman-compose
image_of() { sed -n "s|^ *image: \(docker.io/.*$1:.*\)|\1|p" deploy/compose.yaml; }
compose() { podman-compose --project-name "$project" --file deploy/compose.yaml "$@"; }
end() {
  if [ $? -ne 0 ]; then
    for container in $(podman ps --all --format '{{.Names}}'); do
      printf '\n== %s\n' "$container"
      podman logs --tail 30 "$container" 2>&1 || true
    done >"$WORK/fleet.log"
    echo "what the containers said last: $WORK/fleet.log" >&2
  fi
  compose down --volumes >/dev/null 2>&1 || true
  if [ $keep = yes ]; then engine_remove; else engine_remove "localhost/query-rewrite:$VERSION"; fi
  rm -rf "$WORK/bundles"
}
trap end EXIT
engine_remove
python_image

kind=pulled services=(redis server proxy prometheus)
for name in redis envoy prometheus; do
  image=$(image_of "$name")
  podman image exists "$image" && continue
  timeout 60 podman pull --quiet "$image" >/dev/null 2>&1 && continue
  say "making a stand-in for $image"
  podman build --isolation chroot --format docker --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --tag "$image" \
    --label query-rewrite.base=stand-in --file "deploy/containers/standins/$name.Dockerfile" deploy/containers/standins \
    >"$WORK/$name.log" 2>&1 || fail "no stand-in for $image: $(tail -3 "$WORK/$name.log")"
done
[ "$(podman image inspect --format '{{index .Labels "query-rewrite.base"}}' "$(image_of envoy)")" = stand-in ] && kind=stand-in
if podman image exists "$(image_of grafana)" || timeout 60 podman pull --quiet "$(image_of grafana)" >/dev/null 2>&1; then
  services+=(grafana)
fi
if ! podman image exists "localhost/query-rewrite:$VERSION"; then
  say "building the image"
  podman build --isolation chroot --format docker --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" \
    --tag "localhost/query-rewrite:$VERSION" --file deploy/Dockerfile . >"$WORK/build.log" 2>&1 ||
    fail "the image cannot be built: $(tail -5 "$WORK/build.log")"
fi

mkdir -p "$BUNDLES"
cp -rL "$bundle" "$BUNDLES/current"
chmod -R a+rX "$BUNDLES"
say "starting ${services[*]}"
compose up --detach --no-build "${services[@]}" >"$WORK/compose.log" 2>&1 ||
  fail "compose up failed: $(tail -5 "$WORK/compose.log")"
.venv/bin/python deploy/containers/check_fleet.py "$project" --target "127.0.0.1:$PORT" \
  --prometheus "127.0.0.1:$PROMETHEUS_PORT" --images "$kind" "${results[@]}"
say "all good: ${services[*]}"
