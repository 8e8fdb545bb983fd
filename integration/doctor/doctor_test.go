package doctor

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestEverythingPassesOnAHealthySetUp(t *testing.T) {
	b := healthy(t)
	var names []string
	require.NoError(t, doctor.Run(t.Context(), b.config(), func(f doctor.Finding) {
		names = append(names, f.Check)
		require.Equal(t, doctor.Pass, f.Status, "%s: %+v", f.Check, f.Found)
		require.NotEmpty(t, f.Why)
		require.NotEmpty(t, f.Fix)
	}))
	require.Equal(t, doctor.Names(), names)
}

func TestWhatCannotBeSeenIsSaid(t *testing.T) {
	b := healthy(t)
	needs := map[string]string{
		"vschema":        "--vtctld",
		"pools":          "--vtctld",
		"buffering":      "--vtgate-http",
		"durability":     "--vtctld",
		"moves":          "--vtctld",
		"history-shards": "--history-shards",
		"balance":        "--history-shards",
	}
	cfg := b.config(through(b.connector(nil)))
	cfg.VTGateHTTP, cfg.HistoryShards = "", 0
	// The addresses that vtcombo puts into the topology for its vttablets are nobody's.
	unreachable := b.config(func(cfg *doctor.Config) { cfg.VTGateHTTP = "" })
	requireFinding(t, unreachable, "pools", doctor.Skip, "connection refused")

	require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) {
		if need, ok := needs[f.Check]; ok {
			require.Equal(t, doctor.Skip, f.Status, "%s: %+v", f.Check, f.Found)
			require.Contains(t, f.Found[0].Text, need)
		} else {
			require.Equal(t, doctor.Pass, f.Status, "%s: %+v", f.Check, f.Found)
		}
	}))
}

func TestReachability(t *testing.T) {
	b := healthy(t)
	t.Run("nobody listens", func(t *testing.T) {
		cfg := b.config(through(b.connector(func(c *config.SQL) { c.ConnectAddr = "127.0.0.1:1" })))
		requireFinding(t, cfg, "reachability", doctor.Fail, "check --endpoint and --port")
		requireFinding(t, cfg, "columns", doctor.Skip, "vtgate is not reached")
	})
	t.Run("a MySQL server", func(t *testing.T) {
		_, address, user := b.MySQL()
		cfg := b.config(through(b.connector(func(c *config.SQL) { c.ConnectAddr, c.User = address, user })))
		requireFinding(t, cfg, "reachability", doctor.Fail, "a MySQL server answers, not a vtgate")
	})
}

// TestVTCtldIsNotNeeded loses vtctld only: what vtgate shows is looked at.
func TestVTCtldIsNotNeeded(t *testing.T) {
	b := healthy(t)
	cfg := b.config(func(cfg *doctor.Config) { cfg.VTCtld = "127.0.0.1:1" })
	requireFinding(t, cfg, "reachability", doctor.Fail, "vtctld at 127.0.0.1:1: …check --vtctld")
	requireFinding(t, cfg, "columns", doctor.Pass, "")
}

// TestSettingsThatVTGateRefuses opens no session with the stores' connectAttributes.
func TestSettingsThatVTGateRefuses(t *testing.T) {
	b := healthy(t)
	cfg := b.config(func(cfg *doctor.Config) {
		cfg.VTGate = b.connector(func(c *config.SQL) { c.ConnectAttributes["no_such_variable"] = "1" })
		cfg.BareVTGate = b.connector(nil)
	})
	requireFinding(t, cfg, "reachability", doctor.Fail, "opens no session with the connectAttributes: …no_such_variable")
	requireFinding(t, cfg, "columns", doctor.Pass, "")
}

func TestVTGates(t *testing.T) {
	b := healthy(t)
	two := func(cfg *doctor.Config) { cfg.Replicas = 2 }
	_, port, err := net.SplitHostPort(b.VTGateAddr())
	require.NoError(t, err)
	requireFinding(t, b.config(two), "vtgates", doctor.Warn, b.VTGateAddr()+" is one address, and 8 connections at once reached one vtgate")
	requireFinding(t, b.config(), "vtgates", doctor.Pass, "enough for a trial (--replicas 0)")
	requireFinding(t, b.config(two, func(cfg *doctor.Config) { cfg.ConnectAddr = "127.0.0.1:" + port + ", ::1:" + port }), "vtgates", doctor.Pass, "2 addresses")
	requireFinding(t, b.config(two, func(cfg *doctor.Config) { cfg.ConnectAddr = b.VTGateAddr() + "," + b.VTGateAddr() }), "vtgates", doctor.Warn, "one address")
	requireFinding(t, b.config(two, func(cfg *doctor.Config) { cfg.ConnectAddr = "vtgate" }), "vtgates", doctor.Fail, `"vtgate" has to be host:port`)
}

