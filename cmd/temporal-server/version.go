package main

import (
	"fmt"
	"runtime/debug"

	"go.temporal.io/server/common/headers"
)

// release names the source this program was built from, as `git describe` does. scripts/images.sh sets it with
// -ldflags "-X main.release=…"; without it the module version that the go command records is shown.
var release string

// version is upstream's version, so that it compares as upstream's does, followed by ours and that of Vitess' SQL parser.
func version() string {
	ours, vitess := release, "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if ours == "" {
			ours = info.Main.Version
		}
		for _, dependency := range info.Deps {
			if dependency.Path == "vitess.io/vitess" {
				vitess = dependency.Version
			}
		}
	}
	return fmt.Sprintf("%s (temporal-vitess %s, vitess %s)", headers.ServerVersion, ours, vitess)
}
