package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/textutil"
	"vitess.io/vitess/go/vt/sqlparser"

	binlogdatapb "vitess.io/vitess/go/vt/proto/binlogdata"
	tabletmanagerdatapb "vitess.io/vitess/go/vt/proto/tabletmanagerdata"
	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/schema"
)

// Start makes the workflows of those moves that have none, and ends the making of those that were interrupted. From then on the
// routing rules lead all names, the source's and the target's, to the source, and vtgate follows them. The targets' tables have to be
// there, and empty. It calls progress before each step.
func (m *Migration) Start(ctx context.Context, progress func(string)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	for _, state := range states {
		switch state.Phase {
		case Cancelled, Held, Unrouted:
			return fmt.Errorf("%s is %s: see migrate status", state.Move, state.Phase)
		}
		if state.Phase == NotBegun && len(m.Sources) == 0 {
			return fmt.Errorf("%d tables of keyspace %s have no move yet, and from where they come is not said: give --source", len(state.Tables), state.Target)
		}
	}
	// What has begun is not interrupted by the end of the context: Vitess would take a workflow back by halves.
	uninterrupted := context.WithoutCancel(ctx)
	for _, state := range states {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch state.Phase {
		case NotBegun:
			progress("making the workflow of " + state.Move.String())
			err = m.create(uninterrupted, state.Move)
		case Unfinished:
			progress("finishing the workflow of " + state.Move.String() + ", whose making was interrupted")
			err = m.finish(uninterrupted, state)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", state.Move, err)
		}
		switch state.Phase {
		case NotBegun, Unfinished, Copying, Following: // of an earlier run, perhaps, that did not come so far
			if err := m.awaitFollowed(ctx, state.Move); err != nil {
				return fmt.Errorf("%s: %w", state.Move, err)
			}
		}
	}
	return nil
}

// awaitFollowed returns when vtgate leads the target's names to the source. Before it has the new routing rules they lead to the
// target, whose tables are denied: a server that starts then fails.
func (m *Migration) awaitFollowed(ctx context.Context, move Move) error {
	return poll(ctx, func() error {
		var answer string
		query := fmt.Sprintf("VEXPLAIN PLAN SELECT 1 FROM `%s`.`%s`", move.Target, move.Tables[0])
		if err := m.Vitess.DB.QueryRowContext(ctx, query).Scan(&answer); err != nil {
			return fmt.Errorf("where vtgate leads the target's names: %w", err)
		}
		var plan struct{ Keyspace struct{ Name string } }
		if err := json.Unmarshal([]byte(answer), &plan); err != nil {
			return fmt.Errorf("where vtgate leads the target's names: %w: %s", err, answer)
		}
		if plan.Keyspace.Name != move.Source {
			return fmt.Errorf("vtgate leads the target's names to keyspace %s still: it has not got the routing rules (vtctldclient GetSrvVSchema CELL tells whether the topology has)", plan.Keyspace.Name)
		}
		return nil
	})
}

func (m *Migration) create(ctx context.Context, move Move) error {
	if err := m.clearFirstRows(ctx, move); err != nil {
		return err
	}
	_, err := m.Vitess.VTCtld.MoveTablesCreate(ctx, createRequest(move))
	return err
}

// createRequest has vtctldclient's defaults.
func createRequest(move Move) *vtctldatapb.MoveTablesCreateRequest {
	return &vtctldatapb.MoveTablesCreateRequest{
		Workflow:           move.Workflow,
		SourceKeyspace:     move.Source,
		TargetKeyspace:     move.Target,
		IncludeTables:      move.Tables,
		OnDdl:              binlogdatapb.OnDDLAction_IGNORE.String(),
		DeferSecondaryKeys: true,
		AutoStart:          true,
		WorkflowOptions:    &vtctldatapb.WorkflowOptions{},
	}
}

// finish ends the making of a workflow. One without routing rules has no running stream either, and is made again.
func (m *Migration) finish(ctx context.Context, state State) error {
	if state.Traffic != Nobody {
		if err := m.deny(ctx, state.Move, state.Target); err != nil {
			return err
		}
		if _, err := m.Vitess.VTCtld.RebuildVSchemaGraph(ctx, &vtctldatapb.RebuildVSchemaGraphRequest{}); err != nil {
			return err
		}
		return m.resume(ctx, state.Target, state.Workflow)
	}
	if _, err := m.Vitess.VTCtld.WorkflowDelete(ctx, &vtctldatapb.WorkflowDeleteRequest{Keyspace: state.Target, Workflow: state.Workflow, KeepData: true}); err != nil {
		return err
	}
	return m.create(ctx, state.Move)
}

