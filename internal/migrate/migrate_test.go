package migrate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestPhase(t *testing.T) {
	running := Stream{State: "Running", Updated: time.Now()}
	begun := []Stream{running, running}
	stopped := []Stream{{State: "Stopped"}}
	ended := []Stream{{State: "Stopped", Message: frozen, Updated: time.Now()}}
	cutover := []Stream{running, {State: "Stopped", Message: forCutover, Updated: time.Now()}}
	for name, test := range map[string]struct {
		facts facts
		want  Phase
	}{
		"nothing":                                        {facts{traffic: Nobody}, NotBegun},
		"streams without rules":                          {facts{traffic: Nobody, forward: stopped}, Unfinished},
		"streams that never ran":                         {facts{traffic: Source, forward: stopped, targetDenies: true}, Unfinished},
		"a cancel was interrupted":                       {facts{traffic: Source, forward: []Stream{{State: "Stopped", Message: emptied}}}, Cancelled},
		"rows are copied":                                {facts{traffic: Source, forward: begun, copying: true, targetDenies: true}, Copying},
		"all rows are copied":                            {facts{traffic: Source, forward: begun, targetDenies: true}, Following},
		"writes are stopped":                             {facts{traffic: Source, forward: begun, sourceDenies: true}, Held},
		"the streams have caught up":                     {facts{traffic: Source, forward: cutover, sourceDenies: true}, Held},
		"streams of a switch that was taken back halves": {facts{traffic: Source, forward: cutover, targetDenies: true}, Held},
		"rules by halves":                                {facts{traffic: Both, forward: begun}, Held},
		"the streams are not frozen yet":                 {facts{traffic: Target, forward: cutover, sourceDenies: true}, Held},
		"switched":                                       {facts{traffic: Target, forward: ended, backward: begun, sourceDenies: true}, Switched},
		"writes are stopped to go back":                  {facts{traffic: Target, forward: ended, backward: begun, sourceDenies: true, targetDenies: true}, Held},
		"the traffic is back, and streams wait":          {facts{traffic: Source, forward: stopped, backward: cutover, targetDenies: true}, Held},
		"the rules of a switched move are gone":          {facts{traffic: Nobody, forward: ended, backward: begun, sourceDenies: true}, Unrouted},
		"the rules are gone while writes are stopped":    {facts{traffic: Nobody, forward: cutover, sourceDenies: true}, Unrouted},
		"a reverse was given up":                         {facts{traffic: Target, backward: begun, sourceDenies: true}, Switched},
		"a reverse died having deleted the workflow":     {facts{traffic: Target, backward: cutover, sourceDenies: true, targetDenies: true}, Held},
		"a reverse was taken back, all but the freezing": {facts{traffic: Target, forward: stopped, backward: begun, sourceDenies: true}, Held},
		"streams of a way back that is over":             {facts{traffic: Source, backward: ended}, NotBegun},
		"back":                                           {facts{traffic: Source, forward: begun, backward: ended, targetDenies: true}, Following},
	} {
		require.Equal(t, test.want, test.facts.phase(), name)
	}
}

func TestTrouble(t *testing.T) {
	now := time.Now()
	for says, stream := range map[string]Stream{
		"":                       {State: "Running", Updated: now},
		"INSERT command denied":  {State: "Running", Message: "INSERT command denied", Updated: now},
		"has not begun yet":      {State: "Running"},
		"stopped":                {State: "Stopped", Updated: now},
		"no sign since 2m0s":     {State: "Running", Updated: now.Add(-2 * time.Minute)},
		"state Error":            {State: "Error", Updated: now},
		"Duplicate entry '1-id'": {State: "Error", Message: "Duplicate entry '1-id'", Updated: now},
	} {
		require.Equal(t, says, stream.Trouble())
	}
	require.Empty(t, Stream{State: "Stopped", Message: frozen}.Trouble())
}

func TestTraffic(t *testing.T) {
	move := Move{Source: "legacy", Target: "temporal", Tables: []string{"a", "b"}}
	all := func(to ...string) map[string]string {
		leads := map[string]string{}
		for i, table := range move.Tables {
			for _, from := range []string{"legacy.", "temporal."} {
				leads[from+table] = to[i%len(to)] + "." + table
			}
		}
		return leads
	}
	require.Equal(t, Source, traffic(move, all("legacy")))
	require.Equal(t, Target, traffic(move, all("temporal")))
	require.Equal(t, Both, traffic(move, all("legacy", "temporal")))
	require.Equal(t, Both, traffic(move, all("elsewhere")))
	require.Equal(t, Nobody, traffic(move, nil))
	switched := all("temporal")
	delete(switched, "temporal.a")
	delete(switched, "temporal.b")
	require.Equal(t, Target, traffic(move, switched))
	reversed := all("legacy")
	delete(reversed, "legacy.a")
	delete(reversed, "legacy.b")
	require.Equal(t, Source, traffic(move, reversed))
	delete(reversed, "temporal.a")
	require.Equal(t, Both, traffic(move, reversed))
}

