# A container engine for the tests of deploy/, to be sourced: `podman` set up so that it works without systemd, with
# images and containers in var/containers alone, so that nothing of the user's is touched and all can be removed.
# After it: $WORK is that folder, `say` prints a step, `fail` ends with a reason, `engine_remove` removes what ran.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=${CONTAINERS_WORK:-$ROOT/var/containers}
PYTHON_IMAGE=docker.io/library/python:3.11-slim

say() { printf '== %s (%s)\n' "$*" "$(date -u +%H:%M:%S)" >&2; }

fail() {
  printf 'error: %s\n' "$@" >&2
  exit 1
}

# Installs what is missing of Debian's packages: `packages_for COMMAND=PACKAGE ...`.
packages_for() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "these are missing: ${missing[*]}; install them with this system's packages"
  say "installing ${missing[*]}"
  { apt-get update -qq || true; } >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
    fail "apt-get cannot install: ${missing[*]}"
}

engine_open() {
  [ "$(id -u)" -eq 0 ] || fail "run this as root: containers are made with root's rights, and a base image with chroot"
  packages_for podman=podman buildah=buildah runc=runc conmon=conmon catatonit=catatonit iptables=iptables
  [ -x /usr/lib/podman/netavark ] || command -v netavark >/dev/null || packages_for netavark=netavark
  [ -x /usr/lib/podman/aardvark-dns ] || command -v aardvark-dns >/dev/null || packages_for aardvark-dns=aardvark-dns
  [ -e /etc/containers/policy.json ] || packages_for containers-policy=golang-github-containers-common
  mkdir -p "$WORK"
  cat >"$WORK/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "$WORK/networks"
CONF
  cat >"$WORK/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$WORK/storage"
runroot = "$WORK/run"
CONF
  export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf
  podman info >/dev/null 2>"$WORK/info.err" || fail "podman does not work here: $(tail -1 "$WORK/info.err")"
}

# Removes containers, networks, volumes and images, but for base images, which later runs begin from.
engine_remove() {
  podman rm --all --force --time 2 >/dev/null 2>&1 || true
  podman pod rm --all --force >/dev/null 2>&1 || true
  podman network prune --force >/dev/null 2>&1 || true
  podman volume prune --force >/dev/null 2>&1 || true
  local image
  for image in "$@"; do podman rmi --force "$image" >/dev/null 2>&1 || true; done
  podman image prune --force >/dev/null 2>&1 || true
}
