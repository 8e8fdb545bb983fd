package tool

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/apply"
)

// TestOnlineDDLOnAVitessWithVReplication brings a table to the schema by a migration that copies it, which vtcombo cannot.
func TestOnlineDDLOnAVitessWithVReplication(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	running, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{Cluster: fullcluster.Config{VTTabletFlags: []string{"--migration-check-interval=1s"}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, running.Stop()) }()
	vtgate, err := cluster.Open("root", running.VTGateAddrs()[0], testbed.Visibility)
	require.NoError(t, err)
	defer vtgate.Close()
	update := func() string {
		host, port, err := net.SplitHostPort(running.VTGateAddrs()[0])
		require.NoError(t, err)
		var out bytes.Buffer
		app := command.New()
		app.Writer, app.ErrWriter = &out, &out
		err = app.RunContext(ctx, []string{
			"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", "tool", "--keyspace", testbed.Main, "update-schema", "--store", "visibility", "--ddl-strategy", "vitess",
		})
		require.NoError(t, err, out.String())
		return out.String()
	}

	_, err = vtgate.ExecContext(ctx, "ALTER TABLE executions_visibility DROP INDEX by_status")
	require.NoError(t, err)
	out := update()
	t.Log(out)
	_, kept, _ := strings.Cut(out, "keyspace temporal_visibility: Vitess keeps what its migrations copied with for a day (vttablet's --retain-online-ddl-tables), "+
		"and so long a Reshard of this keyspace fails when it switches; to end that earlier:\n")
	lines := strings.Split(kept, "\n")
	cleanup := strings.TrimSpace(lines[0])
	require.Regexp(t, "^ALTER VITESS_MIGRATION '[0-9a-f_]+' CLEANUP$", cleanup, out)
	done := "the visibility store is at " + apply.Visibility.Newest() + "\n"
	require.Equal(t, done, strings.Join(lines[1:], "\n"))
	for _, vitessShard := range cluster.ShardNames(2) {
		_, addr, user := running.MySQL(testbed.Visibility, vitessShard, 0)
		var columns int
		require.NoError(t, open(t, addr, user, "vt_"+testbed.Visibility).QueryRowContext(ctx,
			"SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'executions_visibility' AND index_name = 'by_status'").Scan(&columns))
		require.Positive(t, columns, vitessShard)
	}

	_, err = vtgate.ExecContext(ctx, cleanup)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return update() == done }, startTimeout, time.Second)
}
