package tool

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"
	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// setUp sets up the fresh keyspaces if no test has done so before.
func setUp(t *testing.T) {
	t.Helper()
	out, err := tool(t, fresh, "setup-schema")
	require.NoError(t, err, out)
}

func TestSetupSchemaLeavesASetupAlone(t *testing.T) {
	setUp(t)
	before := structure(t, "vt_fresh_-80")
	out, err := tool(t, fresh, "setup-schema")
	require.NoError(t, err)
	require.Equal(t, "the main store is set up already at "+apply.Main.Newest()+"; update-schema brings older ones to "+apply.Main.Newest()+"\n"+
		"the visibility store is set up already at "+apply.Visibility.Newest()+"; update-schema brings older ones to "+apply.Visibility.Newest()+"\n", out)
	out, err = tool(t, fresh, "update-schema", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
	require.Equal(t, before, structure(t, "vt_fresh_-80"))
	require.Empty(t, history(t, fresh+"_global"))
}

// TestUpdateSchemaInterruptedAtEachStatement breaks off before each statement of the way, after the statement has been
// applied to one Vitess shard by itself, where there are several.
func TestUpdateSchemaInterruptedAtEachStatement(t *testing.T) {
	fill(t, older)
	for _, store := range apply.Stores() {
		interruptions := interruptEach(t, older, store, func(state *apply.State) ([]apply.Action, error) { return apply.Update(state, "", false) })
		require.Greater(t, interruptions, 50, store)
	}
	requireFresh(t, older)
	requireData(t, older)
	main, visibility := history(t, older+"_global"), history(t, older+"_visibility")
	require.Len(t, main, 10)
	require.Equal(t, "1.9 -> 1.10", main[0])
	require.Len(t, visibility, 12)
	require.Equal(t, "1.2 -> 1.3", visibility[0])
}

func TestSetupSchemaInterruptedAtEachStatement(t *testing.T) {
	out, err := tool(t, interrupted, "vschema", "apply")
	require.NoError(t, err, out)
	for _, store := range apply.Stores() {
		require.Greater(t, interruptEach(t, interrupted, store, apply.Setup), 10)
	}
	requireFresh(t, interrupted)
	out, err = tool(t, interrupted, "setup-schema")
	require.NoError(t, err)
	require.Contains(t, out, "the visibility store is set up already")
}

var errInterrupted = errors.New("interrupted by the test")

// interruptEach runs a plan again and again, each time a statement further, and returns how often.
func interruptEach(t *testing.T, set string, store apply.Store, plan func(*apply.State) ([]apply.Action, error)) int {
	t.Helper()
	vitess := connect(t)
	for interruptions := 0; ; interruptions++ {
		require.Less(t, interruptions, 500, "each run has to get a statement further")
		ctx, cancel := context.WithCancelCause(t.Context())
		started := 0
		runner := &apply.Runner{Vitess: vitess, Keyspaces: names(set), Strategy: apply.DirectStrategy, Progress: func(action apply.Action, _ int) {
			if started++; started == 1 && (interruptions > 0) {
				return
			}
			vitessShards, err := vitess.VitessShards(ctx, action.Keyspace)
			require.NoError(t, err)
			if action.DDL && len(vitessShards) > 1 {
				require.NoError(t, vitess.On(ctx, action.Keyspace, vitessShards[interruptions%2], func(session *sql.Conn) error {
					_, err := session.ExecContext(ctx, action.SQL)
					return err
				}))
			}
			cancel(errInterrupted)
		}}
		err := runner.Run(ctx, store, plan)
		if err == nil {
			return interruptions
		}
		require.ErrorIs(t, context.Cause(ctx), errInterrupted, err)
	}
}

// connector reaches vtgate as the tool does.
func connector(t *testing.T) driver.Connector {
	t.Helper()
	return connectorTo(t, running)
}

func connectorTo(t *testing.T, to *cluster.Cluster) driver.Connector {
	t.Helper()
	connector, err := plugin.NewConnector(&config.SQL{ConnectAddr: to.VTGateAddr(), User: "tool"}, resolver.NewNoopResolver())
	require.NoError(t, err)
	return connector
}

// connect connects to vtgate and vtctld.
func connect(t *testing.T) *live.Vitess {
	t.Helper()
	vitess, err := live.Open(t.Context(), connector(t), running.VTCtldAddr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = vitess.Close() })
	return vitess
}