// resume lets the streams of a workflow run.
func (m *Migration) resume(ctx context.Context, keyspace, workflow string) error {
	return m.setStreams(ctx, keyspace, workflow, binlogdatapb.VReplicationWorkflowState_Running, "")
}

func (m *Migration) setStreams(ctx context.Context, keyspace, workflow string, state binlogdatapb.VReplicationWorkflowState, message string) error {
	_, err := m.Vitess.VTCtld.WorkflowUpdate(ctx, &vtctldatapb.WorkflowUpdateRequest{
		Keyspace: keyspace,
		TabletRequest: &tabletmanagerdatapb.UpdateVReplicationWorkflowRequest{
			Workflow: workflow, State: &state, Message: &message,
			Cells: textutil.SimulatedNullStringSlice, TabletTypes: []topodatapb.TabletType{topodatapb.TabletType(textutil.SimulatedNullInt)},
		},
	})
	return err
}

// firstRows are the rows that setup-schema writes into the tables of a move, as conditions by table, and the statements that do.
func firstRows(move Move) (conditions map[string]string, inserts []string, err error) {
	conditions = map[string]string{}
	for _, role := range move.Roles {
		keyspace, err := schema.Load(role)
		if err != nil {
			return nil, nil, err
		}
		for _, text := range keyspace.Statements {
			parsed, err := schema.Parse(text)
			if err != nil {
				return nil, nil, err
			}
			insert, ok := parsed.(*sqlparser.Insert)
			if !ok {
				continue
			}
			table, err := insert.Table.TableName()
			if err != nil {
				return nil, nil, err
			}
			rows, ok := insert.Rows.(sqlparser.Values)
			if !move.has(table.Name.String()) || !ok || len(rows) != 1 {
				continue
			}
			var equal []string
			for i, column := range insert.Columns {
				equal = append(equal, sqlparser.String(column)+" = "+sqlparser.String(rows[0][i]))
			}
			conditions[table.Name.String()] = strings.Join(equal, " AND ")
			inserts = append(inserts, text)
		}
	}
	return conditions, inserts, nil
}

// clearFirstRows removes what setup-schema has written, and nobody has changed: MoveTables takes only empty tables.
func (m *Migration) clearFirstRows(ctx context.Context, move Move) error {
	conditions, _, err := firstRows(move)
	if err != nil || len(conditions) == 0 {
		return err
	}
	primaries, err := m.primaries(ctx, move.Target)
	if err != nil {
		return err
	}
	for _, on := range primaries {
		used, err := m.used(ctx, on, move)
		if err != nil {
			return err
		}
		if len(used) > 0 {
			return fmt.Errorf("%s has rows in %s: take new keyspaces, or empty these", on, strings.Join(used, ", "))
		}
		for table, condition := range conditions {
			if _, err := m.dba(ctx, on, "DELETE FROM `"+table+"` WHERE "+condition); err != nil {
				return err
			}
		}
	}
	return nil
}

// used returns the tables of a move that have other rows on a Vitess shard than setup-schema's.
func (m *Migration) used(ctx context.Context, on primary, move Move) ([]string, error) {
	conditions, _, err := firstRows(move)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, table := range move.Tables {
		query := "SELECT 1 FROM `" + table + "`"
		if condition, ok := conditions[table]; ok {
			query += " WHERE NOT (" + condition + ")"
		}
		rows, err := m.column(ctx, on, query+" LIMIT 1")
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			found = append(found, table)
		}
	}
	return found, nil
}

// Cancel ends those moves whose traffic is on the source. The targets' tables stay, and are emptied. With keepRules the routing
// rules stay, too: the final names go on leading to the source.
func (m *Migration) Cancel(ctx context.Context, keepRules bool, progress func(string)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	for _, state := range states {
		if err := state.cancellable(); err != nil {
			return err
		}
	}
	for _, state := range states {
		if state.Phase == NotBegun {
			continue
		}
		progress("ending the workflow of " + state.Move.String())
		if err := m.cancel(ctx, state.Move, keepRules); err != nil {
			return fmt.Errorf("%s: %w", state.Move, err)
		}
	}
	return nil
}

