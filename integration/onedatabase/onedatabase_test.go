package onedatabase

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const nothingToDo = "main: nothing to do\nvisibility: nothing to do\n"

// TestServers sets up each of the set-ups, and runs workflows on a server there until visibility shows them closed.
func TestServers(t *testing.T) {
	for name, s := range map[string]setup{
		"one keyspace": oneKeyspace, "two keyspaces": twoKeyspaces, "one database": oneDatabase, "two databases": twoDatabases,
	} {
		t.Run(name, func(t *testing.T) {
			s.create(t)
			out, err := s.tool(t, "setup-schema")
			require.NoError(t, err, out)
			assert.Contains(t, out, "the visibility store is set up at "+apply.Visibility.Newest())
			out, err = s.tool(t, "setup-schema")
			require.NoError(t, err, out)
			assert.Contains(t, out, "the main store is set up already at "+apply.Main.Newest())
			assert.Contains(t, out, "the visibility store is set up already at "+apply.Visibility.Newest())
			out, err = s.tool(t, "update-schema", "--dry-run")
			require.NoError(t, err, out)
			assert.Equal(t, nothingToDo, out)
			if !s.plain {
				for _, flags := range [][]string{nil, {"--vtctld", running.VTCtldAddr()}} {
					out, err = s.tool(t, append(flags, "vschema", "diff")...)
					require.NoError(t, err, out)
				}
			}

			main, visibility := s.stores()
			temporal, err := server.Start(t.Context(), server.Config{Main: main, Visibility: visibility, HistoryShards: 4})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, temporal.Stop()) })
			const namespace = "together"
			require.NoError(t, temporal.CreateNamespace(t.Context(), namespace))
			client, err := temporal.Dial(namespace)
			require.NoError(t, err)
			t.Cleanup(client.Close)
			target := kinds.Target{Client: client, Namespace: namespace, TaskQueue: "together"}
			worker := kinds.NewWorker(target)
			require.NoError(t, worker.Start())
			t.Cleanup(worker.Stop)
			for _, kind := range kinds.All() {
				if kind.Name != "activities" && kind.Name != "children" {
					continue
				}
				require.NoError(t, kind.Run(t.Context(), target, 0))
				require.NoError(t, kinds.AwaitVisible(t.Context(), target, kind.Leaves))
			}
			assert.Zero(t, temporal.Statements()["unknown"])
		})
	}
}

// verify is what a server asks of the schema at its start.
func (s setup) verify() error {
	main, visibility := s.stores()
	return persistencesql.VerifyCompatibleVersion(config.Persistence{
		DefaultStore: "main", VisibilityStore: "visibility",
		DataStores: map[string]config.DataStore{"main": {SQL: main}, "visibility": {SQL: visibility}},
	}, resolver.NewNoopResolver(), log.NewNoopLogger())
}

func TestAServerAsksForBothVersions(t *testing.T) {
	s := setup{main: "versions", visibility: "versions", plain: true}
	s.create(t)
	require.ErrorContains(t, s.verify(), "set them up with temporal-vitess-tool setup-schema")

	out, err := s.tool(t, "setup-schema", "--store", "main")
	require.NoError(t, err, out)
	require.ErrorContains(t, s.verify(), "database versions has no table executions_visibility: set up the visibility store in it with temporal-vitess-tool setup-schema --store visibility --visibility-keyspace versions")
	_, err = s.tool(t, "update-schema", "--store", "visibility")
	require.ErrorContains(t, err, "the visibility store is not set up: keyspace versions has none of its tables: run temporal-vitess-tool setup-schema")

	out, err = s.tool(t, "setup-schema", "--store", "visibility")
	require.NoError(t, err, out)
	require.NoError(t, s.verify())
	for name, newest := range map[string]string{"versions": apply.Main.Newest(), "versions/visibility": apply.Visibility.Newest()} {
		execute(t, "versions", "UPDATE schema_version SET curr_version = '1.2' WHERE db_name = '"+name+"'")
		require.ErrorContains(t, s.verify(), "bring the schema from 1.2 to "+newest+" with temporal-vitess-tool update-schema")
		execute(t, "versions", "UPDATE schema_version SET curr_version = '"+newest+"' WHERE db_name = '"+name+"'")
	}
}

