// Package testbed is a local Vitess that holds Temporal's keyspaces, with the configuration that reaches them through
// the plugin: what the tests of this folder, the benchmark and the demo run on.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Names of the keyspaces; the visibility keyspace of profile spread stands beside the other.
const (
	Main             = "temporal"
	Global           = "temporal_global"
	Visibility       = "temporal_visibility"
	SpreadVisibility = "temporal_visibility_spread"
)

// Testbed is a running Vitess with Temporal's keyspaces, at the newest schema.
type Testbed struct {
	*cluster.Cluster
	suffix string
	// reserved counts the connections that were reserved for the set-up.
	reserved int64
}

// Start brings up the keyspaces, each sharded one with that number of Vitess shards. Log may be nil.
func Start(ctx context.Context, vitessShards int, log io.Writer) (*Testbed, error) {
	keyspaces, err := Keyspaces("", vitessShards, vschema.Profiles()...)
	if err != nil {
		return nil, err
	}
	running, err := cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces, Log: log})
	if err != nil {
		return nil, err
	}
	t, err := On(running, "", vschema.Profiles()...)
	if err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return t, nil
}

// StartEmpty brings up the keyspaces with nothing in them, as an operator creates them: no VSchema, no table. There is a
// visibility keyspace for profile namespace only. Vitess runs as temporal-vitess-tool doctor recommends. Log may be nil.
func StartEmpty(ctx context.Context, vitessShards int, log io.Writer) (*Testbed, error) {
	running, err := cluster.Start(ctx, cluster.Config{
		Keyspaces: []cluster.Keyspace{
			{Name: Main, Shards: vitessShards},
			{Name: Global, Shards: 1},
			{Name: Visibility, Shards: vitessShards},
		},
		VTComboFlags: []string{"--enable-buffer", "--buffer-window=8s", "--buffer-max-failover-duration=10s", "--queryserver-config-transaction-timeout=5s"},
		Log:          log,
	})
	if err != nil {
		return nil, err
	}
	return &Testbed{Cluster: running}, nil
}

// Keyspaces are what a cluster needs for [On]: those of the main store, and a visibility keyspace of each profile. The
// suffix, which ends their names, keeps several sets in one cluster apart. Each sharded keyspace has that number of
// Vitess shards.
func Keyspaces(suffix string, vitessShards int, profiles ...vschema.Profile) ([]cluster.Keyspace, error) {
	var keyspaces []cluster.Keyspace
	add := func(name string, role vschema.Role, profile vschema.Profile, shards int) error {
		placement, err := vschema.JSON(role, profile)
		if err != nil {
			return err
		}
		tables, err := schema.Load(role)
		if err != nil {
			return err
		}
		keyspaces = append(keyspaces, cluster.Keyspace{Name: name + suffix, Shards: shards, VSchema: placement, DDL: tables.Statements})
		return nil
	}
	if err := add(Main, vschema.Main, vschema.ProfileNamespace, vitessShards); err != nil {
		return nil, err
	}
	if err := add(Global, vschema.Global, vschema.ProfileNamespace, 1); err != nil {
		return nil, err
	}
	for _, profile := range profiles {
		if err := add(visibilityKeyspace(profile), vschema.Visibility, profile, vitessShards); err != nil {
			return nil, err
		}
	}
	return keyspaces, nil
}

// On returns the testbed of the [Keyspaces] with that suffix and these profiles in a running cluster, after it has
// recorded the versions of their schema. If this fails, the cluster remains the caller's to stop.
func On(running *cluster.Cluster, suffix string, profiles ...vschema.Profile) (*Testbed, error) {
	t := &Testbed{Cluster: running, suffix: suffix}
	if err := RecordVersion(sqlplugin.DbKindMain, t.MainConfig()); err != nil {
		return nil, err
	}
	for _, profile := range profiles {
		if err := RecordVersion(sqlplugin.DbKindVisibility, t.VisibilityConfig(profile)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// RecordVersion writes the version of a store's schema, which a Temporal server asks for at its start.
func RecordVersion(kind sqlplugin.DbKind, cfg *config.SQL) error {
	db, err := sql.NewSQLAdminDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.UpdateSchemaVersion(cfg.DatabaseName, db.ExpectedVersion(), db.ExpectedVersion()); err != nil {
		return fmt.Errorf("schema version of %s: %w", cfg.DatabaseName, err)
	}
	return nil
}

// MainConfig configures a main store through the plugin. Statements that the plugin cannot route are errors.
func (t *Testbed) MainConfig() *config.SQL {
	return t.config(Main, map[string]string{"vitess_global_keyspace": Global + t.suffix})
}

// VisibilityConfig configures a visibility store through the plugin. Statements that it cannot route are errors.
func (t *Testbed) VisibilityConfig(profile vschema.Profile) *config.SQL {
	return t.config(visibilityKeyspace(profile), map[string]string{"vitess_visibility_profile": string(profile)})
}

func visibilityKeyspace(profile vschema.Profile) string {
	if profile == vschema.ProfileSpread {
		return SpreadVisibility
	}
	return Visibility
}

func (t *Testbed) config(keyspace string, attributes map[string]string) *config.SQL {
	cfg := &config.SQL{
		PluginName:        plugin.Name,
		DatabaseName:      keyspace + t.suffix,
		ConnectAddr:       t.VTGateAddr(),
		ConnectProtocol:   "tcp",
		User:              "temporal",
		ConnectAttributes: map[string]string{"vitess_unknown_statements": "reject"},
		MaxConns:          20,
		MaxIdleConns:      20,
	}
	for name, value := range attributes {
		cfg.ConnectAttributes[name] = value
	}
	return cfg
}

// PlainConfig creates a MySQL database on the same mysqld, without Vitess, with the tables of both stores (package
// schema's, so buffered_events.id is not unique), and configures a store on it through upstream's own plugin: what to compare with.
func (t *Testbed) PlainConfig(ctx context.Context, database string) (*config.SQL, error) {
	statements, err := AllTables()
	if err != nil {
		return nil, err
	}
	if err := t.CreateDatabase(ctx, database, statements); err != nil {
		return nil, err
	}
	network, address, user := t.MySQL()
	cfg := &config.SQL{
		PluginName:      mysql.PluginName,
		DatabaseName:    database,
		ConnectAddr:     address,
		ConnectProtocol: network,
		User:            user,
		MaxConns:        20,
		MaxIdleConns:    20,
	}
	// Both stores find their version under the name of their database. That of the main store is the higher one, which
	// is right for both.
	return cfg, RecordVersion(sqlplugin.DbKindMain, cfg)
}

// AllTables are the statements that create the tables of all stores in one database.
func AllTables() ([]string, error) {
	var statements []string
	for _, role := range vschema.Roles() {
		tables, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		statements = append(statements, tables.Statements...)
	}
	// IF NOT EXISTS of the version tables, which both stores have, makes once of twice.
	return statements, nil
}
