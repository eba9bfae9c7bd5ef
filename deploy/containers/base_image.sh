# To be sourced after engine.sh: `python_image` sees to it that the Dockerfile's base image is at hand.
#
# Where it can be pulled, it is. Elsewhere a stand-in is made under its name: Debian 12 by debootstrap with the Python
# 3.11 of this machine in /usr/local. That shows that the Dockerfile works; the official image it is not, and it is
# never pushed.

# How base images came about: `pulled` or `stand-in`.
BASE_KIND=

python_image() {
  if podman image exists "$PYTHON_IMAGE"; then
    BASE_KIND=$(podman image inspect --format '{{index .Labels "query-rewrite.base"}}' "$PYTHON_IMAGE")
    BASE_KIND=${BASE_KIND:-pulled}
    return
  fi
  say "pulling $PYTHON_IMAGE"
  if timeout 60 podman pull --quiet "$PYTHON_IMAGE" >/dev/null 2>"$WORK/pull.err"; then
    BASE_KIND=pulled
    return
  fi
  say "it cannot be pulled: making a stand-in of Debian and this machine's Python"
  _stand_in
  BASE_KIND=stand-in
}

_stand_in() {
  local python prefix rootfs=$WORK/rootfs
  python=${PYTHON:-$ROOT/.venv/bin/python}
  [ -x "$python" ] || python=$(command -v python3.11) || fail "no Python 3.11 to put into a base image: run make setup"
  prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
  packages_for debootstrap=debootstrap
  rm -rf "$rootfs"
  debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata bookworm "$rootfs" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$WORK/debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail -1 "$WORK/debootstrap.log")"
  if [ "$prefix" = /usr ]; then
    chroot "$rootfs" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends python3 python3-venv python3-pip' >"$WORK/debootstrap.log" 2>&1 ||
      fail "no Python in the base image: $(tail -1 "$WORK/debootstrap.log")"
    ln -sf /usr/bin/python3 "$rootfs/usr/local/bin/python3"
    ln -sf /usr/bin/python3 "$rootfs/usr/local/bin/python"
  else
    mkdir -p "$rootfs/usr/local"
    tar -C "$prefix" --exclude site-packages --exclude __pycache__ --exclude test --exclude 'config-3*' \
      --exclude '*.a' -cf - bin lib | tar -C "$rootfs/usr/local" -xf -
    mkdir -p "$rootfs/usr/local/lib/python3.11/site-packages"
    # What Python's own modules are linked against; the official image has them too.
    chroot "$rootfs" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends libssl3 libffi8 libsqlite3-0 libbz2-1.0 liblzma5 zlib1g libreadline8 libexpat1 libuuid1 &&
      rm -rf /var/lib/apt/lists/* && ldconfig && python3 -m ensurepip && ln -sf python3 /usr/local/bin/python' \
      >"$WORK/debootstrap.log" 2>&1 || fail "no Python in the base image: $(tail -1 "$WORK/debootstrap.log")"
  fi
  # A machine behind a proxy with an authority of its own: the packages come through it.
  cp -L /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$rootfs/etc/pip.conf"
  tar -C "$rootfs" --numeric-owner -cf "$WORK/base.tar" .
  rm -rf "$rootfs"
  podman import --quiet -c 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    -c 'CMD ["python3"]' -c 'LABEL query-rewrite.base=stand-in' "$WORK/base.tar" "$PYTHON_IMAGE" >/dev/null ||
    fail "the base image cannot be imported"
  rm -f "$WORK/base.tar"
}
