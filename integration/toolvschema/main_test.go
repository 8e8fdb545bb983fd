package toolvschema

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
)

const startTimeout = 5 * time.Minute

// sets are sets of new keyspaces, named after the one of the main store: one for each test that changes them. The sharded
// ones have 2 Vitess shards.
var sets = []string{"vtctld", "vtgate", "others", "emitted", "planned", "spread", "shared", "tables", "ahead", "rest", "one", "two", "three", "four"}

// withRows is a set whose main keyspace has a table.
const withRows = "filled"

// quoted are sets with names that have to be quoted in SQL, and one with upper case: the keyspaces of the main store, those that exist
// once per cluster, and those of visibility.
var quoted = [][3]string{{"temporal-prod", "temporal-prod_global", "temporal-prod_visibility"}, {"select", "Temporal_Once", "8visibility"}}

// running is the Vitess of the tests. Its users may change a VSchema.
var running *cluster.Cluster

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var keyspaces []cluster.Keyspace
	for _, set := range sets {
		keyspaces = append(keyspaces, newKeyspaces(set)...)
	}
	for _, set := range quoted {
		keyspaces = append(keyspaces, cluster.Keyspace{Name: set[0], Shards: 2}, cluster.Keyspace{Name: set[1], Shards: 1}, cluster.Keyspace{Name: set[2], Shards: 2})
	}
	keyspaces = append(keyspaces, newKeyspaces(withRows)...)
	keyspaces[len(keyspaces)-3].DDL = []string{"CREATE TABLE shards (shard_id INT NOT NULL PRIMARY KEY)"}
	var err error
	running, err = cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces, VTComboFlags: []string{"--vschema-ddl-authorized-users=%"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := running.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newKeyspaces are a set, the main store's sharded keyspace first.
func newKeyspaces(set string) []cluster.Keyspace {
	return []cluster.Keyspace{
		{Name: set, Shards: 2},
		{Name: set + "_global", Shards: 1},
		{Name: set + "_visibility", Shards: 2},
	}
}

// tool runs a command on the keyspaces of a set and returns what it printed. It may be called from a cleanup.
func tool(t *testing.T, on *cluster.Cluster, set string, arguments ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(on.VTGateAddr())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	err = app.RunContext(context.WithoutCancel(t.Context()), append([]string{"temporal-vitess-tool", "--endpoint", host, "--port", port, "--keyspace", set}, arguments...))
	return out.String(), err
}

// throughVTCtld is a command that reaches vtctld.
func throughVTCtld(arguments ...string) []string {
	return append([]string{"--vtctld", running.VTCtldAddr()}, arguments...)
}

// execute sends statements to vtgate, as an operator might. It may be called from a cleanup.
//
// vtgate writes what it serves of all keyspaces with each ALTER VSCHEMA, and may have gone back meanwhile to what its watch
// of the topology shows, which comes later: a statement for one keyspace may so undo the last one for another, until it is
// rebuilt (VSchemaManager.UpdateVSchema of Vitess 0.24). What was changed is in the topology in any case.
func execute(t *testing.T, statements ...string) {
	t.Helper()
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", running.VTGateAddr()
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	vtgate := sql.OpenDB(connector)
	defer vtgate.Close()
	for _, statement := range statements {
		_, err := vtgate.ExecContext(context.WithoutCancel(t.Context()), statement)
		require.NoError(t, err, statement)
	}
	changed := map[string]bool{}
	for _, statement := range statements {
		if match := alterVSchema.FindStringSubmatch(statement); match != nil {
			changed[match[1]] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	vitess := connect(t)
	_, err = vitess.VTCtld.RebuildVSchemaGraph(ctx, &vtctldatapb.RebuildVSchemaGraphRequest{})
	require.NoError(t, err)
	for keyspace := range changed {
		topology, err := vitess.VTCtld.GetVSchema(ctx, &vtctldatapb.GetVSchemaRequest{Keyspace: keyspace})
		require.NoError(t, err)
		// That a name of the tool's is left behind is not seen in what is served.
		delete(topology.VSchema.Vindexes, left)
		delete(topology.VSchema.Tables, left)
		require.Eventually(t, func() bool {
			served, err := vitess.ServedVSchema(ctx, keyspace)
			return assert.NoError(t, err) && len(compare.Served(served, topology.VSchema)) == 0
		}, time.Minute, 50*time.Millisecond, keyspace)
	}
}

// alterVSchema matches a change of a VSchema, and the keyspace's name in it.
var alterVSchema = regexp.MustCompile(`^ALTER VSCHEMA .*?(\w+)\.\w`)