func TestNotBetween(t *testing.T) {
	before, after := sums{"1": 5, "2": 7, "gone": 1}, sums{"1": 6, "2": 7, "new": 1}
	require.Empty(t, notBetween(before, sums{"1": 5, "2": 7}, after))
	require.Empty(t, notBetween(before, sums{"1": 6, "2": 7, "gone": 1, "new": 1}, after))
	require.Equal(t, []string{"1 is 4, and should be 5 or more", "2 is missing"}, notBetween(before, sums{"1": 4}, after))
	require.Equal(t, []string{"1 is 7, and should be 6 or less"}, notBetween(before, sums{"1": 7, "2": 7}, after))
}

func TestOldVersions(t *testing.T) {
	for text, want := range map[string]bool{
		"Version: 24.0.3 (Git revision …)": false, "24.0.4": false, "25.0.0-SNAPSHOT": false, "24.1.0": false,
		"24.0.2": true, "Version: 23.9.9": true,
	} {
		old, err := isOld(text)
		require.NoError(t, err)
		require.Equal(t, want, old, text)
	}
	_, err := isOld("unknown")
	require.Error(t, err)
}

func TestEnablesBuffer(t *testing.T) {
	require.True(t, enablesBuffer([]string{"vtgate", "--enable-buffer"}))
	require.True(t, enablesBuffer([]string{"vtgate", "--enable_buffer=true"}))
	require.True(t, enablesBuffer([]string{"vtgate", "-enable_buffer=false", "-enable_buffer"}))
	require.False(t, enablesBuffer([]string{"vtgate", "--enable-buffer", "--enable-buffer=false"}))
	require.False(t, enablesBuffer([]string{"vtgate", "--enable-buffer-dry-run"}))
	require.False(t, enablesBuffer(nil))
}

func TestNamesTable(t *testing.T) {
	moved := map[string]bool{"shards": true}
	old := func(keyspace string) bool { return keyspace != "temporal" }
	for statement, want := range map[string]bool{
		"select * from shards where shard_id = 1":          true,
		"select * from legacy.shards":                      true,
		"update `temporal`.shards set range_id = 1":        false,
		"select * from others":                             false,
		"insert into shards(shard_id) values (1)":          true,
		"delete from `temporal`.shards where shard_id = 1": false,
		"not a statement":                                  false,
	} {
		_, names := namesTable(statement, moved, old)
		require.Equal(t, want, names, statement)
	}
}

