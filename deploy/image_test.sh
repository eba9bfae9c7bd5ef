#!/usr/bin/env bash
# Builds the image, runs it read-only and confined, calls it, stops it, and checks what deploy/README.md says of it.
# Installs podman from Debian where there is none, and makes a stand-in for the base image where that cannot be pulled.
# usage: deploy/image_test.sh [--results FILE] [--keep]      --keep: leave the image in var/containers
# BUNDLE=folder names a bundle of the sample log; default: var/bundle (`make image-test` makes it).
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

image=localhost/query-rewrite:test
engine_open
end() {
  if [ $keep = yes ]; then engine_remove; else engine_remove "$image"; fi
  rm -rf "$WORK/bundles"
}
trap end EXIT
engine_remove "$image"
python_image

say "building the image (base: $BASE_KIND)"
begun=$SECONDS
podman build --isolation chroot --format docker --no-cache --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" \
  --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
  --tag "$image" --file deploy/Dockerfile . >"$WORK/build.log" 2>&1 ||
  fail "the image cannot be built: $(tail -5 "$WORK/build.log")" "all of it: $WORK/build.log"
seconds=$((SECONDS - begun))

mkdir -p "$WORK/bundles"
cp -rL "$bundle" "$WORK/bundles/current"
chmod -R a+rX "$WORK/bundles" # the container's user is not this one

say "running it"
.venv/bin/python deploy/containers/check_image.py "$image" --bundles "$WORK/bundles" --base "$BASE_KIND" \
  --base-image "$PYTHON_IMAGE" --build-seconds "$seconds" "${results[@]}"
say "all good"
