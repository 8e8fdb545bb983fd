package apply

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

var keyspaceNames = map[vschema.Role]string{
	vschema.Main:       "temporal",
	vschema.Global:     "temporal_global",
	vschema.Visibility: "temporal_visibility",
}

// inMemory is a store whose sharded keyspace has two Vitess shards, with what Steps leaves at a version.
func inMemory(t *testing.T, store Store, version string) *State {
	t.Helper()
	state := &State{Store: store, Keyspaces: keyspaceNames, shards: map[vschema.Role][]*shard{}, versions: map[string]string{}, history: map[string]bool{}}
	env, err := environment()
	require.NoError(t, err)
	steps, err := Steps(store, "0.0", version)
	require.NoError(t, err)
	for _, role := range store.Roles() {
		names := []string{"-80", "80-"}
		if role == vschema.Global {
			names = []string{"0"}
		}
		for _, name := range names {
			s := &shard{name: name, tables: map[string]table{}, rows: map[string]bool{}}
			if role == store.versions() {
				tables, _, err := newest(env, role)
				require.NoError(t, err)
				s.tables["schema_version"], s.tables["schema_update_history"] = tables["schema_version"], tables["schema_update_history"]
			}
			for _, step := range steps {
				for _, statement := range step.Statements {
					if statement.Role == role {
						require.NoError(t, s.apply(env, statement.Text))
					}
				}
			}
			state.shards[role] = append(state.shards[role], s)
		}
	}
	state.versions[keyspaceNames[store.database()]] = version
	return state
}

// lines are the columns of a table in order, then the indexes, whose order does not matter.
func lines(t table) []string {
	var columns, indexes []string
	for _, column := range t.TableSpec.Columns {
		columns = append(columns, sqlparser.CanonicalString(column))
	}
	for _, index := range t.TableSpec.Indexes {
		indexes = append(indexes, sqlparser.CanonicalString(index))
	}
	slices.Sort(indexes)
	return append(columns, indexes...)
}

func TestEveryStatementOfUpstreamIsUnderstood(t *testing.T) {
	for _, store := range Stores() {
		steps, err := Steps(store, "0.0", "")
		require.NoError(t, err)
		require.Equal(t, store.Newest(), steps[len(steps)-1].To)
		for _, step := range steps {
			require.NotEmpty(t, step.Statements)
			require.NotEmpty(t, step.ManifestMD5)
		}
	}
}

func TestFromEachVersionToTheTablesOfANewSetup(t *testing.T) {
	for _, store := range Stores() {
		known, err := Versions(store)
		require.NoError(t, err)
		for _, version := range known {
			t.Run(string(store)+" "+version, func(t *testing.T) {
				state := inMemory(t, store, version)
				_, err := Update(state, "", false)
				require.NoError(t, err)
				env, err := environment()
				require.NoError(t, err)
				for _, role := range store.Roles() {
					want, _, err := newest(env, role)
					require.NoError(t, err)
					for _, s := range state.shards[role] {
						require.Len(t, s.tables, len(want))
						for name := range want {
							require.Equal(t, lines(want[name]), lines(s.tables[name]))
						}
					}
				}
			})
		}
	}
}

func TestWhatTheOperatorAddedStays(t *testing.T) {
	for _, keepColumns := range []bool{false, true} {
		state := inMemory(t, Main, Main.Newest())
		_, err := Update(state, "", keepColumns)
		require.NoError(t, err)
		env, err := environment()
		require.NoError(t, err)
		for _, s := range state.shards[vschema.Main] {
			require.NoError(t, s.apply(env, "ALTER TABLE executions ADD COLUMN first INT FIRST, ADD COLUMN tenant VARCHAR(64) AFTER shard_id, ADD COLUMN region VARCHAR(64), ADD KEY by_region (region)"))
			require.NoError(t, s.apply(env, "ALTER TABLE executions MODIFY COLUMN data LONGBLOB NOT NULL, MODIFY COLUMN data_encoding VARCHAR(64) NOT NULL"))
		}
		actions, err := Update(state, "", keepColumns)
		require.NoError(t, err)
		require.Empty(t, actions)
	}
}

func TestKeepingColumnsChangesIndexesOnly(t *testing.T) {
	state := inMemory(t, Main, "1.9")
	env, err := environment()
	require.NoError(t, err)
	for _, s := range state.shards[vschema.Main] { // as upstream has it
		require.NoError(t, s.apply(env, "ALTER TABLE buffered_events DROP PRIMARY KEY, DROP KEY id, ADD PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, id), ADD UNIQUE KEY id (id)"))
	}
	actions, err := Update(state, "", true)
	require.NoError(t, err)
	last := actions[len(actions)-1]
	require.Equal(t, "main 1.19 as in a new set-up", last.Step)
	require.Equal(t, "ALTER TABLE `buffered_events` DROP PRIMARY KEY, DROP KEY `id`, ADD PRIMARY KEY (`id`, `shard_id`), ADD KEY `id` (`shard_id`, `namespace_id`, `workflow_id`, `run_id`, `id`)", last.SQL)
	require.Equal(t, "main 1.18 -> 1.19", actions[len(actions)-2].Step)
}

