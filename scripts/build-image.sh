#!/usr/bin/env bash
# Builds the server's container image from this source tree.
#
#   scripts/build-image.sh [TAG]        TAG is temporal-vitess/server:dev unless given
#
# ENGINE    the container engine that builds: docker (the default), podman, or another with docker's commands
# PLATFORM  linux/amd64 or linux/arm64; that of this machine unless given
#
# The same source gives the same image ID on each build: its times are SOURCE_DATE_EPOCH, that of the last commit unless
# given. .tools/image/server.tar holds the image for `docker load -i`, or for what pushes archives to a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/images.sh

tag=${1:-temporal-vitess/server:dev}
context=$PWD/.tools/image/server
rootfs=$context/rootfs
rm -rf "$context"
for certificates in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  if [[ -r $certificates ]]; then break; fi
done
[[ -r $certificates ]] || die "found no CA certificates on this machine to put into the image: install ca-certificates"

# The modes are given, since a COPY keeps them and the server runs as an ordinary user.
install -d -m 755 "$rootfs"/{,etc,etc/ssl,etc/ssl/certs,etc/temporal,etc/temporal/config,etc/temporal/config/dynamicconfig,usr,usr/local,usr/local/bin}
install -d -m 1777 "$rootfs/tmp"
build_server "$rootfs/usr/local/bin"
install -m 644 config/vitess.yaml "$rootfs/etc/temporal/config/"
install -m 644 config/dynamicconfig/docker.yaml "$rootfs/etc/temporal/config/dynamicconfig/"
install -m 644 "$certificates" "$rootfs/etc/ssl/certs/ca-certificates.crt"
echo 'temporal:x:1000:1000::/etc/temporal:/sbin/nologin' >"$rootfs/etc/passwd"
echo 'temporal:x:1000:' >"$rootfs/etc/group"
chmod 644 "$rootfs"/etc/{passwd,group}

build_image "$tag" Dockerfile "$context" --no-cache
# An engine notes when it built, and as what; the rest is the same each time.
built=$("$engine" image inspect --format '{{.Id}}' "$tag")
"$engine" save --output "$context/built.tar" "$tag"
(cd deploy && go run ./canonical -time "$epoch" -tag "$tag" "$context/built.tar" "$context.tar")
rm "$context/built.tar"
"$engine" load --quiet --input "$context.tar" >/dev/null
if [[ $("$engine" image inspect --format '{{.Id}}' "$tag") != "$built" ]]; then "$engine" rmi "$built" >/dev/null; fi
report "$tag"
say "$(wc -c <"$context.tar") bytes to download, in $context.tar"
