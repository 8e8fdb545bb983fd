package migrate

import (
	"context"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/schema"
)

var tables = Check{
	Name:   "tables",
	Title:  "what the sources' tables are is known",
	Why:    "Tables that are not Temporal's stay where they are. They may be left-overs of an old schema, or somebody's.",
	Fix:    "Nothing, if they may stay.",
	Before: []Command{Start},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		sources, _ := i.keyspaces()
		for _, source := range sources {
			all, err := i.sourceTables(ctx, source)
			if err != nil {
				return err
			}
			var others []string
			for _, table := range all {
				moves := slices.ContainsFunc(i.states, func(s State) bool { return s.Source == source && s.has(table) })
				if !moves && !versionTable(table) && !schema.IsInternalOperationTableName(table) {
					others = append(others, table)
				}
			}
			if len(others) > 0 {
				seen.note("%s: %s stay", source, strings.Join(others, ", "))
			}
		}
		return nil
	},
}