func TestTLS(t *testing.T) {
	b := healthy(t)
	verified := &auth.TLS{Enabled: true, CaFile: filepath.Join(certificateFolder, "cert.pem"), EnableHostVerification: true}
	requireFinding(t, b.config(withTLS(verified, b)), "tls", doctor.Pass, "certificate verified")
	requireFinding(t, b.config(withTLS(&auth.TLS{Enabled: true}, b)), "tls", doctor.Warn, "not verified")
	requireFinding(t, b.config(func(cfg *doctor.Config) { cfg.Address = "vtgate.example.com:3306" }), "tls", doctor.Warn, "not encrypted")
	requireFinding(t, b.config(withTLS(&auth.TLS{Enabled: true, EnableHostVerification: true}, b)), "reachability", doctor.Fail, "certificate")
}

// Versions are what a proxy says, since there is but one Vitess and one MySQL here.
func TestVersions(t *testing.T) {
	b := healthy(t)
	for _, test := range []struct {
		from, to string
		status   doctor.Status
		says     string
	}{
		{"@@version_comment", "'Version: 23.0.0 (Git revision abc'", doctor.Warn, "tested with 24"},
		{"@@version_comment", "'something'", doctor.Warn, "does not tell its version"},
		{"VERSION()", "'5.7.44-log'", doctor.Fail, "MySQL 5.7.44-log, older than 8.0.17"},
		{"VERSION()", "'11.4.2-MariaDB'", doctor.Fail, "is not MySQL"},
		{"VERSION()", "'10.0.0'", doctor.Warn, "tested with 9.7"},
		{"VERSION()", "'8.0.36-28'", doctor.Pass, "Vitess 24"},
	} {
		requireFinding(t, b.config(through(rewriting{b.connector(nil), test.from, test.to})), "versions", test.status, test.says)
	}
}

func TestKeyspaces(t *testing.T) {
	b := healthy(t)
	in := func(role vschema.Role, keyspace string) doctor.Config {
		return b.config(func(cfg *doctor.Config) { cfg.Keyspaces[role] = keyspace })
	}
	requireFinding(t, in(vschema.Main, "nowhere"), "keyspaces", doctor.Fail, "there is no keyspace nowhere")
	requireFinding(t, in(vschema.Visibility, bare), "keyspaces", doctor.Fail, "bare: its VSchema says unsharded")
	requireFinding(t, in(vschema.Global, testbed.Main), "keyspaces", doctor.Fail, "temporal: its VSchema says sharded")
	// A local Vitess cannot lose a primary, nor refuse to show its tablets.
	lost := rewriting{b.connector(nil), "SHOW VITESS_TABLETS", "SHOW VITESS_TABLETS LIKE 'nobody'"}
	requireFinding(t, b.config(through(lost)), "keyspaces", doctor.Fail, "no primary serves (temporal/-80, temporal/80-, temporal_global/0")
	hidden := rewriting{b.connector(nil), "SHOW VITESS_TABLETS", "SHOW VITESS_TABLETS BY WHOM"}
	requireFinding(t, b.config(through(hidden)), "keyspaces", doctor.Skip, "which tablets of temporal serve: ")
	requireFinding(t, b.config(through(hidden)), "replicas", doctor.Skip, "which tablets of temporal serve: ")
	requireFinding(t, b.config(through(hidden)), "columns", doctor.Pass, "")

	requireFinding(t, in(vschema.Main, "nowhere"), "columns", doctor.Skip, "nowhere cannot be looked at: see keyspaces")
	nowhere := b.config(func(cfg *doctor.Config) {
		cfg.Keyspaces = map[vschema.Role]string{vschema.Main: "nowhere", vschema.Global: "nowhere_global", vschema.Visibility: "nowhere_visibility"}
	})
	requireFinding(t, nowhere, "pools", doctor.Skip, "nowhere cannot be looked at: see keyspaces")

	refused := rewriting{b.connector(nil), "SHOW VSCHEMA KEYSPACES", "SELECT 'temporal', 1, 'unmanaged', 'no such vindex'"}
	requireFinding(t, b.config(through(refused)), "keyspaces", doctor.Fail, "temporal: vtgate refuses its VSchema: no such vindex")
}

