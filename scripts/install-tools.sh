#!/usr/bin/env bash
# Makes what a local Vitess needs below .tools in the checkout, and leaves the system untouched:
#
#   .tools/bin      vttestserver, vtcombo, mysqlctl and vtctldclient, built from the Vitess version in go.mod
#   .tools/config   the statements that give a new mysqld Vitess' users, from the same version
#   .tools/mysql    a MySQL server, see install-mysqld.sh
#
# Says nothing when all is in place.
set -euo pipefail

# Some machines set GOTOOLCHAIN=local, but go.mod may ask for a newer Go than the installed one.
export GOTOOLCHAIN=auto

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.tools
programs=(vttestserver vtcombo mysqlctl vtctldclient)

version=$(go list -m -f '{{.Version}}' vitess.io/vitess)
stamp=$tools/bin/.built
wanted="vitess $version, $(go env GOVERSION GOOS GOARCH | xargs): ${programs[*]}"

built() {
  local program
  [[ -r $stamp && $(<"$stamp") == "$wanted" && -r $tools/config/init_db.sql ]] || return 1
  for program in "${programs[@]}"; do [[ -x $tools/bin/$program ]] || return 1; done
}

if ! built; then
  echo "==> building Vitess $version into .tools/bin (several minutes the first time)"
  start=$SECONDS
  mkdir -p "$tools/bin" "$tools/config"
  rm -f "$stamp"
  go build -o "$tools/bin/" "${programs[@]/#/vitess.io/vitess/go/cmd/}"
  install -m 644 "$(go list -m -f '{{.Dir}}' vitess.io/vitess)/config/init_db.sql" "$tools/config/init_db.sql"
  echo "$wanted" >"$stamp"
  echo "==> built ${programs[*]} in $((SECONDS - start)) s"
fi

start=$SECONDS
before=$(readlink "$tools/mysql/root" || true)
scripts/install-mysqld.sh "$tools/mysql"
if [[ -z $before ]]; then echo "==> MySQL server ready in $((SECONDS - start)) s"; fi