// TestUpdate has both stores in one database as they were at older versions, with the same names of steps in the history.
func TestUpdate(t *testing.T) {
	s := setup{main: "older", visibility: "older", plain: true}
	s.create(t)
	for store, record := range map[apply.Store][2]string{apply.Main: {"1.2", "older"}, apply.Visibility: {"1.2", "older/visibility"}} {
		steps, err := apply.Steps(store, "0.0", record[0])
		require.NoError(t, err)
		for _, step := range steps {
			for _, statement := range step.Statements {
				execute(t, "older", statement.Text)
			}
		}
		versions, err := schema.Load(vschema.Visibility)
		require.NoError(t, err)
		execute(t, "older", versions.Statements[len(versions.Statements)-2:]...)
		execute(t, "older", "INSERT INTO schema_version (version_partition, db_name, curr_version) VALUES (0, '"+record[1]+"', '"+record[0]+"')")
	}
	out, err := s.tool(t, "update-schema")
	require.NoError(t, err, out)
	out, err = s.tool(t, "update-schema", "--dry-run")
	require.NoError(t, err, out)
	assert.Equal(t, nothingToDo, out)
	require.NoError(t, s.verify())

	_, addr, user := running.MySQL()
	db, err := cluster.Open(user, addr, "older")
	require.NoError(t, err)
	defer db.Close()
	var same int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM schema_update_history WHERE old_version = '1.2' AND new_version = '1.3'").Scan(&same))
	assert.Equal(t, 2, same, "the step of each store is in the history")
}

// TestEmittedFile has one file of SQL for both stores.
func TestEmittedFile(t *testing.T) {
	s := setup{main: "emitted", visibility: "emitted", plain: true}
	s.create(t)
	folder := t.TempDir()
	out, err := s.tool(t, "setup-schema", "--emit", folder)
	require.NoError(t, err)
	assert.Contains(t, out, "emitted.sql: 80 statements more\n")
	text, err := os.ReadFile(filepath.Join(folder, "emitted.sql"))
	require.NoError(t, err)
	parser, err := sqlparser.New(sqlparser.Options{})
	require.NoError(t, err)
	statements, err := parser.SplitStatementToPieces(string(text))
	require.NoError(t, err)
	execute(t, "emitted", statements...)
	out, err = s.tool(t, "setup-schema")
	require.NoError(t, err, out)
	assert.Contains(t, out, "the visibility store is set up already")
	require.NoError(t, s.verify())

	text, err = os.ReadFile(filepath.Join(folder, "emitted.vschema.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"executions_visibility": {}`)
	assert.NotContains(t, string(text), "sharded")
}

func TestWhatIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		setup     setup
		arguments []string
		says      string
	}{
		"several Vitess shards":     {setup{main: wide, visibility: wide}, []string{"setup-schema"}, "keyspace wide has 2 Vitess shards, but is to hold all of [temporal temporal_global temporal_visibility], some of whose tables exist once per cluster"},
		"no such database":          {setup{main: "nowhere", visibility: "nowhere", plain: true}, []string{"setup-schema"}, "a MySQL server answers, not a vtgate, and has no database nowhere, but "},
		"online DDL without vtgate": {setup{main: "nowhere", visibility: "nowhere", plain: true}, []string{"setup-schema", "--ddl-strategy", "vitess"}, "--ddl-strategy vitess is Vitess': a MySQL server answers, not a vtgate"},
		"VSchema without Vitess":    {setup{main: "nowhere", visibility: "nowhere", plain: true}, []string{"vschema", "apply"}, "a MySQL server answers, not a vtgate: check --endpoint and --port"},
		"vtctld without vtgate":     {setup{main: "nowhere", visibility: "nowhere", plain: true}, []string{"--vtctld", "localhost:1", "setup-schema"}, "--vtctld: a MySQL server answers at --endpoint and --port, not a vtgate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.setup.tool(t, test.arguments...)
			require.ErrorContains(t, err, test.says)
		})
	}
}
