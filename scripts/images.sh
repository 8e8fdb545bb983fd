# What the scripts that build images share; they source it from the root of the checkout.

export GOTOOLCHAIN=auto CGO_ENABLED=0
engine=${ENGINE:-docker}
platform=${PLATFORM:-linux/$(go env GOARCH)}
architecture=${platform#linux/}

say() { printf '==> %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

case $platform in
  linux/amd64 | linux/arm64) ;;
  *) die "PLATFORM=$platform: there are images for linux/amd64 and linux/arm64" ;;
esac
"$engine" info >/dev/null 2>&1 || die "no container engine answers to \`$engine info\`: start Docker, or name another with ENGINE=podman"

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
revision=$(git rev-parse HEAD)
release=$(git describe --tags --always --dirty)

# build_server FOLDER: the server and the tool; static, with the build tag of upstream's release, and the same bytes wherever the
# checkout is. Time zones are embedded in the server (time/tzdata).
build_server() {
  say "building temporal-server and temporal-vitess-tool for $platform"
  GOOS=linux GOARCH=$architecture go build -trimpath -buildvcs=false -tags disable_grpc_modules \
    -ldflags "-s -w -X main.release=$release" -o "$1/" ./cmd/temporal-server ./cmd/temporal-vitess-tool
}

# build_image TAG DOCKERFILE CONTEXT [OPTION...]
build_image() {
  local tag=$1 file=$2 context=$3 options=(--quiet --platform "$platform")
  shift 3
  # Podman's own format has no HEALTHCHECK.
  if [[ $(basename "$engine") == podman ]]; then options+=(--format docker); fi
  say "building $tag with $engine"
  # BuildKit would attach a statement on how the image was built, which is another one each time.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 "$engine" build "${options[@]}" --tag "$tag" --file "$file" \
    --build-arg VERSION="$release" --build-arg REVISION="$revision" --build-arg CREATED="$(date -u -d "@$epoch" +%FT%TZ)" \
    "$@" "$context" >/dev/null
}

report() { # report TAG
  say "$("$engine" image inspect --format "$1, {{.Os}}/{{.Architecture}}, {{.Size}} bytes, {{.Id}}" "$1")"
}
