#!/usr/bin/env bash
# Prints the name of an image of Debian that the engine has: debian:bookworm-slim, or where no registry can be reached, one of the
# same packages that debootstrap makes (root on a Debian only).
set -euo pipefail
engine=${ENGINE:-docker}
official=debian:bookworm-slim
own=temporal-vitess/debian:bookworm

for image in "$official" "$own"; do
  if "$engine" image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    exit
  fi
done
if "$engine" pull --quiet "$official" >/dev/null 2>&1; then
  echo "$official"
  exit
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "debian-image.sh: \`$engine pull $official\` fails, and only root on a Debian can make that image from packages: load one into $engine" >&2
  exit 1
fi
if ! command -v debootstrap >/dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap >/dev/null
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >&2
# The machine's own settings count inside as well, but for its hooks.
for part in /etc/apt/apt.conf.d/*; do
  if ! grep -q Invoke "$part"; then cp "$part" "$root/etc/apt/apt.conf.d/"; fi
done
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --directory "$root" --create . | "$engine" import --change 'CMD ["bash"]' - "$own" >/dev/null
echo "$own"