// TestAFailureOfWhatACheckBuildsOnIsReported asks for one check only, where all Vitess shards but
// temporal/80- have lost their primaries.
func TestAFailureOfWhatACheckBuildsOnIsReported(t *testing.T) {
	b := healthy(t)
	one := "SELECT 'cell', 'temporal', '80-', 'PRIMARY', 'SERVING', 'cell-0000000100', 'host', ''"
	cfg := b.config(through(rewriting{b.connector(nil), "SHOW VITESS_TABLETS", one}))
	requireFinding(t, cfg, "tables", doctor.Skip, "does not answer: see keyspaces (temporal/-80, temporal_global/0, ")
	cfg.Checks = []string{"tables"}
	statuses := map[string]doctor.Status{}
	require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) { statuses[f.Check] = f.Status }))
	require.Equal(t, map[string]doctor.Status{"keyspaces": doctor.Fail, "tables": doctor.Skip}, statuses)
}

// TestEmptyKeyspaces has keyspaces that were only just created.
func TestEmptyKeyspaces(t *testing.T) {
	b := healthy(t)
	cfg := b.config(inOne(bare), func(cfg *doctor.Config) { cfg.HistoryShards = 0 })
	findings := map[string]doctor.Finding{}
	require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) { findings[f.Check] = f }))
	for _, check := range []string{"tables", "schema-version"} {
		require.Equal(t, doctor.Fail, findings[check].Status, check)
		require.Contains(t, findings[check].Fix, "setup-schema")
		require.NotContains(t, findings[check].Fix, "update-schema")
	}
	require.Equal(t, []doctor.Observation{{Status: doctor.Fail, Text: "has none of Temporal's tables", Where: []string{"bare/0"}}}, findings["tables"].Found)
	for _, check := range []string{"columns", "keys", "unique-keys", "collation"} {
		require.Equal(t, []doctor.Observation{{Status: doctor.Skip, Text: "has none of Temporal's tables: see tables", Where: []string{"bare/0"}}}, findings[check].Found, check)
	}
	require.Equal(t, "no Temporal server has run here yet: give --history-shards", findings["history-shards"].Found[0].Text)
	require.Equal(t, doctor.Skip, findings["task-rows"].Status)
}

// likeUpstream gives buffered_events the keys of upstream's schema.
const (
	upstreamKey  = "(shard_id, namespace_id, workflow_id, run_id, id)"
	likeUpstream = "DROP PRIMARY KEY, DROP INDEX id, ADD PRIMARY KEY " + upstreamKey + ", ADD UNIQUE id (id)"
)

