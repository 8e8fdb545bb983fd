#!/usr/bin/env bash
# Renders what the tests look at, the server's configuration and the schema job, with a checkout of Temporal's chart:
#
#   git clone https://github.com/temporalio/helm-charts && deploy/helm/render.sh helm-charts/charts/temporal
set -euo pipefail
chart=$(realpath "${1:?give the folder of the chart, charts/temporal of github.com/temporalio/helm-charts}")
cd "$(dirname "$0")"
export GOTOOLCHAIN=auto CGO_ENABLED=0
helm=(go run helm.sh/helm/v3/cmd/helm@v3.22.0)
version=$(sed -n 's/^version: //p' "$chart/Chart.yaml")
mkdir -p rendered
render() { # NAME VALUES…
  local name=$1 values=()
  shift
  for file in "$@"; do values+=(-f "$file"); done
  {
    echo "# Written by render.sh: chart temporal $version, $*, sha256 $(cat "$@" | sha256sum | cut -d' ' -f1)"
    "${helm[@]}" template temporal "$chart" "${values[@]}" -s templates/server-configmap.yaml -s templates/server-job.yaml
  } >"rendered/$name.yaml.new"
  # All of it has to render.
  "${helm[@]}" template temporal "$chart" "${values[@]}" >/dev/null
  mv "rendered/$name.yaml.new" "rendered/$name.yaml"
}
render development values-development.yaml
render production values-production.yaml
render planetscale values-production.yaml values-planetscale.yaml
