package fullcluster

import (
	"context"
	"errors"
	"strings"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Temporal says which of Temporal's keyspaces StartTemporal brings up, and how.
type Temporal struct {
	// VitessShards is the number of Vitess shards of each sharded keyspace; 0 means 2.
	VitessShards int
	// Replicas is the number of replicas by keyspace; a keyspace that is not in it has none.
	Replicas map[string]int
	// Profile is that of visibility; empty means vschema.ProfileNamespace.
	Profile vschema.Profile
	// Cluster is the rest. Its keyspaces come before Temporal's.
	Cluster Config
}

// Testbed is a running Vitess with Temporal's keyspaces, named as package testbed names them, at the newest schema.
type Testbed struct {
	*Cluster
	profile vschema.Profile
}

// StartTemporal returns when stores can be opened.
func StartTemporal(ctx context.Context, temporal Temporal) (*Testbed, error) {
	if temporal.VitessShards == 0 {
		temporal.VitessShards = 2
	}
	if temporal.Profile == "" {
		temporal.Profile = vschema.ProfileNamespace
	}
	keyspaces, err := testbed.Keyspaces("", temporal.VitessShards, temporal.Profile)
	if err != nil {
		return nil, err
	}
	cfg := temporal.Cluster
	for _, keyspace := range keyspaces {
		cfg.Keyspaces = append(cfg.Keyspaces, Keyspace{Keyspace: keyspace, Replicas: temporal.Replicas[keyspace.Name]})
	}
	running, err := Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := &Testbed{Cluster: running, profile: temporal.Profile}
	err = errors.Join(
		testbed.RecordVersion(sqlplugin.DbKindMain, t.MainConfig()),
		testbed.RecordVersion(sqlplugin.DbKindVisibility, t.VisibilityConfig()),
	)
	if err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	running.progress("stores at their newest schema")
	return t, nil
}

// MainConfig configures a main store through the plugin, by all vtgates. Statements that the plugin cannot route are errors.
func (t *Testbed) MainConfig() *config.SQL {
	return t.storeConfig(testbed.Main, "vitess_global_keyspace", testbed.Global)
}

// VisibilityConfig configures a visibility store through the plugin, by all vtgates. Statements that it cannot route are
// errors.
func (t *Testbed) VisibilityConfig() *config.SQL {
	return t.storeConfig(t.VisibilityKeyspace(), "vitess_visibility_profile", string(t.profile))
}

// VisibilityKeyspace is the name of the keyspace of visibility.
func (t *Testbed) VisibilityKeyspace() string {
	if t.profile == vschema.ProfileSpread {
		return testbed.SpreadVisibility
	}
	return testbed.Visibility
}

func (t *Testbed) storeConfig(keyspace, attribute, value string) *config.SQL {
	return &config.SQL{
		PluginName:        plugin.Name,
		DatabaseName:      keyspace,
		ConnectAddr:       strings.Join(t.VTGateAddrs(), ","),
		ConnectProtocol:   "tcp",
		User:              "temporal",
		ConnectAttributes: map[string]string{"vitess_unknown_statements": "reject", attribute: value},
		MaxConns:          20,
		MaxIdleConns:      20,
	}
}
