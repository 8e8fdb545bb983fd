package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const startTimeout = 5 * time.Minute

// A set of keyspaces is named after the one of the main store. The sharded ones have two Vitess shards.
const (
	fresh       = "fresh"       // empty; the tool sets it up
	emitted     = "emitted"     // empty; what the tool writes is applied by hand
	interrupted = "interrupted" // empty
	deadlocked  = "deadlocked"  // empty
	dry         = "dry"         // empty, and stays so
	older       = "older"       // at main 1.9 and visibility 1.2
	olderByHand = "olderbyhand" // the same
	first       = "first"       // at 1.0
	refused     = "refused"     // at main 1.9 and visibility 1.2, with no version recorded
	flat        = "flat"        // at main 1.9, unsharded in its VSchema
	unsharded   = "unsharded"   // with tables in a VSchema that says unsharded
)

var running *cluster.Cluster

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var keyspaces []cluster.Keyspace
	for _, set := range []string{fresh, emitted, interrupted, deadlocked, dry} {
		for _, role := range vschema.Roles() {
			keyspaces = append(keyspaces, cluster.Keyspace{Name: names(set)[role], Shards: shards(role)})
		}
	}
	for set, versions := range map[string][2]string{older: {"1.9", "1.2"}, olderByHand: {"1.9", "1.2"}, first: {"1.0", "1.0"}, refused: {"1.9", "1.2"}} {
		at, err := keyspacesAt(set, versions[0], versions[1])
		if err != nil {
			return 0, err
		}
		keyspaces = append(keyspaces, at...)
	}
	together, err := keyspacesAt(flat, "1.9", "1.2")
	if err != nil {
		return 0, err
	}
	together[0].Shards, together[0].VSchema = 1, []byte(`{"tables": {"shards": {}, "executions": {}}}`)
	keyspaces = append(keyspaces, together...)
	keyspaces = append(keyspaces,
		cluster.Keyspace{Name: unsharded, Shards: 1, VSchema: []byte(`{"tables": {"invoices": {}}}`)},
		cluster.Keyspace{Name: unsharded + "_global", Shards: 1},
		cluster.Keyspace{Name: unsharded + "_visibility", Shards: 2},
	)
	if running, err = cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces}); err != nil {
		return 0, err
	}
	code = m.Run()
	return code, running.Stop()
}

func names(set string) map[vschema.Role]string {
	return map[vschema.Role]string{vschema.Main: set, vschema.Global: set + "_global", vschema.Visibility: set + "_visibility"}
}

func shards(role vschema.Role) int {
	if role == vschema.Global {
		return 1
	}
	return 2
}

// keyspacesAt are keyspaces as upstream's tool leaves them at a version, with a VSchema that has no table of a later one.
func keyspacesAt(set, main, visibility string) ([]cluster.Keyspace, error) {
	ddl := map[vschema.Role][]string{}
	for store, version := range map[apply.Store]string{apply.Main: main, apply.Visibility: visibility} {
		steps, err := apply.Steps(store, "0.0", version)
		if err != nil {
			return nil, err
		}
		for _, step := range steps {
			for _, statement := range step.Statements {
				ddl[statement.Role] = append(ddl[statement.Role], statement.Text)
			}
		}
	}
	// As upstream has it.
	ddl[vschema.Main] = append(ddl[vschema.Main], "ALTER TABLE buffered_events DROP PRIMARY KEY, DROP KEY id, ADD PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, id), ADD UNIQUE KEY id (id)")
	var keyspaces []cluster.Keyspace
	for _, role := range vschema.Roles() {
		all, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		for _, text := range all.Statements {
			if strings.HasPrefix(text, "CREATE TABLE IF NOT EXISTS schema_") {
				ddl[role] = append(ddl[role], text)
			}
		}
		placement, err := vschema.JSON(role, vschema.ProfileNamespace)
		if err != nil {
			return nil, err
		}
		var keyspace map[string]json.RawMessage
		if err := json.Unmarshal(placement, &keyspace); err != nil {
			return nil, err
		}
		var tables map[string]json.RawMessage
		if err := json.Unmarshal(keyspace["tables"], &tables); err != nil {
			return nil, err
		}
		maps.DeleteFunc(tables, func(table string, _ json.RawMessage) bool { return !created(ddl[role], table) })
		if keyspace["tables"], err = json.Marshal(tables); err != nil {
			return nil, err
		}
		if placement, err = json.Marshal(keyspace); err != nil {
			return nil, err
		}
		keyspaces = append(keyspaces, cluster.Keyspace{Name: names(set)[role], Shards: shards(role), VSchema: placement, DDL: ddl[role]})
	}
	return keyspaces, nil
}

// created tells whether one of the statements creates a table.
func created(statements []string, table string) bool {
	for _, text := range statements {
		parsed, err := schema.Parse(text)
		if err != nil {
			continue
		}
		if create, ok := parsed.(*sqlparser.CreateTable); ok && create.Table.Name.String() == table {
			return true
		}
	}
	return false
}

// tool runs a command on a set of keyspaces, through vtgate alone, and returns what it printed.
func tool(t *testing.T, set string, arguments ...string) (string, error) {
	t.Helper()
	return toolAt(t, running, set, arguments...)
}

func toolAt(t *testing.T, at *cluster.Cluster, set string, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := toolInto(t.Context(), &out, at, set, arguments...)
	return out.String(), err
}

func toolInto(ctx context.Context, out io.Writer, at *cluster.Cluster, set string, arguments ...string) error {
	host, port, err := net.SplitHostPort(at.VTGateAddr())
	if err != nil {
		return err
	}
	app := command.New()
	app.Writer, app.ErrWriter = out, out
	return app.RunContext(ctx, append([]string{"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", "tool", "--keyspace", set}, arguments...))
}
