#!/usr/bin/env bash
# Builds the server's container image from this source tree, for this machine's architecture.
#
#   scripts/build-image.sh [TAG]        TAG is temporal-vitess/server:dev unless given
#
# With a Docker engine the image is in its store; without one buildah builds it, needing neither a daemon nor
# privileges. Either way .tools/image/image.tar holds it for `docker load -i` or `podman load -i`.
# Exit code 3 means that this machine has nothing to build an image with.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:-temporal-vitess/server:dev}
image=.tools/image
rootfs=$image/rootfs

say() { printf '==> %s\n' "$*"; }
die() { # die CODE MESSAGE
  printf 'build-image.sh: %s\n' "$2" >&2
  exit "$1"
}

if docker info >/dev/null 2>&1; then
  builder=docker
else
  builder=buildah
  if ! command -v buildah >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing buildah"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends buildah >/dev/null
  fi
  command -v buildah >/dev/null ||
    die 3 "no Docker engine answers and there is no buildah: start Docker, or install buildah (apt-get install buildah, dnf install buildah)"
fi

for certificates in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  if [[ -r $certificates ]]; then break; fi
done
[[ -r $certificates ]] || die 1 "found no CA certificates on this machine to put into the image: install ca-certificates"

say "building temporal-server and temporal-vitess-tool"
rm -rf "$rootfs"
# The modes are given, since a COPY keeps them and the server runs as an ordinary user.
install -d -m 755 "$rootfs"/{,etc,etc/ssl,etc/ssl/certs,etc/temporal,etc/temporal/config,etc/temporal/config/dynamicconfig,usr,usr/local,usr/local/bin}
install -d -m 1777 "$rootfs/tmp"
release=$(git describe --tags --always --dirty 2>/dev/null || true)
# Static, and with the build tag of upstream's release; time zones are embedded in the binary (time/tzdata).
CGO_ENABLED=0 GOOS=linux go build -tags disable_grpc_modules -ldflags "-s -w -X main.release=$release" \
  -o "$rootfs/usr/local/bin/" ./cmd/temporal-server ./cmd/temporal-vitess-tool
install -m 644 config/vitess.yaml "$rootfs/etc/temporal/config/"
install -m 644 config/dynamicconfig/docker.yaml "$rootfs/etc/temporal/config/dynamicconfig/"
install -m 644 "$certificates" "$rootfs/etc/ssl/certs/ca-certificates.crt"
echo 'temporal:x:1000:1000::/etc/temporal:/sbin/nologin' >"$rootfs/etc/passwd"
echo 'temporal:x:1000:' >"$rootfs/etc/group"
chmod 644 "$rootfs"/etc/{passwd,group}

say "building $tag with $builder"
rm -f "$image/image.tar"
if [[ $builder == docker ]]; then
  docker build --quiet --tag "$tag" --file Dockerfile "$image"
  docker save --output "$image/image.tar" "$tag"
else
  # A store of its own: whatever storage driver this machine's containers use stays out of it.
  store=$(mktemp -d)
  trap 'chmod -R u+w "$store" && rm -rf "$store"' EXIT # layers are read-only, which root alone would not notice
  buildah() { command buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
  buildah bud --quiet --format docker --isolation chroot --tag "$tag" --file Dockerfile "$image"
  buildah push --quiet "$tag" "docker-archive:$image/image.tar:$tag"
fi
say "built $tag, $(du -h "$image/image.tar" | cut -f1) in $image/image.tar"