// cancelling ends a context when a text is written.
type cancelling struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.text)) {
		c.cancel()
	}
	return c.Buffer.Write(p)
}

func TestARefusedSetupLeavesTheVSchema(t *testing.T) {
	out, err := tool(t, refused, "setup-schema")
	require.ErrorContains(t, err, "that setup-schema did not create")
	require.NotContains(t, out, "applied")
}

func TestUpdateSchemaLeavesWhatTheOperatorAdded(t *testing.T) {
	recordVersions(t, refused, "1.9", "1.2")
	exec(t, refused, "ALTER TABLE executions ADD COLUMN tenant VARCHAR(64) AFTER shard_id, ADD KEY by_tenant (tenant), MODIFY COLUMN data LONGBLOB")
	out, err := tool(t, refused, "update-schema")
	require.NoError(t, err, out)
	for _, database := range databases(refused, vschema.Main) {
		table := structure(t, database)
		require.Contains(t, table, "executions column tenant")
		require.Contains(t, table, "executions index by_tenant: 1 tenant")
		require.Contains(t, table["executions column data"], "longblob, NO")
		require.Equal(t, "not unique, A, BTREE, YES", table["buffered_events index id: 5 id"], "upstream's indexes become those of a new set-up")
		require.Contains(t, table, "buffered_events index PRIMARY: 1 id")
	}
	out, err = tool(t, refused, "update-schema", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
}

func TestUpdateSchemaFromTheFirstVersion(t *testing.T) {
	recordVersions(t, first, "1.0", "1.0")
	exec(t, first+"_global", "INSERT INTO namespace_metadata (partition_id, notification_version) VALUES (1, 1)",
		"INSERT INTO cluster_metadata (metadata_partition, immutable_data, immutable_data_encoding) VALUES (0, 'x', 'Proto3')")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &cancelling{text: "main 1.7 -> 1.8", cancel: cancel}
	err := toolInto(ctx, out, running, first, "update-schema")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "the same command goes on from there")
	require.Equal(t, []string{"1.0 -> 1.1", "1.1 -> 1.2", "1.2 -> 1.3", "1.3 -> 1.4", "1.4 -> 1.5", "1.5 -> 1.6", "1.6 -> 1.7"}, history(t, first+"_global"))

	printed, err := tool(t, first, "update-schema", "--store", "main", "--version", "1.18")
	require.NoError(t, err, printed)
	require.Contains(t, printed, "main 1.7 -> 1.8: 1 of 3 statements (")
	require.Contains(t, printed, "the main store is at 1.18\n")
	_, err = tool(t, first, "update-schema", "--store", "main", "--version", "1.17")
	require.ErrorContains(t, err, "the main schema is at 1.18 already, and Temporal has no way back to 1.17")

	printed, err = tool(t, first, "update-schema")
	require.NoError(t, err, printed)
	require.Contains(t, printed, "the visibility store is at "+apply.Visibility.Newest())
	requireFresh(t, first)
}