// TestTables covers all that is in mysqld: a fault below Vitess, on one Vitess shard unless it says otherwise.
func TestTables(t *testing.T) {
	b := healthy(t)
	const (
		main       = "`vt_temporal_80-`."
		global     = "`vt_temporal_global_0`."
		visibility = "`vt_temporal_visibility_-80`."
	)
	for _, test := range []struct {
		check         string
		fault, repair string
		status        doctor.Status
		says          string
	}{
		{
			"tables",
			"RENAME TABLE " + main + "timer_info_maps TO " + main + "other", "RENAME TABLE " + main + "other TO " + main + "timer_info_maps",
			doctor.Fail, "table timer_info_maps is missing (temporal/80-)",
		},
		{
			"tables",
			"CREATE TABLE " + global + "executions (id INT)", "DROP TABLE " + global + "executions",
			doctor.Warn, "table executions belongs in keyspace temporal (temporal_global/0)",
		},
		{
			"columns",
			"ALTER TABLE " + main + "history_node MODIFY data BLOB NOT NULL", "ALTER TABLE " + main + "history_node MODIFY data MEDIUMBLOB NOT NULL",
			doctor.Fail, "history_node.data is blob, and should be mediumblob (temporal/80-)",
		},
		{
			"columns",
			"ALTER TABLE " + global + "nexus_endpoints MODIFY data MEDIUMBLOB NULL", "ALTER TABLE " + global + "nexus_endpoints MODIFY data MEDIUMBLOB NOT NULL",
			doctor.Fail, "nexus_endpoints.data is NULL, and should be NOT NULL",
		},
		{
			"columns",
			"ALTER TABLE " + visibility + "executions_visibility RENAME COLUMN memo TO note", "ALTER TABLE " + visibility + "executions_visibility RENAME COLUMN note TO memo",
			doctor.Fail, "executions_visibility.memo is missing",
		},
		{
			"columns",
			"ALTER TABLE " + main + "shards ADD extra INT", "ALTER TABLE " + main + "shards DROP extra",
			doctor.Warn, "shards.extra is not in the schema",
		},
		{
			"keys",
			"ALTER TABLE " + visibility + "executions_visibility DROP INDEX by_status",
			"ALTER TABLE " + visibility + "executions_visibility ADD INDEX by_status (namespace_id, status, (COALESCE(close_time, CAST('9999-12-31 23:59:59' AS DATETIME))) DESC, start_time DESC, run_id)",
			doctor.Fail, "executions_visibility has no index by_status (namespace_id, status, (expression), start_time, run_id) (temporal_visibility/-80)",
		},
		{
			"keys",
			"ALTER TABLE " + main + "shards DROP PRIMARY KEY, ADD PRIMARY KEY (shard_id, range_id)", "ALTER TABLE " + main + "shards DROP PRIMARY KEY, ADD PRIMARY KEY (shard_id)",
			doctor.Fail, "shards has no primary key (shard_id)",
		},
		{
			"keys",
			"ALTER TABLE " + global + "namespaces DROP INDEX name, ADD INDEX name (name)", "ALTER TABLE " + global + "namespaces DROP INDEX name, ADD UNIQUE name (name)",
			doctor.Fail, "name (name) of namespaces is not unique",
		},
		{
			"keys",
			"ALTER TABLE " + main + "buffered_events DROP INDEX id", "ALTER TABLE " + main + "buffered_events ADD INDEX id " + upstreamKey,
			doctor.Fail, "buffered_events has no index id (shard_id, namespace_id, workflow_id, run_id, id) (temporal/80-)",
		},
		{
			"keys",
			"ALTER TABLE " + main + "buffered_events " + likeUpstream, "ALTER TABLE " + main + "buffered_events DROP PRIMARY KEY, DROP INDEX id, ADD PRIMARY KEY (id, shard_id), ADD INDEX id " + upstreamKey,
			doctor.Warn, "buffered_events has upstream's primary key…update-schema replaces it (temporal/80-)",
		},
		{
			"unique-keys",
			"ALTER TABLE " + main + "buffered_events ADD UNIQUE other (id)", "ALTER TABLE " + main + "buffered_events DROP INDEX other",
			doctor.Fail, "unique key other of buffered_events is on (id), without the sharding column shard_id",
		},
		{
			"unique-keys",
			"ALTER TABLE " + main + "buffered_events MODIFY id BIGINT NOT NULL", "ALTER TABLE " + main + "buffered_events MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
			doctor.Fail, "buffered_events.id is not AUTO_INCREMENT",
		},
		{
			"unique-keys",
			"ALTER TABLE " + main + "shards ADD extra INT AUTO_INCREMENT, ADD INDEX extra (extra)", "ALTER TABLE " + main + "shards DROP extra",
			doctor.Fail, "shards.extra is AUTO_INCREMENT",
		},
		{
			"collation",
			"ALTER TABLE " + global + "namespaces MODIFY name VARCHAR(255) CHARACTER SET latin1 NOT NULL", "ALTER TABLE " + global + "namespaces MODIFY name VARCHAR(255) NOT NULL",
			doctor.Fail, "namespaces.name has collation latin1_swedish_ci",
		},
		{
			"collation",
			"ALTER TABLE " + global + "namespaces MODIFY name VARCHAR(255) COLLATE utf8mb4_bin NOT NULL", "ALTER TABLE " + global + "namespaces MODIFY name VARCHAR(255) NOT NULL",
			doctor.Warn, "namespaces.name has collation utf8mb4_bin",
		},
		{
			"schema-version",
			"UPDATE " + global + "schema_version SET curr_version = '1.9'", "UPDATE " + global + "schema_version SET curr_version = min_compatible_version",
			doctor.Fail, "temporal has version 1.9, and the server needs",
		},
		{
			"schema-version",
			"UPDATE " + global + "schema_version SET curr_version = '99.0'", "UPDATE " + global + "schema_version SET curr_version = min_compatible_version",
			doctor.Warn, "newer than",
		},
		{
			"schema-version",
			"UPDATE " + global + "schema_version SET db_name = 'other'", "UPDATE " + global + "schema_version SET db_name = 'temporal'",
			doctor.Fail, "has no version of temporal",
		},
	} {
		t.Run(test.check+": "+test.says, func(t *testing.T) {
			b.exec(t, test.fault)
			defer func() {
				b.exec(t, test.repair)
				finding := examine(t, b.config(), test.check)
				require.Equal(t, doctor.Pass, finding.Status, "after the repair: %+v", finding.Found)
			}()
			requireFinding(t, b.config(), test.check, test.status, test.says)
		})
	}
}