// A column that a step drops and adds anew is not dropped twice: that would lose what was written meanwhile.
func TestAColumnThatIsAddedAnewIsNotDroppedAgain(t *testing.T) {
	for _, test := range []struct {
		store Store
		from  string
		table string
	}{
		{Main, "1.15", "current_executions"},
		{Visibility, "1.5", "executions_visibility"},
	} {
		all := len(plan(t, inMemory(t, test.store, test.from)))
		steps, err := Steps(test.store, test.from, "")
		require.NoError(t, err)
		env, err := environment()
		require.NoError(t, err)
		for done := range len(steps[0].Statements) + 1 {
			state := inMemory(t, test.store, test.from)
			for _, role := range test.store.Roles() {
				for _, s := range state.shards[role] {
					for _, statement := range steps[0].Statements[:done] {
						if statement.Role == role {
							require.NoError(t, s.apply(env, statement.Text))
						}
					}
				}
			}
			require.Len(t, plan(t, state), all-done, "after %d statements of %s", done, steps[0])
		}
	}
}

func plan(t *testing.T, state *State) []Action {
	t.Helper()
	actions, err := Update(state, "", false)
	require.NoError(t, err)
	return actions
}

func TestOnlyTheVitessShardsThatLackAStatementGetIt(t *testing.T) {
	state := inMemory(t, Main, "1.16")
	env, err := environment()
	require.NoError(t, err)
	steps, err := Steps(Main, "1.16", "1.17")
	require.NoError(t, err)
	require.NoError(t, state.shards[vschema.Main][0].apply(env, steps[0].Statements[0].Text))
	actions := plan(t, state)
	require.Equal(t, []string{"80-"}, actions[0].VitessShards)
	require.Equal(t, steps[0].Statements[0].Text, actions[0].SQL)
	require.Nil(t, actions[1].VitessShards)
}

func TestAPartOfAnAlterTableIsCompleted(t *testing.T) {
	state := inMemory(t, Main, "1.14")
	env, err := environment()
	require.NoError(t, err)
	for _, s := range state.shards[vschema.Main] {
		require.NoError(t, s.apply(env, "ALTER TABLE current_executions ADD COLUMN data MEDIUMBLOB NULL"))
	}
	require.Equal(t, "alter table current_executions add column data_encoding VARCHAR(16) null", plan(t, state)[0].SQL)
}

func TestAColumnOfThePrimaryKeyIsNotNullSaidOrNot(t *testing.T) {
	env, err := environment()
	require.NoError(t, err)
	s := &shard{tables: map[string]table{}}
	require.NoError(t, s.apply(env, "CREATE TABLE signals_requested_sets (shard_id int NOT NULL, signal_id varchar(255) NOT NULL, PRIMARY KEY (shard_id, signal_id))"))
	statement, err := schema.Place("ALTER TABLE signals_requested_sets MODIFY COLUMN signal_id VARCHAR(255)", vschema.Main)
	require.NoError(t, err)
	text, err := lacking(s.tables["signals_requested_sets"], statement, nil)
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestSetupRefusesTablesOfOthers(t *testing.T) {
	state := inMemory(t, Main, "1.9")
	delete(state.versions, "temporal")
	_, err := Setup(state)
	require.ErrorContains(t, err, "that setup-schema did not create (ALTER TABLE")
	require.ErrorContains(t, err, "take empty keyspaces, or record its schema version and run update-schema")
}

func TestVersionsThatLeadNowhere(t *testing.T) {
	for _, test := range []struct{ from, to, says string }{
		{"1.9", "1.5.5", `there is no version "1.5.5" of the main schema: there are 1.0, 1.1,`},
		{"1.9", "nonsense", `there is no version "nonsense" of the main schema`},
		{"1.9", "99.0", "version 99.0 of the main schema is newer than this tool, which knows 1.0 to " + Main.Newest() + ": use the temporal-vitess-tool of that Temporal release"},
		{"99.0", "", "version 99.0 of the main schema is newer than this tool"},
		{"1.9", "1.8", "the main schema is at 1.9 already, and Temporal has no way back to 1.8"},
	} {
		_, err := Steps(Main, test.from, test.to)
		require.ErrorContains(t, err, test.says)
	}
	steps, err := Steps(Main, "1.9", "v1.10")
	require.NoError(t, err)
	require.Len(t, steps, 1)
	require.Equal(t, "main 1.9 -> 1.10", steps[0].String())
}

func TestAStatementThatIsNotUnderstoodIsNamed(t *testing.T) {
	for _, text := range []string{
		"ALTER TABLE executions RENAME COLUMN data TO payload",
		"ALTER TABLE executions MODIFY COLUMN data BLOB FIRST",
		"ALTER TABLE executions ALTER COLUMN data DROP DEFAULT",
		"INSERT INTO shards SELECT * FROM shards",
		"TRUNCATE TABLE executions",
	} {
		require.ErrorContains(t, (&recorder{store: Main}).Exec(text), "temporal-vitess-tool", text)
	}
	// Upstream's task goes on after errors with such a text.
	r := &recorder{store: Main}
	require.Error(t, r.Exec("ALTER TABLE executions RENAME COLUMN data TO already_exists"))
	require.Error(t, r.failure)
}
