#!/usr/bin/env bash
# Sets up .venv for serving, or with `test` also for the tests, with the versions that pyproject.toml pins.
# usage: deploy/setup.sh [test]        PYTHON=/path/to/python3.11 names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  printf 'set-up: %s\n' "$@" >&2
  exit 1
}

# Installs system packages where that needs no password; otherwise the caller explains.
apt_install() {
  command -v apt-get >/dev/null || return 1
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  echo "set-up: installing $*"
  "${as_root[@]}" apt-get update -qq || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

is_python_311() {
  "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 /usr/bin/python3.11 /usr/bin/python3; do
    if is_python_311 "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

if ! python=$(find_python); then
  apt_install python3.11 python3.11-venv >&2 || true
  python=$(find_python) || fail "Python 3.11 is needed and was not found." \
    "Debian 12: sudo apt-get install python3 python3-venv" \
    "Ubuntu: sudo apt-get install python3.11 python3.11-venv (24.04 and later: from ppa:deadsnakes/ppa)" \
    "Or name one: make run PYTHON=/path/to/python3.11"
fi

if ! is_python_311 .venv/bin/python; then
  if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    apt_install python3.11-venv || true
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
      fail "$python cannot make virtual environments. Run: sudo apt-get install python3.11-venv"
  fi
  echo "set-up: making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi

# lightgbm's wheel holds everything but the OpenMP runtime.
has_libgomp() {
  .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null
}
if ! has_libgomp; then
  apt_install libgomp1 || true
  has_libgomp || fail "the system library libgomp.so.1 is missing (lightgbm needs it). Run: sudo apt-get install libgomp1"
fi

# Tests run against a real Redis, which they start themselves.
if [ "${1:-}" = test ] && ! command -v redis-server >/dev/null; then
  apt_install redis-server || true
  command -v redis-server >/dev/null || fail "tests need redis-server 6.2 or later. Run: sudo apt-get install redis-server"
fi

# And the console in a real browser.
if [ "${1:-}" = test ] && ! command -v chromium >/dev/null; then
  apt_install chromium || true
  command -v chromium >/dev/null || fail "tests need Chromium. Run: sudo apt-get install chromium"
fi

# Tests of the Spark engine run it for real.
has_java() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') && [ "${version:-0}" -ge 17 ]
}
if [ "${1:-}" = test ] && ! has_java; then
  apt_install openjdk-17-jre-headless || true
  has_java || fail "tests need Java 17 for Spark. Run: sudo apt-get install openjdk-17-jre-headless"
fi

extra="[redis]"
[ "${1:-}" = test ] && extra="[redis,test,train,tracing,spark]"
# Tests of training need torch. Its build without CUDA, where it can be had: the other one is gigabytes.
if [ "${1:-}" = test ] && ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  torch=$(sed -n 's/^ *"\(torch==[^"]*\)",/\1/p' pyproject.toml)
  echo "set-up: installing $torch for the CPU"
  .venv/bin/python -m pip install --disable-pip-version-check --quiet --retries 0 --timeout 30 --no-deps \
    --index-url https://download.pytorch.org/whl/cpu "$torch" || echo "set-up: not there; taking what the index has"
fi

echo "set-up: installing query-rewrite$extra and the libraries it pins"
.venv/bin/python -m pip install --disable-pip-version-check --quiet --editable ".$extra"

if [ "${1:-}" = test ]; then
  deploy/promtool.sh >/dev/null || echo "set-up: the tests of the alert rules will fail for want of promtool"
  deploy/helm.sh >/dev/null || echo "set-up: the tests of the chart will fail for want of helm"
fi

touch .venv/.ready-run
if [ "${1:-}" = test ]; then touch .venv/.ready-test; fi