func TestVSchema(t *testing.T) {
	b := healthy(t)
	vitess, err := live.Open(t.Context(), b.connector(nil), b.VTCtldAddr())
	require.NoError(t, err)
	defer vitess.Close()
	for _, test := range []struct {
		name   string
		change func(main, global *vschemapb.Keyspace)
		status doctor.Status
		says   string
		route  string // what check statements says of it, if anything
	}{
		{"a missing table", func(main, _ *vschemapb.Keyspace) { delete(main.Tables, "executions") },
			doctor.Fail, "temporal: missing table…executions", "vtgate refuses it: "},
		{"a table without a vindex", func(main, _ *vschemapb.Keyspace) {
			main.Tables["executions"].ColumnVindexes = nil
			main.Tables["executions"].Type = "reference"
		}, doctor.Fail, "temporal: wrong table type…executions", ""},
		{"another sharding column", func(main, _ *vschemapb.Keyspace) {
			main.Tables["executions"].ColumnVindexes[0].Column = "workflow_id"
		}, doctor.Fail, "temporal: wrong sharding column…executions", "goes to 2 Vitess shards, as the plan has 2 parts"},
		{"another vindex function for one table", func(main, _ *vschemapb.Keyspace) { main.Tables["executions"].ColumnVindexes[0].Name = "xxhash" },
			doctor.Fail, "temporal: wrong vindex function…executions", "goes to 2 Vitess shards, as the plan has 2 parts"},
		{"another vindex function for all tables", func(main, _ *vschemapb.Keyspace) { main.Vindexes["reverse_bits"].Type = "xxhash" },
			doctor.Pass, "temporal: its 27 tables have their vindexes", ""},
		{"a vindex that cannot take the column", func(main, _ *vschemapb.Keyspace) { main.Vindexes["xxhash"].Type = "hash" },
			doctor.Fail, "vindex hash does not suit build_id_to_task_queue.namespace_id", ""},
		{"a sequence left over", func(main, global *vschemapb.Keyspace) {
			global.Tables["buffered_events_seq"] = &vschemapb.Table{Type: "sequence"}
			main.Tables["buffered_events"].AutoIncrement = &vschemapb.AutoIncrement{Column: "id", Sequence: testbed.Global + ".buffered_events_seq"}
		}, doctor.Fail, "temporal: unknown sequence…buffered_events…id from temporal_global.buffered_events_seq", ""},
		{"a table that is not Temporal's", func(main, _ *vschemapb.Keyspace) {
			main.Tables["invoices"] = &vschemapb.Table{ColumnVindexes: []*vschemapb.ColumnVindex{{Column: "id", Name: "xxhash"}}}
		}, doctor.Warn, "temporal: unknown table…invoices", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := map[string]*vschemapb.Keyspace{}
			for _, keyspace := range []string{testbed.Global, testbed.Main} {
				before, err := vitess.VSchema(t.Context(), keyspace)
				require.NoError(t, err)
				changed[keyspace] = before.CloneVT()
				t.Cleanup(func() { b.applyVSchema(t, vitess, keyspace, before) })
			}
			test.change(changed[testbed.Main], changed[testbed.Global])
			b.applyVSchema(t, vitess, testbed.Global, changed[testbed.Global])
			b.applyVSchema(t, vitess, testbed.Main, changed[testbed.Main])
			requireFinding(t, b.config(), "vschema", test.status, test.says)
			if test.route != "" {
				requireFinding(t, b.config(), "statements", doctor.Fail, test.route)
			}
		})
	}
	requireFinding(t, b.config(), "vschema", doctor.Pass, "have their vindexes")
}

