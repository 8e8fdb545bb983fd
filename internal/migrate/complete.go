package migrate

import (
	"context"
	"errors"
	"fmt"

	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/topo/topoproto"
)

// Complete ends all moves for good: there is no way back after it. The source's tables stay, and refuse what comes through vtgate,
// unless they are to be dropped. It calls progress before each step, and returns what is left to clean up by hand.
func (m *Migration) Complete(ctx context.Context, dropTables bool, progress func(string)) (left []string, err error) {
	states, err := m.State(ctx)
	if err != nil {
		return nil, err
	}
	if len(states) == 0 {
		return nil, errors.New("no move to these keyspaces is under way")
	}
	for _, state := range states {
		if state.Phase != Switched {
			return nil, fmt.Errorf("%s is %s, with the traffic on %s: only what is switched can be completed",
				state.Move, state.Phase, state.Traffic)
		}
	}
	for _, state := range states {
		if state.deleted() {
			return nil, fmt.Errorf("%s: a reverse that was given up has deleted its workflow (Vitess issue 14276): run migrate reverse and migrate switch again before", state.Move)
		}
	}
	if left, err = m.leftovers(ctx, states); err != nil {
		return nil, err
	}
	// The end of the context does not interrupt it: what Vitess has removed by halves would look as if there were a way back.
	ctx = context.WithoutCancel(ctx)
	for _, state := range states {
		progress("completing " + state.Move.String())
		_, err := m.Vitess.VTCtld.MoveTablesComplete(ctx, &vtctldatapb.MoveTablesCompleteRequest{
			TargetKeyspace: state.Target, Workflow: state.Workflow, KeepData: !dropTables,
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", state.Move, err)
		}
	}
	return left, nil
}

// leftovers are the commands that remove the sources' keyspaces.
func (m *Migration) leftovers(ctx context.Context, states []State) ([]string, error) {
	var left []string
	seen := map[string]bool{}
	for _, state := range states {
		if seen[state.Source] {
			continue
		}
		seen[state.Source] = true
		primaries, err := m.primaries(ctx, state.Source)
		if err != nil {
			return nil, err
		}
		sidecar, err := m.sidecar(ctx, state.Source)
		if err != nil {
			return nil, err
		}
		left = append(left, fmt.Sprintf("keyspace %s, when its vttablets are stopped: vtctldclient DeleteKeyspace --recursive %s", state.Source, state.Source))
		for _, on := range primaries {
			if on.attached() {
				left = append(left, fmt.Sprintf("in the MySQL server behind %s: DROP DATABASE `%s`, and the user of its vttablet; database %s is what the way back has left",
					topoproto.TabletAliasString(on.Alias), sidecar, on.DbNameOverride))
			}
		}
	}
	return left, nil
}