// cancellable returns an error unless the target's tables are nobody's.
func (s State) cancellable() error {
	switch s.Phase {
	case NotBegun, Unfinished, Copying, Following, Cancelled:
		if s.Traffic == Source || s.Traffic == Nobody {
			return nil
		}
	}
	return fmt.Errorf("%s: writes are not on the source (it is %s, with the traffic on %s): reverse first", s.Move, s.Phase, s.Traffic)
}

// cancel deletes the workflow last, by which a run after an interruption finds what is left to do. As long as the rules stand, the
// target's tables are nobody's.
//
// A switch that somebody else begins must not find that the streams may be switched, nor end while the tables are emptied: vtctld
// refuses streams in the state Error once it has its lock on the workflow (Server.canSwitch), and has that lock until it ends.
func (m *Migration) cancel(ctx context.Context, move Move, keepRules bool) error {
	if err := m.setStreams(ctx, move.Target, move.Workflow, binlogdatapb.VReplicationWorkflowState_Error, emptied); err != nil {
		return err
	}
	now, err := m.find(ctx, move)
	if err != nil {
		return err
	}
	if err := now.cancellable(); err != nil {
		return err
	}
	if now.Phase != Cancelled || len(now.Locks) > 0 {
		return fmt.Errorf("another command is at work, or has died (%s): nothing was emptied; run migrate cancel again when status shows no lock", strings.Join(now.Locks, "; "))
	}
	if err := m.empty(ctx, move); err != nil {
		return err
	}
	for _, keyspace := range []string{move.Source, move.Target} {
		if err := m.allow(ctx, move, keyspace); err != nil {
			return err
		}
	}
	_, err = m.Vitess.VTCtld.WorkflowDelete(ctx, &vtctldatapb.WorkflowDeleteRequest{
		Keyspace: move.Target, Workflow: move.Workflow, KeepData: true, KeepRoutingRules: keepRules,
	})
	return err
}

// empty removes what was copied, and gives the tables the rows that setup-schema writes.
func (m *Migration) empty(ctx context.Context, move Move) error {
	_, inserts, err := firstRows(move)
	if err != nil {
		return err
	}
	primaries, err := m.primaries(ctx, move.Target)
	if err != nil {
		return err
	}
	for _, on := range primaries {
		for _, table := range move.Tables {
			if _, err := m.dba(ctx, on, "TRUNCATE TABLE `"+table+"`"); err != nil {
				return err
			}
		}
		for _, insert := range inserts {
			if _, err := m.dba(ctx, on, insert); err != nil {
				return err
			}
		}
	}
	return nil
}

// allow lets the Vitess shards of a keyspace serve the tables of a move, deny keeps them from it.
func (m *Migration) allow(ctx context.Context, move Move, keyspace string) error {
	return m.control(ctx, move, keyspace, true)
}

func (m *Migration) deny(ctx context.Context, move Move, keyspace string) error {
	return m.control(ctx, move, keyspace, false)
}

func (m *Migration) control(ctx context.Context, move Move, keyspace string, allow bool) error {
	shards, err := m.Vitess.VTCtld.FindAllShardsInKeyspace(ctx, &vtctldatapb.FindAllShardsInKeyspaceRequest{Keyspace: keyspace})
	if err != nil {
		return fmt.Errorf("Vitess shards of keyspace %s: %w", keyspace, err)
	}
	for name, shard := range shards.Shards {
		denied := map[string]bool{}
		for _, control := range shard.Shard.GetTabletControls() {
			for _, table := range control.DeniedTables {
				denied[table] = denied[table] || control.TabletType == topodatapb.TabletType_PRIMARY
			}
		}
		change := slices.DeleteFunc(slices.Clone(move.Tables), func(table string) bool { return denied[table] != allow })
		if len(change) > 0 {
			_, err := m.Vitess.VTCtld.SetShardTabletControl(ctx, &vtctldatapb.SetShardTabletControlRequest{
				Keyspace: keyspace, Shard: name, TabletType: topodatapb.TabletType_PRIMARY, DeniedTables: change, Remove: allow,
			})
			if err != nil {
				return fmt.Errorf("denied tables of %s/%s: %w", keyspace, name, err)
			}
		}
		if _, err := m.Vitess.VTCtld.RefreshStateByShard(ctx, &vtctldatapb.RefreshStateByShardRequest{Keyspace: keyspace, Shard: name}); err != nil {
			return fmt.Errorf("refresh %s/%s: %w", keyspace, name, err)
		}
	}
	return nil
}
