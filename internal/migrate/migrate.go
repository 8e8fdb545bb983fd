package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/topo/topoproto"

	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/workflow"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Config says what moves where.
type Config struct {
	// Vitess has to have a vtctld, but for [Migration.Plan] with PScale.
	Vitess *live.Vitess
	// Keyspaces are where the tables move to, by role.
	Keyspaces map[vschema.Role]string
	// Profile of the visibility keyspace.
	Profile vschema.Profile
	// Sources are the keyspaces that have the tables. They are needed to begin a migration; of one that is under way, Vitess
	// knows them.
	Sources []string
	// PScale makes the commands of a plan pscale's; nil for vtctldclient's.
	PScale *PScale
}

// Migration is the move of a cluster's tables. Its methods may be called one after the other.
type Migration struct {
	Config
	// tables are those that move to each role's keyspace.
	tables map[vschema.Role][]string
}

// Move is one workflow of MoveTables.
type Move struct {
	// Source and Target are keyspaces, Workflow the name in the target.
	Source   string `json:"source"`
	Target   string `json:"target"`
	Workflow string `json:"workflow"`
	// Roles are those of the target.
	Roles []vschema.Role `json:"roles"`
	// Tables are in order of their names.
	Tables []string `json:"tables"`
}

// String names the move for the reader.
func (m Move) String() string { return m.Source + " → " + m.Target }

// has reports whether a table is one of the move's.
func (m Move) has(table string) bool { return slices.Contains(m.Tables, table) }

// reverse is the name of the workflow in the source that keeps the way back.
func (m Move) reverse() string { return workflow.ReverseWorkflowName(m.Workflow) }

// newMove returns a move without tables. The workflow has the names of both keyspaces: that of the way back, which has its name in
// the source, must not be that of another target's, since making one deletes those of the same name.
func newMove(source, target string, roles []vschema.Role) Move {
	return Move{Source: source, Target: target, Workflow: "from_" + source + "_to_" + target, Roles: roles}
}

// New returns the migration to the keyspaces of a configuration. It looks at nothing yet.
func New(cfg Config) (*Migration, error) {
	if cfg.Vitess.VTCtld == nil && cfg.PScale == nil {
		return nil, fmt.Errorf("moving tables is vtctld's: give --vtctld")
	}
	m := &Migration{Config: cfg, tables: map[vschema.Role][]string{}}
	for _, role := range vschema.Roles() {
		keyspace, err := vschema.Load(role, cfg.Profile)
		if err != nil {
			return nil, err
		}
		for name := range keyspace.Tables {
			if !versionTable(name) {
				m.tables[role] = append(m.tables[role], name)
			}
		}
		slices.Sort(m.tables[role])
	}
	for _, source := range cfg.Sources {
		if roles := vschema.RolesIn(cfg.Keyspaces, source); len(roles) > 0 {
			return nil, fmt.Errorf("%s is to be moved from, and to: name other keyspaces to move to (--keyspace, --global-keyspace, --visibility-keyspace)", source)
		}
	}
	return m, nil
}

// versionTable reports whether a table stays: each keyspace has schema versions of its own.
func versionTable(name string) bool {
	return name == "schema_version" || name == "schema_update_history"
}