// What setup-schema writes is found again, and nothing else.
func TestFirstRows(t *testing.T) {
	conditions, inserts, err := firstRows(Move{Roles: []vschema.Role{vschema.Global}, Tables: []string{"namespace_metadata", "namespaces"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"namespace_metadata": "partition_id = 54321 AND notification_version = 1"}, conditions)
	require.Len(t, inserts, 1)
	conditions, _, err = firstRows(Move{Roles: []vschema.Role{vschema.Main}, Tables: []string{"shards"}})
	require.NoError(t, err)
	require.Empty(t, conditions)
}

// The streams back to one source have names of their own.
func TestWorkflowNames(t *testing.T) {
	main, global := newMove("legacy", "temporal", nil), newMove("legacy", "temporal_global", nil)
	require.NotEqual(t, main.reverse(), global.reverse())
	require.NotEqual(t, main.Workflow, newMove("other", "temporal", nil).Workflow)
}

func TestStepsAreTheCommandsOfEitherClient(t *testing.T) {
	move := newMove("legacy", "temporal", []vschema.Role{vschema.Main})
	move.Tables = []string{"buffered_events", "executions", "shards"}
	for name, test := range map[string]struct {
		pscale *PScale
		want   []string
	}{
		"vtctldclient": {nil, []string{
			"vtctldclient MoveTables --workflow from_legacy_to_temporal --target-keyspace temporal create --source-keyspace legacy --tables buffered_events,executions,shards",
			"vtctldclient VDiff --workflow from_legacy_to_temporal --target-keyspace temporal create --tables executions,shards",
			"vtctldclient MoveTables --workflow from_legacy_to_temporal --target-keyspace temporal switchtraffic",
			"vtctldclient MoveTables --workflow from_legacy_to_temporal --target-keyspace temporal reversetraffic",
			"vtctldclient MoveTables --workflow from_legacy_to_temporal --target-keyspace temporal complete --keep-data",
			"vtctldclient MoveTables --workflow from_legacy_to_temporal --target-keyspace temporal cancel --keep-data",
		}},
		"pscale": {&PScale{"production", "main"}, []string{
			"pscale branch vtctl move-tables create production main --workflow from_legacy_to_temporal --target-keyspace temporal --source-keyspace legacy --tables buffered_events,executions,shards",
			"pscale branch vtctl vdiff create production main --workflow from_legacy_to_temporal --target-keyspace temporal --tables executions,shards",
			"pscale branch vtctl move-tables switch-traffic production main --workflow from_legacy_to_temporal --target-keyspace temporal",
			"pscale branch vtctl move-tables reverse-traffic production main --workflow from_legacy_to_temporal --target-keyspace temporal",
			"pscale branch vtctl move-tables complete production main --workflow from_legacy_to_temporal --target-keyspace temporal --keep-data",
			"pscale branch vtctl move-tables cancel production main --workflow from_legacy_to_temporal --target-keyspace temporal --keep-data",
		}},
	} {
		var commands []string
		for _, step := range steps([]Move{move}, test.pscale) {
			commands = append(commands, step.Commands...)
		}
		require.Equal(t, test.want, commands, name)
	}
}

func TestTablesWithoutAMoveHaveNotBegunWhileTheTrafficIsOnTheSource(t *testing.T) {
	m, err := New(Config{
		Vitess: &live.Vitess{}, PScale: &PScale{}, Profile: vschema.ProfileNamespace,
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global", vschema.Visibility: "temporal_visibility"},
	})
	require.NoError(t, err)
	state := func(target string, role vschema.Role, phase Phase, traffic Side) State {
		move := newMove("legacy", target, []vschema.Role{role})
		move.Tables = m.tables[role]
		return State{Move: move, Phase: phase, Traffic: traffic}
	}
	main, visibility := state("temporal", vschema.Main, Following, Source), state("temporal_visibility", vschema.Visibility, Copying, Source)
	global := newMove("legacy", "temporal_global", []vschema.Role{vschema.Global})
	global.Tables = m.tables[vschema.Global]
	require.Equal(t, []Move{global}, m.unbegun([]State{main, visibility}))
	require.Contains(t, Advice([]State{main, visibility, {Move: global, Phase: NotBegun}}), "migrate start")
	require.Empty(t, m.unbegun([]State{main, visibility, state("temporal_global", vschema.Global, Unfinished, Nobody)}))
	require.Empty(t, m.unbegun([]State{state("temporal", vschema.Main, Switched, Target)}), "the others may be complete")
	require.Empty(t, m.unbegun([]State{state("temporal", vschema.Main, Cancelled, Source)}))
	require.Empty(t, m.unbegun(nil))
}

func TestOnlyWhatIsNobodysIsCancelled(t *testing.T) {
	for _, state := range []State{
		{Phase: Following, Traffic: Source}, {Phase: Copying, Traffic: Source}, {Phase: Unfinished, Traffic: Nobody}, {Phase: Cancelled, Traffic: Source},
	} {
		require.NoError(t, state.cancellable())
	}
	for _, state := range []State{
		{Phase: Switched, Traffic: Target}, {Phase: Held, Traffic: Source}, {Phase: Unrouted, Traffic: Nobody}, {Phase: Cancelled, Traffic: Target}, {Phase: Following, Traffic: Both},
	} {
		require.ErrorContains(t, state.cancellable(), "reverse first")
	}
}

func TestAMoveWhoseWorkflowIsDeletedIsFoundByItsRules(t *testing.T) {
	require.Equal(t, []string{"legacy", "old"}, switchedFrom("temporal", map[string]string{
		"legacy.shards": "temporal.shards", "legacy.executions": "temporal.executions", "old.tasks@replica": "temporal.tasks",
		"shards": "temporal.shards", "temporal.queue": "temporal.queue", "legacy.namespaces": "temporal_global.namespaces",
	}))
}

func TestBufferedEventsFollow(t *testing.T) {
	before, after := sums{"stays": 1, "goes": 2}, sums{"stays": 1, "comes": 3}
	require.Empty(t, notEqual(before, sums{"stays": 1}, after))
	require.Empty(t, notEqual(before, sums{"stays": 1, "goes": 2, "comes": 3}, after))
	require.Equal(t, []string{"stays is missing"}, notEqual(before, sums{"comes": 3}, after))
	require.Equal(t, []string{"comes differs", "goes differs", "stays differs"}, notEqual(before, sums{"stays": 4, "goes": 4, "comes": 4}, after))
	require.Equal(t, []string{"old should not be there"}, notEqual(before, sums{"stays": 1, "old": 1}, after))
}
