package migrate

import (
	"context"
	"fmt"
	"strings"

	"vitess.io/vitess/go/sqltypes"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/topo/topoproto"
)

var rights = Check{
	Name:   "rights",
	Title:  "vttablet's users may do on the source what the move takes",
	Why:    "Copying and switching succeed without the right to write; then the streams back fail, and say that they run. Without LOCK TABLES a switch fails, without REPLICATION … the copying.",
	Fix:    "GRANT SELECT, INSERT, UPDATE, DELETE, LOCK TABLES on the database, ALL on the sidecar database (_vt), SELECT on performance_schema.*, REPLICATION CLIENT and REPLICATION SLAVE on *.* to each of vttablet's users; `migrate attach` prints the statements.",
	Before: []Command{Start},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			primaries, err := i.primaries(ctx, state.Source)
			if err != nil {
				return err
			}
			sidecar, err := i.sidecar(ctx, state.Source)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				if err := i.tryRights(ctx, on, state.Tables[0], sidecar, seen); err != nil {
					return err
				}
			}
		}
		return nil
	},
}

// sidecar is the name of a keyspace's database for Vitess' own tables.
func (m *Migration) sidecar(ctx context.Context, keyspace string) (string, error) {
	response, err := m.Vitess.VTCtld.GetKeyspace(ctx, &vtctldatapb.GetKeyspaceRequest{Keyspace: keyspace})
	if err != nil {
		return "", fmt.Errorf("keyspace %s: %w", keyspace, err)
	}
	if name := response.Keyspace.Keyspace.GetSidecarDbName(); name != "" {
		return name, nil
	}
	return "_vt", nil
}

// tryRights executes what changes nothing, but is refused without the right.
func (i *inspection) tryRights(ctx context.Context, on primary, table, sidecar string, seen *seen) error {
	columns, err := i.column(ctx, on, "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '"+table+"' AND generation_expression = ''")
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return fmt.Errorf("%s: table %s cannot be read", on, table)
	}
	list := "`" + strings.Join(columns, "`, `") + "`"
	qualified := "`" + topoproto.TabletDbName(on.Tablet) + "`.`" + table + "`"
	both := map[string]string{
		"INSERT": "INSERT INTO " + qualified + " (" + list + ") SELECT " + list + " FROM " + qualified + " WHERE FALSE",
		"UPDATE": "UPDATE " + qualified + " SET `" + columns[0] + "` = `" + columns[0] + "` WHERE FALSE",
		"DELETE": "DELETE FROM " + qualified + " WHERE FALSE",
	}
	for _, user := range []struct {
		name    string
		execute func(context.Context, primary, string) (*sqltypes.Result, error)
	}{{"--db-app-user", i.app}, {"--db-dba-user", i.dba}} {
		for _, right := range []string{"INSERT", "UPDATE", "DELETE"} {
			if _, err := user.execute(ctx, on, both[right]); err != nil {
				seen.problem("%s: %s (%s): %v", on, right, user.name, err)
			}
		}
	}
	for _, try := range []struct {
		right      string
		statements []string // of which one has to succeed
	}{
		// A table that nobody writes to: the others' transactions would have to be waited for.
		{"LOCK TABLES", []string{"LOCK TABLES `" + topoproto.TabletDbName(on.Tablet) + "`.schema_version READ"}},
		{"REPLICATION CLIENT", []string{"SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"}},
		{"REPLICATION SLAVE", []string{"SHOW REPLICAS", "SHOW SLAVE HOSTS"}},
		{"SELECT on performance_schema", []string{"SELECT 1 FROM performance_schema.replication_connection_configuration LIMIT 1"}},
		{"ALL on " + sidecar, []string{"DELETE FROM `" + sidecar + "`.vreplication WHERE FALSE"}},
	} {
		var last error
		for _, statement := range try.statements {
			if _, last = i.dba(ctx, on, statement); last == nil {
				break
			}
		}
		if last != nil {
			seen.problem("%s: %s (--db-dba-user): %v", on, try.right, last)
		}
	}
	return nil
}
