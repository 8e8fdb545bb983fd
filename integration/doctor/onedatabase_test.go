package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestOneUnshardedKeyspace(t *testing.T) {
	b := healthy(t)
	cfg := b.MainConfig()
	cfg.DatabaseName, cfg.ConnectAttributes["vitess_global_keyspace"] = one, one
	require.NoError(t, testbed.RecordVersion(sqlplugin.DbKindMain, cfg))
	for name, change := range map[string]func(*doctor.Config){
		"for all": inOne(one),
		"for the main store": func(cfg *doctor.Config) {
			cfg.Keyspaces[vschema.Main], cfg.Keyspaces[vschema.Global] = one, one
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, doctor.Run(t.Context(), b.config(change), func(f doctor.Finding) {
				if f.Check == "tables" && name != "for all" {
					require.Equal(t, doctor.Warn, f.Status, "it has those of visibility too")
					require.Contains(t, f.Found[0].Text, "belongs in keyspace temporal_visibility")
				} else if f.Check == "vschema" && name != "for all" {
					require.Equal(t, doctor.Warn, f.Status, "it has those of visibility too")
					require.Contains(t, f.Found[0].Text, "one: unknown table")
				} else {
					require.Equal(t, doctor.Pass, f.Status, "%s: %+v", f.Check, f.Found)
				}
			}))
		})
	}
	requireFinding(t, b.config(inOne(one)), "keyspaces", doctor.Pass, "one: unsharded")
	requireFinding(t, b.config(inOne(one)), "schema-version", doctor.Pass, "one has version ")
	b.exec(t, "INSERT INTO vt_one_0.schema_version (version_partition, db_name, curr_version) VALUES (0, 'one/visibility', '1.1')") // as setup-schema records it
	requireFinding(t, b.config(inOne(one)), "schema-version", doctor.Fail, "one/visibility has version 1.1")
	b.exec(t, "DELETE FROM vt_one_0.schema_version WHERE db_name = 'one/visibility'")
	// All of Temporal's connections go to the one vttablet: (20 + 100) x 4.
	many := func(cfg *doctor.Config) { cfg.VisibilityMaxConns = 100 }
	requireFinding(t, b.config(inOne(one), many), "pools", doctor.Fail, "Temporal's 480 connections make 480 for each Vitess shard")

	fault, repair := "ALTER TABLE vt_one_0.executions_visibility RENAME COLUMN memo TO note", "ALTER TABLE vt_one_0.executions_visibility RENAME COLUMN note TO memo"
	b.exec(t, fault)
	defer b.exec(t, repair)
	requireFinding(t, b.config(inOne(one)), "columns", doctor.Fail, "executions_visibility.memo is missing (one/0)")

	requireFinding(t, b.config(inOne(testbed.Main)), "keyspaces", doctor.Fail, "temporal: its VSchema says sharded, and it should be unsharded")
}

func TestUnshardedVisibilityBesideAnUnshardedMainStore(t *testing.T) {
	b := healthy(t)
	beside := func(cfg *doctor.Config) {
		cfg.Keyspaces = map[vschema.Role]string{vschema.Main: bare, vschema.Global: bare, vschema.Visibility: one}
	}
	requireFinding(t, b.config(beside), "keyspaces", doctor.Pass, "bare: unsharded")
	requireFinding(t, b.config(beside), "vschema", doctor.Fail, "bare: missing table")
}

// TestMySQLWithoutVitess has a database as upstream's tool makes it, whose name is no keyspace's.
func TestMySQLWithoutVitess(t *testing.T) {
	const database = "Temporal$All"
	b := healthy(t)
	_, err := b.PlainConfig(t.Context(), database)
	require.NoError(t, err)
	_, address, user := b.MySQL()
	cfg := b.config(inOne(database), through(b.connector(func(c *config.SQL) { c.ConnectAddr, c.User = address, user })), func(cfg *doctor.Config) {
		cfg.Address, cfg.VTGateHTTP = address, ""
	})
	vitessOnly := map[string]bool{}
	require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) {
		if f.Status == doctor.Skip {
			require.Equal(t, "the server is a MySQL without Vitess", f.Found[0].Text, f.Check)
			vitessOnly[f.Check] = true
			return
		}
		require.Equal(t, doctor.Pass, f.Status, "%s: %+v", f.Check, f.Found)
	}))
	require.Equal(t, map[string]bool{
		"vtgates": true, "vschema": true, "statements": true, "transaction-mode": true, "found-rows": true, "row-limit": true,
		"transaction-timeout": true, "buffering": true, "replicas": true, "durability": true, "balance": true, "moves": true,
	}, vitessOnly)

	requireFinding(t, cfg, "reachability", doctor.Pass, "without Vitess")
	changed := func(change func(*doctor.Config)) doctor.Config {
		other := cfg
		change(&other)
		return other
	}
	requireFinding(t, changed(inOne("nowhere")), "keyspaces", doctor.Fail, "there is no database nowhere")
	requireFinding(t, changed(inOne("nowhere")), "tables", doctor.Skip, "nowhere cannot be looked at: see keyspaces")
	requireFinding(t, changed(func(cfg *doctor.Config) { cfg.Services = 1000 }), "pools", doctor.Fail, "but Temporal has 30000")
	b.exec(t, "ALTER TABLE `Temporal$All`.buffered_events "+likeUpstream)
	requireFinding(t, cfg, "keys", doctor.Pass, "keys are there")
	requireFinding(t, cfg, "unique-keys", doctor.Pass, "there are no sharded tables")
	b.exec(t, "ALTER TABLE `Temporal$All`.shards DROP PRIMARY KEY")
	requireFinding(t, cfg, "keys", doctor.Fail, "shards has no primary key (shard_id) (Temporal$All)")
	b.exec(t, "UPDATE `Temporal$All`.schema_version SET curr_version = '1.0'")
	requireFinding(t, cfg, "schema-version", doctor.Fail, "Temporal$All has version 1.0, and the server needs")
}