// targets are the keyspaces to move to, each once.
func (m *Migration) targets() []string {
	var names []string
	for _, role := range vschema.Roles() {
		if name := m.Keyspaces[role]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// begun returns the moves that Vitess knows, in the order of the targets. Leads are the routing rules.
//
// A reverse that vtctld gives up deletes the workflow in the target, which is what its own way back would be called
// (trafficSwitcher.cancelMigration; Vitess issue 14276). The move is known by the workflow in the source then, to which the
// routing rules lead.
func (m *Migration) begun(ctx context.Context, leads map[string]string) ([]Move, error) {
	var moves []Move
	for _, target := range m.targets() {
		roles := vschema.RolesIn(m.Keyspaces, target)
		workflows, err := m.moveTables(ctx, target)
		if err != nil {
			return nil, err
		}
		for _, w := range workflows {
			if move := newMove(w.Source.GetKeyspace(), target, roles); w.Name == move.Workflow {
				move.Tables = tablesOf(w)
				moves = append(moves, move)
			}
		}
		for _, source := range switchedFrom(target, leads) {
			if slices.ContainsFunc(moves, func(move Move) bool { return move.Source == source && move.Target == target }) {
				continue
			}
			if workflows, err = m.moveTables(ctx, source); err != nil {
				return nil, err
			}
			for _, w := range workflows {
				if move := newMove(source, target, roles); w.Name == move.reverse() && w.Source.GetKeyspace() == target {
					move.Tables = tablesOf(w)
					moves = append(moves, move)
				}
			}
		}
	}
	return moves, nil
}

// switchedFrom are the keyspaces whose names the routing rules lead to a target.
func switchedFrom(target string, leads map[string]string) []string {
	found := map[string]bool{}
	for from, to := range leads {
		source, _, _ := strings.Cut(from, ".")
		if keyspace, _, _ := strings.Cut(to, "."); keyspace == target && source != target && strings.Contains(from, ".") {
			found[source] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// moveTables are the workflows of MoveTables that write to a keyspace.
func (m *Migration) moveTables(ctx context.Context, keyspace string) ([]*vtctldatapb.Workflow, error) {
	response, err := m.Vitess.VTCtld.GetWorkflows(ctx, &vtctldatapb.GetWorkflowsRequest{Keyspace: keyspace})
	if err != nil {
		return nil, fmt.Errorf("workflows of keyspace %s: %w", keyspace, err)
	}
	return slices.DeleteFunc(response.Workflows, func(w *vtctldatapb.Workflow) bool { return w.WorkflowType != "MoveTables" }), nil
}

// tablesOf are the tables of a workflow, in order of their names.
func tablesOf(w *vtctldatapb.Workflow) []string {
	tables := map[string]bool{}
	for _, streams := range w.ShardStreams {
		for _, stream := range streams.Streams {
			for _, rule := range stream.BinlogSource.GetFilter().GetRules() {
				tables[rule.Match] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(tables))
}

// unbegun are moves for the tables that none of the begun ones has, by target, while all of these have their traffic on the
// source: a start was interrupted, or a cancel. (A complete ends moves one after the other, too, with the traffic of the others on
// the target.) From where they come is not known without [Config.Sources]: their source is that of another.
func (m *Migration) unbegun(states []State) []Move {
	if len(states) == 0 || slices.ContainsFunc(states, func(s State) bool { return s.Traffic != Source && s.Phase != Unfinished || s.Phase == Cancelled }) {
		return nil
	}
	var missing []Move
	for _, target := range m.targets() {
		move := newMove(states[0].Source, target, vschema.RolesIn(m.Keyspaces, target))
		for _, role := range move.Roles {
			for _, table := range m.tables[role] {
				if !slices.ContainsFunc(states, func(s State) bool { return s.Target == target && s.has(table) }) {
					move.Tables = append(move.Tables, table)
				}
			}
		}
		if len(move.Tables) > 0 {
			slices.Sort(move.Tables)
			missing = append(missing, move)
		}
	}
	return missing
}

// Planned returns the moves that lead from the sources to the targets, in the order of the targets. A table that no source has,
// or several have, is an error.
func (m *Migration) Planned(ctx context.Context) ([]Move, error) {
	if len(m.Sources) == 0 {
		return nil, fmt.Errorf("from which keyspaces to move is not said: give --source")
	}
	where := map[string][]string{} // the sources of a table
	for _, source := range m.Sources {
		tables, err := m.sourceTables(ctx, source)
		if err != nil {
			return nil, err
		}
		for _, table := range tables {
			where[table] = append(where[table], source)
		}
	}
	var moves []Move
	var missing, several []string
	for _, target := range m.targets() {
		bySource := map[string]*Move{}
		roles := vschema.RolesIn(m.Keyspaces, target)
		for _, role := range roles {
			for _, table := range m.tables[role] {
				switch sources := where[table]; len(sources) {
				case 0:
					missing = append(missing, table)
				case 1:
					source := sources[0]
					if bySource[source] == nil {
						move := newMove(source, target, roles)
						bySource[source] = &move
					}
					bySource[source].Tables = append(bySource[source].Tables, table)
				default:
					several = append(several, table+" in "+strings.Join(sources, " and "))
				}
			}
		}
		for _, source := range m.Sources {
			if move := bySource[source]; move != nil {
				slices.Sort(move.Tables)
				moves = append(moves, *move)
			}
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s lack %s: bring the source to the newest schema first (temporal-sql-tool update-schema, or this tool's), or name the other keyspaces that have them, too (--source)",
			strings.Join(m.Sources, ", "), strings.Join(missing, ", "))
	}
	if len(several) > 0 {
		return nil, fmt.Errorf("several sources have %s: name only the keyspace that is in use, or drop the other's", strings.Join(several, ", "))
	}
	return moves, nil
}

// sourceTables are all base tables of a source.
func (m *Migration) sourceTables(ctx context.Context, keyspace string) (names []string, err error) {
	if m.Vitess.VTCtld == nil {
		err = m.Vitess.In(ctx, keyspace, func(session *sql.Conn) error {
			names, err = live.Column(ctx, session, "SHOW TABLES")
			return err
		})
		return names, err
	}
	primaries, err := m.primaries(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	return m.column(ctx, primaries[0], "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name")
}

// primary is the primary tablet of a Vitess shard.
type primary struct{ *topodatapb.Tablet }

// String is the Vitess shard for the reader.
func (p primary) String() string { return p.Keyspace + "/" + p.Shard }

// attached reports whether the tablet is in front of a MySQL server that is not Vitess' own.
func (p primary) attached() bool {
	return p.DbNameOverride != "" && p.DbNameOverride != "vt_"+p.Keyspace
}

// primaries are those of a keyspace, in the order of its Vitess shards. Having none is an error.
func (m *Migration) primaries(ctx context.Context, keyspace string) ([]primary, error) {
	shards, err := m.Vitess.VTCtld.FindAllShardsInKeyspace(ctx, &vtctldatapb.FindAllShardsInKeyspaceRequest{Keyspace: keyspace})
	if err != nil {
		return nil, fmt.Errorf("Vitess shards of keyspace %s: %w", keyspace, err)
	}
	var found []primary
	for name, shard := range shards.Shards {
		alias := shard.Shard.GetPrimaryAlias()
		if alias == nil {
			return nil, fmt.Errorf("Vitess shard %s/%s has no primary: an unmanaged tablet becomes it by vtctldclient TabletExternallyReparented", keyspace, name)
		}
		tablet, err := m.Vitess.VTCtld.GetTablet(ctx, &vtctldatapb.GetTabletRequest{TabletAlias: alias})
		if err != nil {
			return nil, fmt.Errorf("primary %s of %s/%s: %w", topoproto.TabletAliasString(alias), keyspace, name, err)
		}
		found = append(found, primary{tablet.Tablet})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("keyspace %s has no Vitess shard", keyspace)
	}
	slices.SortFunc(found, func(a, b primary) int { return strings.Compare(a.Shard, b.Shard) })
	return found, nil
}
