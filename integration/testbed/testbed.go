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
}

// Start brings up the keyspaces, each sharded one with that number of Vitess shards. Log may be nil.
func Start(ctx context.Context, vitessShards int, log io.Writer) (*Testbed, error) {
	keyspaces := []struct {
		name    string
		role    vschema.Role
		profile vschema.Profile
		shards  int
	}{
		{Main, vschema.Main, vschema.ProfileNamespace, vitessShards},
		{Global, vschema.Global, vschema.ProfileNamespace, 1},
		{Visibility, vschema.Visibility, vschema.ProfileNamespace, vitessShards},
		{SpreadVisibility, vschema.Visibility, vschema.ProfileSpread, vitessShards},
	}
	var cfg cluster.Config
	cfg.Log = log
	for _, keyspace := range keyspaces {
		placement, err := vschema.JSON(keyspace.role, keyspace.profile)
		if err != nil {
			return nil, err
		}
		tables, err := schema.Load(keyspace.role)
		if err != nil {
			return nil, err
		}
		cfg.Keyspaces = append(cfg.Keyspaces, cluster.Keyspace{
			Name: keyspace.name, Shards: keyspace.shards, VSchema: placement, DDL: tables.Statements,
		})
	}
	running, err := cluster.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := &Testbed{Cluster: running}
	for kind, store := range map[sqlplugin.DbKind][]*config.SQL{
		sqlplugin.DbKindMain:       {t.MainConfig()},
		sqlplugin.DbKindVisibility: {t.VisibilityConfig(vschema.ProfileNamespace), t.VisibilityConfig(vschema.ProfileSpread)},
	} {
		for _, cfg := range store {
			if err := recordVersion(kind, cfg); err != nil {
				return nil, errors.Join(err, t.Stop())
			}
		}
	}
	return t, nil
}

// recordVersion writes the version of a store's schema, which a Temporal server asks for at its start.
func recordVersion(kind sqlplugin.DbKind, cfg *config.SQL) error {
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
	return t.config(Main, nil)
}

// VisibilityConfig configures a visibility store through the plugin. Statements that it cannot route are errors.
func (t *Testbed) VisibilityConfig(profile vschema.Profile) *config.SQL {
	name := Visibility
	if profile == vschema.ProfileSpread {
		name = SpreadVisibility
	}
	return t.config(name, map[string]string{"vitess_visibility_profile": string(profile)})
}

func (t *Testbed) config(keyspace string, attributes map[string]string) *config.SQL {
	cfg := &config.SQL{
		PluginName:        plugin.Name,
		DatabaseName:      keyspace,
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

// PlainConfig creates a MySQL database on the same mysqld, without Vitess, with the tables of both stores as upstream
// has them, and configures a store on it through upstream's own plugin: what to compare with.
func (t *Testbed) PlainConfig(ctx context.Context, database string) (*config.SQL, error) {
	var statements []string
	for _, role := range vschema.Roles() {
		tables, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		statements = append(statements, tables.Statements...)
	}
	// IF NOT EXISTS of the version tables, which both stores have, makes once of twice.
	if err := t.CreateDatabase(ctx, database, statements); err != nil {
		return nil, err
	}
	network, address, user := t.MySQL()
	return &config.SQL{
		PluginName:      mysql.PluginName,
		DatabaseName:    database,
		ConnectAddr:     address,
		ConnectProtocol: network,
		User:            user,
		MaxConns:        20,
		MaxIdleConns:    20,
	}, nil
}