func TestSession(t *testing.T) {
	b := healthy(t)
	// A proxy that answers SET by itself.
	swallowing := rewriting{b.connector(nil), "SET transaction_mode='single'", "SELECT 1"}
	requireFinding(t, b.config(through(swallowing)), "transaction-mode", doctor.Fail, "the session has MULTI")
	refusing := rewriting{b.connector(nil), "SET transaction_mode='single'", "SET no_such_mode='single'"}
	requireFinding(t, b.config(through(refusing)), "transaction-mode", doctor.Fail, "refuses")

	requireFinding(t, b.config(through(b.stock(t))), "found-rows", doctor.Fail, "only the rows that it changes")
	requireFinding(t, b.config(through(b.stock(t))), "multi-statements", doctor.Warn, "refused")

	summer := b.connector(func(c *config.SQL) { c.ConnectAttributes["time_zone"] = "'+02:00'" })
	requireFinding(t, b.config(through(summer)), "time-zone", doctor.Warn, "+02:00 (temporal/-80, temporal/80-, temporal_global/0")

	for _, test := range []struct {
		bed    *bed
		status doctor.Status
		says   string
	}{
		{b, doctor.Warn, "REPEATABLE-READ is mysqld's own"},
		{meagre(t), doctor.Fail, "though the session asks for READ-COMMITTED"},
	} {
		test.bed.setForAll(t, "transaction_isolation", "REPEATABLE-READ")
		requireFinding(t, test.bed.config(), "isolation", test.status, test.says)
		test.bed.setForAll(t, "transaction_isolation", "READ-COMMITTED")
	}
}

func TestSQLMode(t *testing.T) {
	b := healthy(t)
	const good, everywhere = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION", " (temporal/-80, temporal/80-, temporal_global/0, temporal_visibility/-80, temporal_visibility/80-)"
	var before string
	require.NoError(t, b.mysqld.QueryRowContext(t.Context(), "SELECT @@global.sql_mode").Scan(&before))
	t.Cleanup(func() { b.setForAll(t, "sql_mode", before) })
	for _, test := range []struct {
		mode   string
		status doctor.Status
		says   string
	}{
		{good, doctor.Pass, good},
		{"STRICT_ALL_TABLES", doctor.Pass, "STRICT_ALL_TABLES"},
		{"NO_ENGINE_SUBSTITUTION", doctor.Fail, "without STRICT_TRANS_TABLES or STRICT_ALL_TABLES: …cut off" + everywhere},
		{"", doctor.Fail, "without STRICT_TRANS_TABLES or STRICT_ALL_TABLES"},
		{good + ",NO_BACKSLASH_ESCAPES", doctor.Fail, "NO_BACKSLASH_ESCAPES: …" + everywhere},
		{good + ",PAD_CHAR_TO_FULL_LENGTH", doctor.Fail, "PAD_CHAR_TO_FULL_LENGTH: … (temporal_visibility/-80, temporal_visibility/80-)"},
		{good + ",HIGH_NOT_PRECEDENCE", doctor.Fail, "HIGH_NOT_PRECEDENCE: … (temporal_visibility/-80, temporal_visibility/80-)"},
		{good + ",ANSI_QUOTES", doctor.Warn, "ANSI_QUOTES: …" + everywhere},
		{good + ",PIPES_AS_CONCAT,REAL_AS_FLOAT,IGNORE_SPACE", doctor.Pass, "PIPES_AS_CONCAT"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			b.setForAll(t, "sql_mode", test.mode)
			requireFinding(t, b.config(), "sql-mode", test.status, test.says)
		})
	}

	// That they do harm, through vtgate.
	namespace := func(t *testing.T, name string) (stored string, err error) {
		t.Helper()
		defer b.exec(t, "DELETE FROM vt_temporal_global_0.namespaces")
		_, err = b.vtgate.ExecContext(t.Context(), "INSERT INTO temporal_global.namespaces (partition_id, id, name, notification_version, data, data_encoding, is_global) VALUES (1, ?, ?, 1, '', '', 0)", []byte("0123456789abcdef"), name)
		if err != nil {
			return "", err
		}
		err = b.vtgate.QueryRowContext(t.Context(), "SELECT name FROM temporal_global.namespaces").Scan(&stored)
		return stored, err
	}
	const backslash = `a\b`
	for mode, same := range map[string]bool{good: true, good + ",ANSI_QUOTES": true, good + ",NO_BACKSLASH_ESCAPES": false} {
		b.setForAll(t, "sql_mode", mode)
		stored, err := namespace(t, backslash)
		require.NoError(t, err)
		require.Equal(t, same, stored == backslash, "%s: %s", mode, stored)
	}
	long := strings.Repeat("a", 256)
	b.setForAll(t, "sql_mode", good)
	_, err := namespace(t, long)
	require.ErrorContains(t, err, "Data too long")
	b.setForAll(t, "sql_mode", "NO_ENGINE_SUBSTITUTION")
	stored, err := namespace(t, long)
	require.NoError(t, err)
	require.Equal(t, long[:255], stored)
}

