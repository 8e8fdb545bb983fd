package migrate

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
)

var vitessVersion = Check{
	Name:   "vitess-version",
	Title:  "vtgate and all primaries run Vitess 24.0.3 or newer",
	Why:    "Older ones have defects in VReplication with JSON, in VDiff and in batches of inserts.",
	Fix:    "Upgrade Vitess first.",
	Before: []Command{Start},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		var comment string
		if err := i.Vitess.DB.QueryRowContext(ctx, "SELECT @@version_comment").Scan(&comment); err != nil {
			return err
		}
		versions := map[string]string{"vtgate": comment}
		sources, targets := i.keyspaces()
		for _, keyspace := range append(sources, targets...) {
			primaries, err := i.primaries(ctx, keyspace)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				response, err := i.Vitess.VTCtld.GetVersion(ctx, &vtctldatapb.GetVersionRequest{TabletAlias: on.Alias})
				if err != nil {
					seen.note("%s: vtctld cannot ask its vttablet: %v", on, err)
					continue
				}
				versions[on.String()] = response.Version
			}
		}
		var silent []string
		for _, of := range slices.Sorted(maps.Keys(versions)) {
			old, err := isOld(versions[of])
			if err != nil { // a build of one's own does not tell
				silent = append(silent, of)
			} else if old {
				seen.problem("%s: %s", of, versions[of])
			}
		}
		if len(silent) > 0 {
			seen.note("%s do not tell their version", strings.Join(silent, ", "))
		}
		return nil
	},
}

// oldest is the first version that will do.
var oldest = [3]int{24, 0, 3}

var versionPattern = regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)`)

// isOld reports whether the version in a text is before the oldest that will do.
func isOld(text string) (bool, error) {
	parts := versionPattern.FindStringSubmatch(text)
	if parts == nil {
		return false, fmt.Errorf("%q has no version", text)
	}
	for i, least := range oldest {
		if number, _ := strconv.Atoi(parts[i+1]); number != least {
			return number < least, nil
		}
	}
	return false, nil
}
