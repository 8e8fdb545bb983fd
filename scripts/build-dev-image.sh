#!/usr/bin/env bash
# Builds the container image of a development server from this source tree: MySQL, Vitess, Temporal and its web UI.
#
#   scripts/build-dev-image.sh [TAG]    TAG is temporal-vitess-dev unless given
#
# ENGINE, PLATFORM  as for build-image.sh
# BASE              the image that it stands on: debian:bookworm-slim unless given
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/images.sh

tag=${1:-temporal-vitess-dev}
context=$PWD/.tools/image/dev
rootfs=$context/rootfs
rm -rf "$context"
install -d -m 755 "$rootfs"/{,etc,etc/temporal,etc/temporal/config,etc/temporal/config/dynamicconfig,etc/temporal/ui,usr,usr/local,usr/local/bin,vt,vt/bin,vt/config,vt/config/mycnf}
build_server "$rootfs/usr/local/bin"
say "building Vitess and the web UI for $platform"
GOOS=linux GOARCH=$architecture go build -ldflags '-s -w' -o "$rootfs/vt/bin/" \
  vitess.io/vitess/go/cmd/{vttestserver,vtcombo,mysqlctl}
(cd deploy && GOOS=linux GOARCH=$architecture go build -ldflags '-s -w' -o "$rootfs/usr/local/bin/temporal-ui" github.com/temporalio/ui-server/v2/cmd/server)
install -m 644 "$(cd deploy && go list -m -f '{{.Dir}}' github.com/temporalio/ui-server/v2)/config/docker.yaml" "$rootfs/etc/temporal/ui/"
install -m 644 config/dynamicconfig/docker.yaml "$rootfs/etc/temporal/config/dynamicconfig/"
install -m 644 "$(go list -m -f '{{.Dir}}' vitess.io/vitess)/config/init_db.sql" "$rootfs/vt/config/"
install -m 644 deploy/dev/mysqld.cnf "$rootfs/vt/config/mycnf/test-suite.cnf" # the name is fixed in vttestserver
install -m 755 deploy/dev/temporal-vitess-dev "$rootfs/usr/local/bin/"
install -m 755 scripts/install-mysqld.sh "$context/"

build_image "$tag" deploy/dev/Dockerfile "$context" ${BASE:+--build-arg "BASE=$BASE"}
report "$tag"