func TestLimits(t *testing.T) {
	b, small := healthy(t), meagre(t)
	requireFinding(t, small.config(), "row-limit", doctor.Fail, "a statement may return 5000 rows, fewer than the 10000")
	requireFinding(t, small.config(func(cfg *doctor.Config) { cfg.MaxRows = 5000 }), "row-limit", doctor.Pass, "5000")
	requireFinding(t, b.config(func(cfg *doctor.Config) { cfg.MaxRows = 10001 }), "row-limit", doctor.Fail, "10000 rows")

	requireFinding(t, small.config(), "transaction-timeout", doctor.Pass, "ask for 10s")
	asking := small.connector(func(c *config.SQL) { c.ConnectAttributes["transaction_timeout"] = "60000" })
	requireFinding(t, small.config(through(asking)), "transaction-timeout", doctor.Warn, "after 30s")

	requireFinding(t, small.config(), "pools", doctor.Fail, "takes 6 transactions at once (--queryserver-config-transaction-cap)")
	requireFinding(t, small.config(func(cfg *doctor.Config) { cfg.MaxConns, cfg.VisibilityMaxConns, cfg.Services = 6, 6, 1 }),
		"pools", doctor.Fail, "takes 5 statements outside of transactions at once (--queryserver-config-pool-size)")
	requireFinding(t, small.config(func(cfg *doctor.Config) { cfg.MaxConns, cfg.VisibilityMaxConns, cfg.Services = 5, 5, 1 }),
		"pools", doctor.Pass, "make 5 for each Vitess shard")

	requireFinding(t, small.config(), "buffering", doctor.Warn, "no --enable-buffer")
	many := func(cfg *doctor.Config) { cfg.MaxConns = 1000 }
	requireFinding(t, b.config(many), "buffering", doctor.Warn, "--buffer-size is 1000, fewer than Temporal's 4040 connections")
	requireFinding(t, small.config(), "packet-size", doctor.Fail, "does not reach")
}

func TestMySQLPacketSize(t *testing.T) {
	b := healthy(t)
	var before int64
	require.NoError(t, b.mysqld.QueryRowContext(t.Context(), "SELECT @@global.max_allowed_packet").Scan(&before))
	t.Cleanup(func() { b.setForAll(t, "max_allowed_packet", before) })
	b.setForAll(t, "max_allowed_packet", 1<<20)
	requireFinding(t, b.config(), "packet-size", doctor.Fail, "max_allowed_packet is 1048576 bytes")
}

func TestReplicasAndDurability(t *testing.T) {
	b, replicated := healthy(t), meagre(t)
	two := func(cfg *doctor.Config) { cfg.Replicas = 2 }
	requireFinding(t, b.config(two), "replicas", doctor.Warn, "0 replicas serve, fewer than 2")
	requireFinding(t, replicated.config(two), "replicas", doctor.Pass, "2 replicas serve (temporal/0, temporal_global/0, temporal_visibility/0)")
	requireFinding(t, replicated.config(two), "durability", doctor.Warn, "none: a failover may lose")

	for _, policy := range []string{"semi_sync", "cross_cell", "semi_sync_with_rdonly_ack", "cross_cell_with_rdonly_ack"} {
		for _, bed := range []*bed{b, replicated} {
			bed.setDurability(t, policy)
			t.Cleanup(func() { bed.setDurability(t, "none") })
		}
		requireFinding(t, b.config(two), "durability", doctor.Fail, policy+" with 1 tablets: it needs 3")
		requireFinding(t, replicated.config(two), "durability", doctor.Pass, policy+" with 3 tablets")
	}
}

