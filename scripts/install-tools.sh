#!/usr/bin/env bash
# Makes what a local Vitess needs below .tools in the checkout, and leaves the system untouched:
#
#   .tools/bin      vttestserver, vtcombo, mysqlctl and vtctldclient, built from the Vitess version in go.mod
#   .tools/config   the statements that give a new mysqld Vitess' users, from the same version
#   .tools/mysql    a MySQL server, see install-mysqld.sh
#
# With the argument "cluster" also what a Vitess of many processes needs (package integration/fullcluster):
#
#   .tools/bin      vttablet, vtgate, vtctld and vtorc
#   .tools/etcd     etcd, see install-etcd.sh
#
# Says nothing when all is in place.
set -euo pipefail

# Some machines set GOTOOLCHAIN=local, but go.mod may ask for a newer Go than the installed one.
export GOTOOLCHAIN=auto

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.tools
version=$(go list -m -f '{{.Version}}' vitess.io/vitess)

# build STAMP PROGRAM...: builds programs of Vitess into .tools/bin, unless STAMP says that they are there.
build() {
  local stamp=$tools/bin/$1 start=$SECONDS program wanted missing=
  shift
  wanted="vitess $version, $(go env GOVERSION GOOS GOARCH | xargs): $*"
  for program in "$@"; do [[ -x $tools/bin/$program ]] || missing=yes; done
  if [[ -z $missing && -r $stamp && $(<"$stamp") == "$wanted" ]]; then return; fi
  echo "==> building $* of Vitess $version into .tools/bin (several minutes the first time)"
  mkdir -p "$tools/bin"
  rm -f "$stamp"
  go build "${flags[@]}" -o "$tools/bin/" "${@/#/vitess.io/vitess/go/cmd/}"
  echo "$wanted" >"$stamp"
  echo "==> built $* in $((SECONDS - start)) s"
}

flags=(-mod=readonly)
build .built vttestserver vtcombo mysqlctl vtctldclient
statements=$(go list -m -f '{{.Dir}}' vitess.io/vitess)/config/init_db.sql
if ! cmp -s "$statements" "$tools/config/init_db.sql"; then
  mkdir -p "$tools/config"
  install -m 644 "$statements" "$tools/config/init_db.sql"
fi

start=$SECONDS
before=$(readlink "$tools/mysql/root" || true)
scripts/install-mysqld.sh "$tools/mysql"
if [[ -z $before ]]; then echo "==> MySQL server ready in $((SECONDS - start)) s"; fi

if [[ ${1:-} == cluster ]]; then
  # Their drivers for backups and logins need modules that nothing else here does, and whose checksums go.sum therefore lacks.
  mkdir -p "$tools/build"
  cp go.mod go.sum "$tools/build/"
  flags=("-modfile=$tools/build/go.mod" -mod=mod)
  build .built-cluster vttablet vtgate vtctld vtorc
  scripts/install-etcd.sh "$tools/etcd"
fi
