package migrate

import (
	"context"
	"fmt"
	"strings"

	temporalschema "github.com/temporal-vitess/temporal-vitess/schema"
)

var columns = Check{
	Name:   "columns",
	Title:  "the source's schema is of this version",
	Why:    "Rows go from one side to the other column by column: with another schema version there, the streams fail, or lose what a column holds.",
	Fix:    "Bring the source to the version first (temporal-sql-tool update-schema), and change no schema before the migration is complete. Take the tool of the servers' version.",
	Before: []Command{Start},
	Final:  true,
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			wanted := map[string]string{}
			for _, role := range state.Roles {
				keyspace, err := temporalschema.Load(role)
				if err != nil {
					return err
				}
				for _, table := range keyspace.Tables {
					var names []string
					for _, column := range table.Columns {
						names = append(names, column.Name)
					}
					wanted[table.Name] = sortedList(names)
				}
			}
			primaries, err := i.primaries(ctx, state.Source)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				rows, err := i.dba(ctx, on, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()")
				if err != nil {
					return err
				}
				found := map[string][]string{}
				for _, row := range rows.Rows {
					table := row[0].ToString()
					found[table] = append(found[table], row[1].ToString())
				}
				for _, table := range state.Tables {
					if has := sortedList(found[table]); !strings.EqualFold(has, wanted[table]) {
						seen.problem("%s: table %s has the columns %s, and should have %s", on, table, has, wanted[table])
					}
				}
			}
		}
		return i.checkVersions(ctx, seen)
	},
}

// checkVersions compares what the sources record as their schema's version.
func (i *inspection) checkVersions(ctx context.Context, seen *seen) error {
	return i.eachSource(ctx, func(on primary) error {
		tables, err := i.column(ctx, on, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'schema_version'")
		if err != nil || len(tables) == 0 {
			return err
		}
		rows, err := i.dba(ctx, on, "SELECT db_name, curr_version FROM schema_version")
		if err != nil {
			return err
		}
		var recorded []string
		for _, row := range rows.Rows {
			switch version := row[1].ToString(); version {
			case temporalschema.MainVersion, temporalschema.VisibilityVersion:
				return nil
			default:
				recorded = append(recorded, fmt.Sprintf("%s at %s", row[0].ToString(), version))
			}
		}
		if len(recorded) > 0 {
			seen.problem("%s: schema_version has %s, and not %s or %s (visibility)", on, strings.Join(recorded, ", "), temporalschema.MainVersion, temporalschema.VisibilityVersion)
		}
		return nil
	})
}
