package migrate

import (
	"context"
	"strings"
)

var buffering = Check{
	Name:   "buffering",
	Title:  "vtgate holds statements during a switch",
	Why:    "Without, writes fail for as long as a switch takes, instead of waiting.",
	Fix:    "Start every vtgate with --enable-buffer. Tell this check their status pages (--vtgate-http).",
	Before: []Command{Switch, Reverse},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		if len(i.VTGateHTTP) == 0 {
			seen.problem("only the vtgates' status pages tell: give --vtgate-http")
		}
		for _, vtgate := range i.VTGateHTTP {
			var vars struct {
				CommandLine []string `json:"cmdline"`
			}
			if err := readPage(ctx, vtgate, "/debug/vars", &vars); err != nil {
				return err
			}
			if !enablesBuffer(vars.CommandLine) {
				seen.problem("vtgate %s: its command line has no --enable-buffer", vtgate)
			}
		}
		return nil
	},
}

// enablesBuffer reports whether flags switch buffering on, in either spelling. The last one counts.
func enablesBuffer(flags []string) bool {
	on := false
	for _, flag := range flags {
		name, value, given := strings.Cut(strings.ReplaceAll(strings.TrimLeft(flag, "-"), "_", "-"), "=")
		if name == "enable-buffer" {
			on = !given || value == "true"
		}
	}
	return on
}
