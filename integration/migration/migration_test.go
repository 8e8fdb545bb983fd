package migration

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/faults"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// Workflows that are there before a migration: some are over, some wait.
const over, waiting = 100, 20

// replaceUniqueKey is what migrate plan offers.
const replaceUniqueKey = "ALTER TABLE buffered_events ADD INDEX id_plain (id), DROP INDEX id, ALGORITHM=INPLACE, LOCK=NONE"

// A cluster with upstream's plugin on an unsharded keyspace moves, with what it has.
func TestUnshardedKeyspace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	vitess, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{Cluster: fullcluster.Config{
		Keyspaces: []fullcluster.Keyspace{{Keyspace: cluster.Keyspace{Name: legacy, Shards: 1, DDL: upstreamTables(t)}}},
		Log:       testLog{t},
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, vitess.Stop()) }()
	leaveOld(t, ctx, vitess.VTGateAddrs()[0], "temporal", legacy)
	onShard(t, vitess, legacy, "0", replaceUniqueKey)
	planWithoutVTCtld(t, vitess)
	run(t, vitess, "start", "--source", legacy)
	s, err := server.Start(ctx, server.Config{Main: vitess.MainConfig(), Visibility: vitess.VisibilityConfig(), HistoryShards: faults.HistoryShards})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	awaitMembers(t, s)
	run(t, vitess, "status", "--watch")
	run(t, vitess, "switch", "--skip", "vdiff")
	require.Contains(t, run(t, vitess, "status"), "open")
	run(t, vitess, "complete")
	require.Contains(t, run(t, vitess, "status"), "no move to these keyspaces is under way")
	finishOld(t, s, over, waiting)
}

// planWithoutVTCtld plans as on PlanetScale, which shows nobody its vtctld.
func planWithoutVTCtld(t *testing.T, on vitess) {
	t.Helper()
	plan := func(more ...string) (string, error) {
		all := arguments(t, on, append([]string{"migrate", "plan", "--source", legacy}, more...)...)
		vtctld := slices.Index(all, "--vtctld")
		var out bytes.Buffer
		app := command.New()
		app.Writer, app.ErrWriter = &out, &out
		err := app.RunContext(t.Context(), slices.Delete(all, vtctld, vtctld+2))
		return out.String(), err
	}
	_, err := plan()
	require.ErrorContains(t, err, "give --vtctld")
	_, err = plan("--pscale", "production")
	require.ErrorContains(t, err, `--pscale: "production" is not DATABASE/BRANCH`)
	out, err := plan("--pscale", "production/main")
	require.NoError(t, err)
	t.Log(out)
	require.Contains(t, out, "legacy → temporal_visibility  3")
	require.Contains(t, out, "\npscale branch vtctl move-tables create production main --workflow from_legacy_to_temporal_visibility --target-keyspace temporal_visibility "+
		"--source-keyspace legacy --tables chasm_search_attributes,custom_search_attributes,executions_visibility\n")
	require.NotContains(t, out, "On disk")
}

// A cluster with upstream's plugin on a MySQL server without Vitess moves, there and back and there, and for good.
func TestPlainMySQL(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	vitess, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{Cluster: fullcluster.Config{VTGates: 2, VTOrc: true, Log: testLog{t}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, vitess.Stop()) }()
	mysql := mysqlBeside(t, ctx, vitess.Cluster)
	addr, admin := mysql.Addr()
	leaveOld(t, ctx, addr, "temporal", database)
	vttablet := attach(t, ctx, vitess, vitess.Cluster, mysql)
	execIn(t, addr, admin, database, replaceUniqueKey)
	remove := func() {
		require.NoError(t, vttablet.Kill())
		_, err := vitess.VTCtl(t.Context(), "DeleteKeyspace", "--recursive", legacy)
		require.NoError(t, err)
		execIn(t, addr, admin, "", "DROP DATABASE _vt", "DROP DATABASE "+database)
	}
	moveUnderLoad(t, ctx, vitess, remove,
		[]string{"status", "--watch"}, []string{"switch", "--skip", "vdiff"}, []string{"verify"},
		[]string{"reverse"}, []string{"switch", "--skip", "vdiff"}, []string{"complete"})
}

// leaveOld leaves workflows behind that a server with upstream's plugin has run. That it ran is forgotten: the next server would try
// to join its hosts, for up to a minute (bootstrapRingPop in upstream's common/membership/ringpop/monitor.go).
func leaveOld(t *testing.T, ctx context.Context, addr, user, database string) {
	t.Helper()
	store := upstreamConfig(addr, user, database)
	require.NoError(t, testbed.RecordVersion(sqlplugin.DbKindMain, store))
	before, err := server.Start(ctx, server.Config{Main: store, Visibility: store, HistoryShards: faults.HistoryShards})
	require.NoError(t, err)
	startOld(t, before, over, waiting)
	require.NoError(t, before.Stop())
	execIn(t, addr, user, database, "DELETE FROM cluster_membership")
}

// moveUnderLoad moves legacy to the keyspaces by steps of migrate, to the end, while workflows run. The server has the plugin, and
// the final names. What was there before ends after the source is removed.
func moveUnderLoad(t *testing.T, ctx context.Context, vitess *fullcluster.Testbed, removeSource func(), steps ...[]string) {
	t.Helper()
	run(t, vitess, "plan", "--source", legacy)
	run(t, vitess, "start", "--source", legacy)
	bed, err := faults.BedOn(ctx, vitess, testLog{t}, "")
	require.NoError(t, err)
	defer func() { require.NoError(t, bed.Server().Stop()) }()
	awaitMembers(t, bed.Server())

	result, err := bed.Run(t.Context(), faults.Fault{
		Name: "migration", Hurts: faults.AllVitessShards,
		Break: func(ctx context.Context, _ *faults.Bed, load *faults.Load) error {
			for _, step := range steps {
				run(t, vitess, step[0], step[1:]...)
				if step[0] == "switch" || step[0] == "reverse" {
					if err := load.Progress(ctx, 20); err != nil {
						return err
					}
				}
			}
			return nil
		},
	})
	require.NoError(t, err)
	t.Logf("%+v", *result)
	require.NoError(t, result.Err())
	removeSource()
	finishOld(t, bed.Server(), over, waiting)
}
