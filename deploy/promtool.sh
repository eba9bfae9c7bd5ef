#!/usr/bin/env bash
# Puts promtool, which checks and tests alert rules, at .venv/bin/promtool where none is installed, and prints its path.
# It is taken out of Debian's package `prometheus` without installing that: doing so would start a server.
# usage: deploy/promtool.sh
set -euo pipefail
cd "$(dirname "$0")/.."

place=.venv/bin/promtool
if [ ! -x "$place" ] && command -v promtool; then exit; fi
if [ ! -x "$place" ]; then
  fail() {
    echo "promtool: $1; put it in the path (https://prometheus.io/download/, or Debian's package prometheus)" >&2
    exit 1
  }
  for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "there is no $tool to get it with"
  done
  place_at=$PWD/$place
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  cd "$work"
  if ! apt-get download -qq prometheus >&2; then
    { apt-get update -qq && apt-get download -qq prometheus; } >&2 || fail "package prometheus cannot be downloaded"
  fi
  dpkg-deb -x prometheus_*.deb . || fail "package prometheus cannot be unpacked"
  mv usr/bin/promtool "$place_at.$$"
  mv "$place_at.$$" "$place_at" # at once, for several may do this
  cd - >/dev/null
fi
echo "$PWD/$place"