// setDurability gives all keyspaces a durability policy.
func (b *bed) setDurability(t *testing.T, policy string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // also in a test's cleanup
	vitess, err := live.Open(ctx, b.connector(nil), b.VTCtldAddr())
	require.NoError(t, err)
	defer vitess.Close()
	for _, keyspace := range []string{testbed.Main, testbed.Global, testbed.Visibility} {
		_, err := vitess.VTCtld.SetKeyspaceDurabilityPolicy(ctx, &vtctldatapb.SetKeyspaceDurabilityPolicyRequest{Keyspace: keyspace, DurabilityPolicy: policy})
		require.NoError(t, err)
	}
}

func TestHistoryShards(t *testing.T) {
	b := healthy(t)
	with := func(count int) doctor.Config {
		return b.config(func(cfg *doctor.Config) { cfg.HistoryShards = count })
	}
	requireFinding(t, with(1), "history-shards", doctor.Fail, "1 history shards for 2 Vitess shards")
	requireFinding(t, with(7), "history-shards", doctor.Warn, "fewer than 4 each")

	record := func(cluster string, count int32) {
		data, err := (&persistence.ClusterMetadata{ClusterName: cluster, HistoryShardCount: count}).Marshal()
		require.NoError(t, err)
		_, err = b.vtgate.ExecContext(t.Context(), "INSERT INTO temporal_global.cluster_metadata_info (metadata_partition, cluster_name, data, data_encoding, version) VALUES (0, ?, ?, 'Proto3', 1)", cluster, data)
		require.NoError(t, err)
	}
	t.Cleanup(func() { b.exec(t, "DELETE FROM vt_temporal_global_0.cluster_metadata_info") })
	record("active", 512)
	requireFinding(t, with(0), "history-shards", doctor.Pass, "512 history shards")
	record("standby", 1024)
	requireFinding(t, with(0), "history-shards", doctor.Skip, "give --history-shards")
}

func TestBalance(t *testing.T) {
	b := healthy(t)
	with := func(count int) doctor.Config {
		return b.config(func(cfg *doctor.Config) { cfg.HistoryShards = count })
	}
	requireFinding(t, with(64), "balance", doctor.Pass, "reverse_bits spreads 64 history shards over 2 Vitess shards, the fullest has 1.00 times the mean")
	requireFinding(t, with(5), "balance", doctor.Warn, "the fullest has 1.20 times the mean")
}

func TestTaskRows(t *testing.T) {
	b := healthy(t)
	// Subqueue 5 of an activity task queue, see upstream's taskQueueId.
	subqueue := append([]byte("0123456789abcdef"+"orders"), 2|0x80, 5)
	insert := func(table, columns string, hash uint32) {
		t.Helper()
		_, err := b.vtgate.ExecContext(t.Context(), "INSERT INTO temporal."+table+" (range_hash, task_queue_id, task_id, data, data_encoding"+columns, hash, subqueue)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		for _, database := range []string{"`vt_temporal_-80`", "`vt_temporal_80-`"} {
			b.exec(t, "DELETE FROM "+database+".tasks", "DELETE FROM "+database+".tasks_v2")
		}
	})
	v1, v2 := ") VALUES (?, ?, 1, 'x', 'y')", ", pass) VALUES (?, ?, 1, 'x', 'y', 1)"
	insert("tasks", v1, taskqueue.RangeHash(subqueue))
	insert("tasks_v2", v2, taskqueue.RangeHash(subqueue))
	finding := examine(t, b.config(), "task-rows")
	require.Equal(t, doctor.Pass, finding.Status, "%+v", finding.Found)
	insert("tasks_v2", v2, taskqueue.RangeHash(subqueue)+1)
	requireFinding(t, b.config(), "task-rows", doctor.Fail, "subqueues with tasks, 1 are under upstream's range_hash")
}

// The machines of a test share a clock, so the examiner's own is set wrong.
func TestClock(t *testing.T) {
	b := healthy(t)
	for _, off := range []time.Duration{3 * time.Second, -3 * time.Second} {
		requireFinding(t, b.config(func(cfg *doctor.Config) {
			cfg.Now = func() time.Time { return time.Now().Add(off) }
		}), "clock", doctor.Warn, "off this machine's")
	}
}

func TestAnUnknownCheckIsRefused(t *testing.T) {
	err := doctor.Run(t.Context(), doctor.Config{Checks: []string{"weather"}}, nil)
	require.ErrorContains(t, err, `there is no check "weather"; there are reachability, `)
}
