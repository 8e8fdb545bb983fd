#!/usr/bin/env bash
# Installs etcd, which holds the topology of a Vitess of many processes, below DIR, and leaves the system untouched.
#
#   scripts/install-etcd.sh DIR
#
# DIR/etcd then is the program. An etcd on this machine is used as it is; on Debian and its kin without one, their package
# etcd-server is unpacked.
set -euo pipefail

dir=${1:?usage: install-etcd.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

usable() { "$1" --version >/dev/null 2>&1; }

if usable "$dir/etcd"; then
  exit 0
fi
rm -rf "$dir/etcd" "$dir/unpacked" "$dir/package"

if installed=$(command -v etcd) && usable "$installed"; then
  echo "==> using the installed $installed"
  ln -s "$installed" "$dir/etcd"
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "install-etcd.sh: no etcd found, and this is not a Debian system. Install etcd 3.4 or newer and run make again" >&2
  exit 1
fi
echo "==> unpacking Debian's etcd into $dir (about 8 MB to download)"
mkdir "$dir/package"
# The user that apt drops root for may not enter this folder. Etcd links only libc, or nothing.
(cd "$dir/package" && apt-get -qq -o APT::Sandbox::User=root download etcd-server) || {
  echo "install-etcd.sh: apt cannot download etcd-server: apt-get update may help, or an installed etcd" >&2
  exit 1
}
dpkg-deb -x "$dir"/package/*.deb "$dir/unpacked"
rm -rf "$dir/package"
ln -s unpacked/usr/bin/etcd "$dir/etcd"
usable "$dir/etcd" || { echo "install-etcd.sh: $dir/etcd does not run; remove $dir and try again" >&2; exit 1; }
echo "==> installed $("$dir/etcd" --version | head -n 1)"
