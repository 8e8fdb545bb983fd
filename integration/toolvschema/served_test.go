package toolvschema

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"
	"golang.org/x/sync/errgroup"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// connect connects as the tool does. It may be called from a cleanup.
func connect(t *testing.T) *live.Vitess {
	t.Helper()
	connector, err := plugin.NewConnector(&config.SQL{ConnectAddr: running.VTGateAddr(), User: "tool"}, resolver.NewNoopResolver())
	require.NoError(t, err)
	vitess, err := live.Open(context.WithoutCancel(t.Context()), connector, running.VTCtldAddr())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, vitess.Close()) })
	return vitess
}

// putTopologyAhead leaves a set with its VSchema in the topology, and vtgate with none.
func putTopologyAhead(t *testing.T, vitess *live.Vitess, set string) {
	t.Helper()
	apply := func(keyspace string, target *vschemapb.Keyspace, skipRebuild bool) {
		_, err := vitess.VTCtld.ApplyVSchema(t.Context(), &vtctldatapb.ApplyVSchemaRequest{Keyspace: keyspace, VSchema: target, SkipRebuild: skipRebuild})
		require.NoError(t, err)
	}
	for _, keyspace := range newKeyspaces(set) {
		apply(keyspace.Name, &vschemapb.Keyspace{}, false)
	}
	for i, role := range vschema.Roles() {
		wanted, err := compare.Wanted(role, vschema.ProfileNamespace, "")
		require.NoError(t, err)
		apply(newKeyspaces(set)[i].Name, wanted, true)
	}
	for _, keyspace := range newKeyspaces(set) {
		require.Eventually(t, func() bool {
			served, err := vitess.ServedVSchema(t.Context(), keyspace.Name)
			return assert.NoError(t, err) && !served.Sharded
		}, startTimeout, 50*time.Millisecond)
	}
}

// requireServed fails unless topology and vtgate have the whole VSchema of a set.
func requireServed(t *testing.T, set string) {
	t.Helper()
	for way, flags := range ways() {
		out, err := tool(t, running, set, append(flags, "vschema", "diff")...)
		require.NoError(t, err, "%s: %s", way, out)
	}
}

func TestWhatVTGateDoesNotServeIsSeenAndMended(t *testing.T) {
	const set = "ahead"
	vitess := connect(t)
	putTopologyAhead(t, vitess, set)

	out, err := tool(t, running, set, throughVTCtld("vschema", "diff")...)
	require.ErrorContains(t, err, "the live VSchema differs: ")
	assert.Contains(t, out, "keyspace ahead:\n  not served by vtgate as the topology has it, has an unsharded VSchema, wants a sharded VSchema\n")
	assert.Contains(t, out, "keyspace ahead_global:\n  not served by vtgate as the topology has it: cluster_membership, ")

	out, err = tool(t, running, set, throughVTCtld("vschema", "apply", "--emit", t.TempDir())...)
	require.NoError(t, err, out)
	assert.Contains(t, out, "keyspace ahead: the topology has it all, for vtctldclient RebuildVSchemaGraph\n")

	// The first command finds no tables, the others those of the one before.
	for _, command := range []string{"setup-schema", "setup-schema", "update-schema", "vschema"} {
		arguments := []string{command}
		if command == "vschema" {
			arguments = append(arguments, "apply")
		}
		for way, flags := range ways() {
			t.Run(command+" through "+way, func(t *testing.T) {
				putTopologyAhead(t, vitess, set)
				out, err := tool(t, running, set, append(flags, arguments...)...)
				require.NoError(t, err, out)
				requireServed(t, set)
			})
		}
	}
}

// left is the name that a run without vtctld adds to a VSchema for a moment.
const left = "temporal_vitess_tool"

// TestWhatAnInterruptedRunLeavesGoes has it in VSchemas.
func TestWhatAnInterruptedRunLeavesGoes(t *testing.T) {
	const set = "rest"
	vitess := connect(t)
	_, err := tool(t, running, set, "vschema", "apply")
	require.NoError(t, err)
	execute(t,
		"ALTER VSCHEMA CREATE VINDEX rest."+left+" USING hash", "ALTER VSCHEMA DROP TABLE rest.shards",
		"ALTER VSCHEMA ADD TABLE rest_global."+left, "ALTER VSCHEMA DROP TABLE rest_global.queue",
	)
	out, err := tool(t, running, set, "vschema", "apply")
	require.NoError(t, err, out)
	requireServed(t, set)
	for _, keyspace := range newKeyspaces(set) {
		response, err := vitess.VTCtld.GetVSchema(t.Context(), &vtctldatapb.GetVSchemaRequest{Keyspace: keyspace.Name})
		require.NoError(t, err)
		assert.NotContains(t, response.VSchema.Vindexes, left)
		assert.NotContains(t, response.VSchema.Tables, left)
	}
}

// TestRunsAtOnce starts set-ups of several sets, two of the same, and an update and a change of the VSchema of those.
func TestRunsAtOnce(t *testing.T) {
	var group errgroup.Group
	for set, commands := range map[string][][]string{
		"one":   {{"setup-schema"}, {"setup-schema", "--store", "visibility"}, throughVTCtld("vschema", "apply")},
		"two":   {throughVTCtld("setup-schema"), throughVTCtld("setup-schema")},
		"three": {{"setup-schema"}},
		"four":  {throughVTCtld("setup-schema")},
	} {
		for _, command := range commands {
			group.Go(func() error {
				out, err := tool(t, running, set, command...)
				assert.NoError(t, err, "%s %v: %s", set, command, out)
				return nil
			})
		}
	}
	require.NoError(t, group.Wait())
	for _, set := range []string{"one", "two", "three", "four"} {
		requireServed(t, set)
		out, err := tool(t, running, set, "update-schema", "--dry-run")
		require.NoError(t, err)
		assert.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
	}
}

func TestARunWaitsForItsTurn(t *testing.T) {
	vitess := connect(t)
	end, err := vitess.TakeTurn(t.Context(), func() { t.Error("nobody is at work") })
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	_, err = vitess.TakeTurn(ctx, cancel)
	require.ErrorIs(t, err, context.Canceled)

	waits := make(chan struct{})
	turns := make(chan error)
	go func() {
		end, err := vitess.TakeTurn(t.Context(), func() { close(waits) })
		if err == nil {
			end()
		}
		turns <- err
	}()
	<-waits
	select {
	case <-turns:
		require.Fail(t, "two runs at once")
	default:
	}
	end()
	require.NoError(t, <-turns)
}
