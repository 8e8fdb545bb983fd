package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestOptionsHaveDefaults(t *testing.T) {
	options, err := parseOptions(sqlplugin.DbKindMain, &config.SQL{DatabaseName: "prod"})
	require.NoError(t, err)
	require.Equal(t, Options{GlobalKeyspace: "prod_global", VisibilityProfile: vschema.ProfileNamespace, MaxRows: 10000, Pipelining: conn.DefaultPipelining, SubqueueTasks: SubqueueTasksVitess}, options)
}

func TestOptionsAreRead(t *testing.T) {
	options, err := parseOptions(sqlplugin.DbKindMain, &config.SQL{ConnectAttributes: map[string]string{
		"vitess_global_keyspace": "lookup", "vitess_max_rows": "500", "vitess_unknown_statements": "reject", "vitess_pipelining": "off",
		"vitess_subqueue_tasks": "upstream-read-both", "timeout": "5s",
	}})
	require.NoError(t, err)
	require.Equal(t, Options{
		GlobalKeyspace: "lookup", VisibilityProfile: vschema.ProfileNamespace, MaxRows: 500, RejectUnknown: true, SubqueueTasks: SubqueueTasksUpstreamReadBoth,
	}, options)
	options, err = parseOptions(sqlplugin.DbKindVisibility, &config.SQL{ConnectAttributes: map[string]string{"vitess_visibility_profile": "spread"}})
	require.NoError(t, err)
	require.Equal(t, vschema.ProfileSpread, options.VisibilityProfile)
	for value, upstream := range map[string]bool{"tuned": false, "upstream": true} {
		options, err = parseOptions(sqlplugin.DbKindVisibility, &config.SQL{ConnectAttributes: map[string]string{"vitess_visibility_queries": value}})
		require.NoError(t, err)
		require.Equal(t, upstream, options.UpstreamQueries)
	}
}

func TestPipeliningIsAListOfWays(t *testing.T) {
	for value, want := range map[string]conn.Pipelining{
		"on": conn.DefaultPipelining, "off": 0, "packets": conn.Packets, "packets,reads": conn.Packets | conn.Reads, " packets , reads ": conn.Packets | conn.Reads,
		"packets,look-ahead": conn.Packets | conn.LookAhead,
		"packets,history":    conn.Packets | conn.History,
		"packets,locks":      conn.Packets | conn.Locks,
	} {
		options, err := parseOptions(sqlplugin.DbKindMain, &config.SQL{ConnectAttributes: map[string]string{"vitess_pipelining": value}})
		require.NoError(t, err)
		require.Equal(t, want, options.Pipelining, value)
	}
	all := conn.Pipelining(0)
	for _, w := range pipeliningWays {
		all |= w.way
	}
	require.Equal(t, conn.AllPipelining, all)
}

func TestBadConfigurationIsAnErrorThatNamesTheOption(t *testing.T) {
	for _, test := range []struct {
		name       string
		kind       sqlplugin.DbKind
		attributes map[string]string
		says       []string
	}{
		{"unknown option", sqlplugin.DbKindMain, map[string]string{"vitess_globl_keyspace": "x"},
			[]string{"there is no option vitess_globl_keyspace", "vitess_global_keyspace"}},
		{"empty keyspace", sqlplugin.DbKindMain, map[string]string{"vitess_global_keyspace": " "},
			[]string{"vitess_global_keyspace", "temporal_global"}},
		{"global keyspace of the visibility store", sqlplugin.DbKindVisibility, map[string]string{"vitess_global_keyspace": "x"},
			[]string{"vitess_global_keyspace belongs to the main store"}},
		{"profile of the main store", sqlplugin.DbKindMain, map[string]string{"vitess_visibility_profile": "spread"},
			[]string{"vitess_visibility_profile belongs to the visibility store"}},
		{"unknown profile", sqlplugin.DbKindVisibility, map[string]string{"vitess_visibility_profile": "run"},
			[]string{`vitess_visibility_profile is "run"`, "[namespace spread]"}},
		{"queries of the main store", sqlplugin.DbKindMain, map[string]string{"vitess_visibility_queries": "upstream"},
			[]string{"vitess_visibility_queries belongs to the visibility store"}},
		{"unknown queries", sqlplugin.DbKindVisibility, map[string]string{"vitess_visibility_queries": "fast"},
			[]string{`vitess_visibility_queries is "fast"`, "tuned or upstream"}},
		{"no rows", sqlplugin.DbKindMain, map[string]string{"vitess_max_rows": "0"},
			[]string{`vitess_max_rows is "0"`, "1 or more"}},
		{"rows that are no number", sqlplugin.DbKindMain, map[string]string{"vitess_max_rows": "many"},
			[]string{`vitess_max_rows is "many"`}},
		{"unknown way with statements", sqlplugin.DbKindMain, map[string]string{"vitess_unknown_statements": "ignore"},
			[]string{`vitess_unknown_statements is "ignore"`, "pass or reject"}},
		{"neither on nor off", sqlplugin.DbKindMain, map[string]string{"vitess_pipelining": "maybe"},
			[]string{`vitess_pipelining is "maybe"`, "on, off, or packets"}},
		{"a way without packets", sqlplugin.DbKindMain, map[string]string{"vitess_pipelining": "reads"},
			[]string{`vitess_pipelining is "reads"`, "on, off, or packets"}},
		{"unknown place of tasks", sqlplugin.DbKindMain, map[string]string{"vitess_subqueue_tasks": "both"},
			[]string{`vitess_subqueue_tasks is "both"`, "[upstream upstream-read-both vitess-read-both vitess]"}},
		{"tasks of the visibility store", sqlplugin.DbKindVisibility, map[string]string{"vitess_subqueue_tasks": "upstream"},
			[]string{"vitess_subqueue_tasks belongs to the main store"}},
		{"transactions over several Vitess shards", sqlplugin.DbKindMain, map[string]string{"transaction_mode": "'multi'"},
			[]string{"transaction_mode is 'multi'", "leave it out"}},
		{"server-side PREPARE", sqlplugin.DbKindMain, map[string]string{"interpolateParams": "false"},
			[]string{`interpolateParams is "false"`, "leave it out"}},
		{"an attribute that the driver cannot read", sqlplugin.DbKindMain, map[string]string{"timeout": "soon"},
			[]string{"connectAttributes", "soon"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := &config.SQL{PluginName: Name, DatabaseName: "temporal", ConnectAddr: "127.0.0.1:1", ConnectAttributes: test.attributes}
			_, err := persistencesql.NewSQLDB(test.kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
			require.Error(t, err)
			for _, text := range test.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
}
