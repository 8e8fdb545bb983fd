package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// configuration is one of the ways to keep Temporal's data that are compared.
type configuration struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Vitess shards of each sharded keyspace; 0 if there is none.
	VitessShards int `json:"vitess_shards,omitempty"`
	// Stock is upstream's plugin. On sharded keyspaces Vitess refuses some of what it does: that is left out.
	Stock bool `json:"stock,omitempty"`
	// Attributes are options of the plugin (connectAttributes).
	Attributes map[string]string `json:"attributes,omitempty"`
	// RunsServer adds what whole workflows take on a Temporal server.
	RunsServer bool `json:"runs_server,omitempty"`
}

const (
	plainMySQL = "a" // what Temporal runs on without Vitess
	unsharded  = "b" // what Vitess itself costs
)

// configurations in the order of the report. The ratios are to the first two.
var configurations = []configuration{
	{Name: plainMySQL, Title: "upstream's mysql8 on plain MySQL", Stock: true, RunsServer: true},
	{Name: unsharded, Title: "upstream's mysql8 on an unsharded keyspace of Vitess", Stock: true},
	{Name: "b1", Title: "upstream's mysql8 on sharded keyspaces with 1 Vitess shard, to tell what vtgate's routing costs; Vitess refuses what is left empty", VitessShards: 1, Stock: true},
	{Name: "c1", Title: "the plugin on 1 Vitess shard", VitessShards: 1},
	{Name: "c2", Title: "the plugin on 2 Vitess shards", VitessShards: 2, RunsServer: true},
	{Name: "c2-off", Title: "the plugin on 2 Vitess shards, pipelining off", VitessShards: 2, Attributes: map[string]string{"vitess_pipelining": "off"}},
	{Name: "c4", Title: "the plugin on 4 Vitess shards", VitessShards: 4},
}

// databases is one cluster, with one mysqld, that holds the data of all configurations.
type databases struct {
	*cluster.Cluster
	byShards map[int]*testbed.Testbed
	plain    *config.SQL
}

const (
	unshardedKeyspace = "temporal_unsharded"
	plainDatabase     = "temporal_plain"
)

func startDatabases(ctx context.Context) (*databases, error) {
	tables, err := testbed.AllTables()
	if err != nil {
		return nil, err
	}
	keyspaces := []cluster.Keyspace{{Name: unshardedKeyspace, Shards: 1, DDL: tables}}
	suffix := func(vitessShards int) string { return fmt.Sprintf("_%d", vitessShards) }
	d := &databases{byShards: map[int]*testbed.Testbed{}}
	for _, c := range configurations {
		if _, ok := d.byShards[c.VitessShards]; ok || c.VitessShards == 0 {
			continue
		}
		d.byShards[c.VitessShards] = nil
		set, err := testbed.Keyspaces(suffix(c.VitessShards), c.VitessShards, vschema.ProfileNamespace)
		if err != nil {
			return nil, err
		}
		keyspaces = append(keyspaces, set...)
	}
	if d.Cluster, err = cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces}); err != nil {
		return nil, err
	}
	for vitessShards := range d.byShards {
		if d.byShards[vitessShards], err = testbed.On(d.Cluster, suffix(vitessShards), vschema.ProfileNamespace); err != nil {
			return nil, errors.Join(err, d.Stop())
		}
		if d.plain == nil {
			if d.plain, err = d.byShards[vitessShards].PlainConfig(ctx, plainDatabase); err != nil {
				return nil, errors.Join(err, d.Stop())
			}
		}
	}
	return d, nil
}

// checkRoutes returns an error if the plugin has sent something to several Vitess shards.
func (d *databases) checkRoutes(ctx context.Context) error {
	for _, onAny := range d.byShards { // the counters are those of the one vtgate
		return onAny.CheckRoutes(ctx)
	}
	return nil
}

// configs implements servers.
func (d *databases) configs(c configuration, connections int) (main, visibility config.SQL) {
	switch {
	case c.Name == plainMySQL:
		main, visibility = *d.plain, *d.plain
	case c.VitessShards == 0:
		main = stock(d.VTGateAddr(), unshardedKeyspace)
		visibility = main
	case c.Stock:
		main = stock(d.VTGateAddr(), d.byShards[c.VitessShards].MainConfig().DatabaseName)
		visibility = stock(d.VTGateAddr(), d.byShards[c.VitessShards].VisibilityConfig(vschema.ProfileNamespace).DatabaseName)
	default:
		main = *d.byShards[c.VitessShards].MainConfig()
		visibility = *d.byShards[c.VitessShards].VisibilityConfig(vschema.ProfileNamespace)
	}
	for _, cfg := range []*config.SQL{&main, &visibility} {
		cfg.MaxConns, cfg.MaxIdleConns = connections, connections
		cfg.ConnectAttributes = maps.Clone(cfg.ConnectAttributes)
		if len(c.Attributes) > 0 {
			maps.Copy(cfg.ConnectAttributes, c.Attributes)
		}
	}
	return main, visibility
}

// stock configures upstream's plugin on a keyspace, through a vtgate.
func stock(vtgate, keyspace string) config.SQL {
	return config.SQL{
		PluginName:      mysql.PluginName,
		DatabaseName:    keyspace,
		ConnectAddr:     vtgate,
		ConnectProtocol: "tcp",
		User:            "temporal",
	}
}