func TestAServerNamesTheCommandThatItsSchemaNeeds(t *testing.T) {
	setUp(t)
	check := func(global string) error {
		host := func(database string, attributes map[string]string) config.DataStore {
			return config.DataStore{SQL: &config.SQL{PluginName: plugin.Name, DatabaseName: database, ConnectAddr: running.VTGateAddr(), ConnectProtocol: "tcp", User: "temporal", ConnectAttributes: attributes}}
		}
		return persistencesql.VerifyCompatibleVersion(config.Persistence{
			DefaultStore:    "main",
			VisibilityStore: "visibility",
			DataStores: map[string]config.DataStore{
				"main":       host(fresh, map[string]string{"vitess_global_keyspace": global}),
				"visibility": host(fresh+"_visibility", nil),
			},
		}, resolver.NewNoopResolver(), log.NewNoopLogger())
	}
	require.NoError(t, check(fresh+"_global"))
	require.ErrorContains(t, check(dry+"_global"), "if the keyspaces are new, set them up with temporal-vitess-tool setup-schema")

	const set = "UPDATE schema_version SET curr_version = '%s' WHERE version_partition = 0 AND db_name = '" + fresh + "'"
	exec(t, fresh+"_global", fmt.Sprintf(set, "1.9"))
	defer exec(t, fresh+"_global", fmt.Sprintf(set, apply.Main.Newest()))
	require.ErrorContains(t, check(fresh+"_global"), "bring the schema from 1.9 to "+apply.Main.Newest()+" with temporal-vitess-tool update-schema")
}

func TestWhatIsEmittedIsTheSetup(t *testing.T) {
	folder := t.TempDir()
	out, err := tool(t, emitted, "setup-schema", "--emit", folder)
	require.NoError(t, err, out)
	applyByHand(t, folder, emitted)
	requireFresh(t, emitted)
	out, err = tool(t, emitted, "update-schema", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
}

func TestWhatIsEmittedIsTheUpdate(t *testing.T) {
	fill(t, olderByHand)
	folder := t.TempDir()
	out, err := tool(t, olderByHand, "--vtctld", running.VTCtldAddr(), "update-schema", "--emit", folder)
	require.NoError(t, err, out)
	applyByHand(t, folder, olderByHand)
	requireFresh(t, olderByHand)
	requireData(t, olderByHand)
	require.Len(t, history(t, olderByHand+"_global"), 10)
	out, err = tool(t, olderByHand, "update-schema", "--dry-run")
	require.NoError(t, err)
	require.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
}

// applyByHand applies a folder's VSchemas through vtctld, as vtctldclient ApplyVSchema does, then its SQL statement by
// statement through vtgate, as any client of MySQL can.
func applyByHand(t *testing.T, folder, set string) {
	t.Helper()
	vitess := connect(t)
	for _, role := range vschema.Roles() {
		keyspace := names(set)[role]
		text, err := os.ReadFile(filepath.Join(folder, keyspace+".vschema.json"))
		if errors.Is(err, os.ErrNotExist) {
			continue // has all tables
		}
		require.NoError(t, err)
		var placement vschemapb.Keyspace
		require.NoError(t, json2.UnmarshalPB(text, &placement))
		_, err = vitess.VTCtld.ApplyVSchema(t.Context(), &vtctldatapb.ApplyVSchemaRequest{Keyspace: keyspace, VSchema: &placement, Strict: true})
		require.NoError(t, err)
	}
	parser, err := sqlparser.New(sqlparser.Options{})
	require.NoError(t, err)
	for _, role := range vschema.Roles() {
		keyspace := names(set)[role]
		text, err := os.ReadFile(filepath.Join(folder, keyspace+".sql"))
		require.NoError(t, err)
		statements, err := parser.SplitStatementToPieces(string(text))
		require.NoError(t, err)
		exec(t, keyspace, statements...)
	}
}

func TestUpdateSchemaEmitsWithoutAConnection(t *testing.T) {
	folder := t.TempDir()
	out, err := tool(t, "nowhere", "--endpoint", "nowhere.invalid", "update-schema", "--store", "visibility", "--from-version", "1.12", "--emit", folder)
	require.NoError(t, err)
	require.Contains(t, out, "nowhere_visibility.sql: 10 statements\n")
	text, err := os.ReadFile(filepath.Join(folder, "nowhere_visibility.sql"))
	require.NoError(t, err)
	require.Contains(t, string(text), "-- visibility 1.12 -> 1.13\n\nALTER TABLE executions_visibility\n")
	require.Contains(t, string(text), "VALUES (0, 'nowhere_visibility', UTC_TIMESTAMP(6), '1.14', '0.1')")
	require.Contains(t, out, "see temporal-vitess-tool vschema apply --emit")
	require.NoFileExists(t, filepath.Join(folder, "nowhere_visibility.vschema.json"), "it would replace the vindexes of the live keyspace")
}

func TestRefusals(t *testing.T) {
	setUp(t)
	recordVersions(t, flat, "1.9", "1.2")
	exec(t, unsharded, "CREATE TABLE invoices (id BIGINT PRIMARY KEY)")
	for name, test := range map[string]struct {
		set       string
		arguments []string
		says      string
	}{
		"missing keyspace":            {"nowhere", []string{"setup-schema"}, "there is no keyspace nowhere, there are"},
		"missing keyspace, update":    {"nowhere", []string{"update-schema"}, "there is no keyspace nowhere, there are"},
		"unsharded where sharded":     {unsharded, []string{"setup-schema"}, "keyspace unsharded is unsharded and has tables of others"},
		"unsharded with Temporal's":   {flat, []string{"update-schema"}, "keyspace flat is unsharded in its VSchema, but holds tables that have to be sharded"},
		"sharded where unsharded":     {fresh, []string{"--global-keyspace", emitted, "setup-schema"}, "has 2 Vitess shards, but its tables exist once per cluster"},
		"nothing to update":           {unsharded, []string{"update-schema"}, "the main store is not set up: keyspace unsharded has none of its tables: run temporal-vitess-tool setup-schema"},
		"version unknown":             {fresh, []string{"update-schema", "--store", "main", "--version", "1.5.5"}, `there is no version "1.5.5" of the main schema: there are 1.0,`},
		"version newer than the tool": {fresh, []string{"update-schema", "--store", "main", "--version", "9.0"}, "version 9.0 of the main schema is newer than this tool"},
		"version of which store":      {fresh, []string{"update-schema", "--version", "1.5"}, "--version needs --store main or visibility"},
		"version without files":       {fresh, []string{"update-schema", "--store", "main", "--from-version", "1.5"}, "--from-version needs --emit"},
		"no such store":               {fresh, []string{"setup-schema", "--store", "both"}, `--store is "both", but has to be main, visibility or all`},
		"no such strategy":            {fresh, []string{"setup-schema", "--ddl-strategy", "mysql"}, `--ddl-strategy: "mysql" is none of direct, vitess, online`},
		"strategy that waits":         {fresh, []string{"setup-schema", "--ddl-strategy", "vitess --postpone-completion"}, "--ddl-strategy: \"vitess --postpone-completion\": a migration that waits for a command"},
		"neither":                     {fresh, []string{"setup-schema", "--dry-run", "--emit", "x"}, "--dry-run and --emit exclude each other"},
		"version of another database": {fresh, []string{"--keyspace", emitted + "_visibility", "--global-keyspace", fresh + "_global", "--visibility-keyspace", emitted, "update-schema"}, "has no version for database emitted_visibility, but map[fresh:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tool(t, test.set, test.arguments...)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestAVersionThatIsNewerThanTheTool(t *testing.T) {
	setUp(t)
	const set = "UPDATE schema_version SET curr_version = '%s' WHERE version_partition = 0 AND db_name = 'fresh'"
	exec(t, fresh+"_global", fmt.Sprintf(set, "99.0"))
	defer exec(t, fresh+"_global", fmt.Sprintf(set, apply.Main.Newest()))
	_, err := tool(t, fresh, "update-schema")
	require.ErrorContains(t, err, "version 99.0 of the main schema is newer than this tool")
}

func TestDryRunChangesNothing(t *testing.T) {
	out, err := tool(t, dry, "setup-schema", "--dry-run")
	require.NoError(t, err, out)
	require.Contains(t, out, "VSchema of keyspace dry:\n")
	require.Contains(t, out, "main 0 -> "+apply.Main.Newest()+": 1 of")
	require.Contains(t, out, ", keyspace dry, all Vitess shards\n  CREATE TABLE")
	for _, role := range vschema.Roles() {
		for _, database := range databases(names(dry)[role], role) {
			require.Empty(t, structure(t, database))
		}
	}
	require.False(t, strings.Contains(out, "only Vitess shards"))
}
