package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/workflow"
)

// Phase is how far a move is.
type Phase string

const (
	// NotBegun has no workflow.
	NotBegun Phase = "not begun"
	// Unfinished has a workflow whose making was interrupted.
	Unfinished Phase = "unfinished"
	// Copying reads the rows of the source.
	Copying Phase = "copying"
	// Following has copied all, and follows the source, which has the traffic.
	Following Phase = "following"
	// Cancelled is a cancel that was interrupted: what was copied is gone, or going.
	Cancelled Phase = "cancelled"
	// Held is a switch, there or back, that was interrupted: nobody can write. The same command goes on.
	Held Phase = "held"
	// Switched has the traffic on the target.
	Switched Phase = "switched"
	// Unrouted is without the routing rules that it had: where its traffic goes does not depend on it any more.
	Unrouted Phase = "unrouted"
)

// Begun reports whether any of the moves has.
func Begun(states []State) bool {
	return slices.ContainsFunc(states, func(s State) bool { return s.Phase != NotBegun })
}

// Side says which keyspace has the traffic.
type Side string

const (
	// Nobody is without routing rules: each keyspace answers for itself.
	Nobody Side = "nobody"
	Source Side = "source"
	Target Side = "target"
	// Both is where some tables are here and some there.
	Both Side = "both"
)

// State is what Vitess says of a move.
type State struct {
	Move
	Phase Phase `json:"phase"`
	// Traffic is where the routing rules lead the statements of primaries.
	Traffic Side `json:"traffic"`
	// Streams are those that are at work: to the target while the source has the traffic, then those of the way back.
	Streams []Stream `json:"streams"`
	// Lag is the age of what the streams have last done; see vtctld's max_v_replication_transaction_lag.
	Lag time.Duration `json:"lag"`
	// RowsCopied are those so far, RowsTotal and BytesTotal what MySQL estimates of the source. BytesCopied is the size of the
	// target's tables, by its estimate. All but RowsCopied are 0 once all is copied.
	RowsCopied  int64 `json:"rowsCopied"`
	RowsTotal   int64 `json:"rowsTotal"`
	BytesCopied int64 `json:"bytesCopied"`
	BytesTotal  int64 `json:"bytesTotal"`
	// TablesLeft are those that are not copied yet.
	TablesLeft []string `json:"tablesLeft"`
	// WayBack tells that reversing is possible: the source follows the target.
	WayBack bool `json:"wayBack"`
	// Locks are those of vtctld that are held on the workflow, such as "WorkflowSwitchTraffic on host since …".
	Locks []string `json:"locks"`

	facts facts
}

// Stream is one stream of VReplication, on the Vitess shard that it writes to.
type Stream struct {
	ID          int64  `json:"id"`
	VitessShard string `json:"vitessShard"` // as in "temporal/-80"
	From        string `json:"from"`        // as in "legacy/0"
	State       string `json:"state"`       // Vitess' word
	// Message is what the stream says; anything here is trouble, whatever the state is, but Vitess' own words for a stream that
	// was stopped by a switch.
	Message string `json:"message"`
	// Updated is when it last gave a sign, zero for never.
	Updated time.Time `json:"updated"`
	// Throttled names what throttled it last, and when.
	Throttled   string    `json:"throttled"`
	ThrottledAt time.Time `json:"throttledAt"`
	RowsCopied  int64     `json:"rowsCopied"`
}

// Vitess' messages of streams that a switch has stopped (traffic_switcher.go).
const (
	frozen     = workflow.Frozen
	forCutover = "stopped for cutover"
)

// emptied is this package's, for streams whose tables it empties.
const emptied = "migrate cancel empties the tables: run it again"

// Trouble is what is wrong with a stream, "" if nothing is.
func (s Stream) Trouble() string {
	switch {
	case s.Message == frozen || s.Message == forCutover:
		return ""
	case s.Message != "":
		return s.Message
	case s.State == "Error":
		return "state Error"
	case s.State == "Stopped":
		return "stopped"
	case s.Updated.IsZero():
		return "has not begun yet"
	case time.Since(s.Updated) > silent:
		return fmt.Sprintf("no sign since %s", time.Since(s.Updated).Round(time.Second))
	}
	return ""
}

// silent is how old the last sign of a stream may be: they write one at least every few seconds (vttablet's
// --vreplication-heartbeat-update-interval is 1 s by default, and 60 s at most).
const silent = time.Minute

// facts are what a phase follows from.
type facts struct {
	forward, backward []Stream
	traffic           Side
	// sourceDenies and targetDenies tell that a Vitess shard there refuses writes to a table of the move.
	sourceDenies, targetDenies bool
	copying                    bool
}

// phase is pure, so that a table of cases can say what it is.
func (f facts) phase() Phase {
	isFrozen := says(f.forward, frozen)
	switch {
	case len(f.forward) == 0 && (len(f.backward) == 0 || f.traffic == Source || f.traffic == Nobody):
		return NotBegun
	case len(f.forward) == 0 && (f.traffic == Both || f.targetDenies || says(f.backward, forCutover)):
		return Held
	case len(f.forward) == 0: // see [Migration.begun]
		return Switched
	case says(f.forward, emptied):
		return Cancelled
	case f.traffic == Nobody && (isFrozen || len(f.backward) > 0 || f.sourceDenies):
		return Unrouted
	case f.traffic == Nobody:
		return Unfinished
	case f.traffic == Both,
		f.traffic == Source && f.sourceDenies,
		f.traffic == Target && f.targetDenies,
		f.traffic == Target && !isFrozen, // a switch ends with that
		f.traffic == Source && isFrozen,
		says(f.forward, forCutover), says(f.backward, forCutover):
		return Held
	case f.traffic == Target:
		return Switched
	case f.copying:
		return Copying
	case slices.ContainsFunc(f.forward, func(s Stream) bool { return s.State == "Stopped" && s.Updated.IsZero() }):
		return Unfinished
	}
	return Following
}

// says reports whether a stream has a message.
func says(streams []Stream, message string) bool {
	return slices.ContainsFunc(streams, func(s Stream) bool { return s.Message == message })
}

// deleted reports whether a reverse that was given up has deleted the workflow of a move that is switched.
func (s State) deleted() bool { return s.Traffic == Target && len(s.facts.forward) == 0 }

// goingBack tells of an interrupted switch whether it was one back to the source.
func (f facts) goingBack() bool {
	return says(f.backward, forCutover) || f.traffic == Target && f.targetDenies
}

// State reads what Vitess says of all moves: those that have begun, and of the planned ones, if sources are given, those that
// have not.
func (m *Migration) State(ctx context.Context) ([]State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, fmt.Errorf("no answer within %s: a primary may be down, see vtctldclient GetTablets", lookTimeout))
	defer cancel()
	states, err := m.state(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return states, err
}

// lookTimeout bounds a look at all moves. vtctld waits for a vttablet that is down.
const lookTimeout = 15 * time.Second

func (m *Migration) state(ctx context.Context) ([]State, error) {
	rules, err := m.Vitess.VTCtld.GetRoutingRules(ctx, &vtctldatapb.GetRoutingRulesRequest{})
	if err != nil {
		return nil, fmt.Errorf("routing rules: %w", err)
	}
	leads := map[string]string{}
	for _, rule := range rules.RoutingRules.GetRules() {
		leads[rule.FromTable] = strings.Join(rule.ToTables, ",")
	}
	moves, err := m.begun(ctx, leads)
	if err != nil {
		return nil, err
	}
	if len(m.Sources) > 0 {
		planned, err := m.Planned(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range planned {
			if !slices.ContainsFunc(moves, func(b Move) bool { return b.Source == p.Source && b.Target == p.Target }) {
				moves = append(moves, p)
			}
		}
	}
	var states []State
	for _, move := range moves {
		state, err := m.stateOf(ctx, move, leads)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	if len(m.Sources) == 0 {
		for _, move := range m.unbegun(states) {
			states = append(states, State{Move: move, Phase: NotBegun, Traffic: Nobody})
		}
	}
	return states, nil
}

func (m *Migration) stateOf(ctx context.Context, move Move, leads map[string]string) (State, error) {
	s := State{Move: move}
	f := &s.facts
	f.traffic = traffic(move, leads)
	forward, err := m.workflow(ctx, move.Target, move.Workflow)
	if err != nil {
		return s, err
	}
	backward, err := m.workflow(ctx, move.Source, move.reverse())
	if err != nil {
		return s, err
	}
	f.forward, f.backward = streams(move.Target, forward), streams(move.Source, backward)
	if f.sourceDenies, err = m.denies(ctx, move, move.Source); err != nil {
		return s, err
	}
	if f.targetDenies, err = m.denies(ctx, move, move.Target); err != nil {
		return s, err
	}
	left := map[string]bool{}
	for _, shard := range forward.GetShardStreams() {
		for _, stream := range shard.Streams {
			for _, copying := range stream.CopyStates {
				left[copying.Table] = true
			}
			f.copying = f.copying || stream.State == "Copying"
			s.RowsCopied += stream.RowsCopied
		}
	}
	s.TablesLeft = slices.Sorted(maps.Keys(left))
	f.copying = f.copying || len(left) > 0
	s.Traffic, s.Phase = f.traffic, f.phase()
	s.Streams, s.Lag = f.forward, lag(forward)
	if s.Traffic == Target {
		s.Streams, s.Lag = f.backward, lag(backward)
		s.WayBack = s.Phase == Switched && len(f.backward) > 0 && len(troubles(f.backward)) == 0
	}
	if f.copying {
		status, err := m.Vitess.VTCtld.WorkflowStatus(ctx, &vtctldatapb.WorkflowStatusRequest{Keyspace: move.Target, Workflow: move.Workflow})
		if err != nil {
			return s, fmt.Errorf("progress of %s: %w", move, err)
		}
		for _, table := range status.TableCopyState {
			s.RowsTotal += table.RowsTotal
			s.BytesTotal += table.BytesTotal
			s.BytesCopied += table.BytesCopied
		}
		s.RowsTotal = max(s.RowsTotal, s.RowsCopied)
	}
	s.Locks, err = m.locks(ctx, move)
	return s, err
}

// workflow returns nil if there is none.
func (m *Migration) workflow(ctx context.Context, keyspace, name string) (*vtctldatapb.Workflow, error) {
	response, err := m.Vitess.VTCtld.GetWorkflows(ctx, &vtctldatapb.GetWorkflowsRequest{Keyspace: keyspace, Workflow: name})
	if err != nil {
		return nil, fmt.Errorf("workflow %s of keyspace %s: %w", name, keyspace, err)
	}
	if len(response.Workflows) == 0 {
		return nil, nil
	}
	return response.Workflows[0], nil
}

func streams(keyspace string, w *vtctldatapb.Workflow) []Stream {
	var all []Stream
	for _, shard := range w.GetShardStreams() {
		for _, s := range shard.Streams {
			stream := Stream{
				ID: s.Id, VitessShard: keyspace + "/" + s.Shard,
				From:  s.BinlogSource.GetKeyspace() + "/" + s.BinlogSource.GetShard(),
				State: s.State, Message: s.Message, RowsCopied: s.RowsCopied,
				Throttled: s.ThrottlerStatus.GetComponentThrottled(),
			}
			if seconds := s.TimeUpdated.GetSeconds(); seconds > 0 && s.Position != "" {
				stream.Updated = time.Unix(seconds, 0)
			}
			if seconds := s.ThrottlerStatus.GetTimeThrottled().GetSeconds(); seconds > 0 {
				stream.ThrottledAt = time.Unix(seconds, 0)
			}
			all = append(all, stream)
		}
	}
	slices.SortFunc(all, func(a, b Stream) int {
		return strings.Compare(a.VitessShard+a.From, b.VitessShard+b.From)
	})
	return all
}

func lag(w *vtctldatapb.Workflow) time.Duration {
	const most = int64(24 * time.Hour / time.Second) // while copying Vitess gives a very large number
	return time.Duration(min(w.GetMaxVReplicationTransactionLag(), most)) * time.Second
}

// troubles are what is wrong with streams.
func troubles(streams []Stream) []string {
	var found []string
	for _, stream := range streams {
		if trouble := stream.Trouble(); trouble != "" {
			found = append(found, fmt.Sprintf("stream %d on %s from %s: %s", stream.ID, stream.VitessShard, stream.From, trouble))
		}
	}
	return found
}

// traffic tells where the routing rules lead. At the beginning both names of a table have one; a switch deletes that of the side
// with the traffic.
func traffic(move Move, leads map[string]string) Side {
	seen := map[Side]bool{}
	for _, table := range move.Tables {
		toSource, toTarget, elsewhere := false, false, false
		for _, from := range []string{move.Source, move.Target} {
			switch leads[from+"."+table] {
			case "":
			case move.Source + "." + table:
				toSource = true
			case move.Target + "." + table:
				toTarget = true
			default:
				elsewhere = true
			}
		}
		switch {
		case elsewhere || toSource && toTarget:
			seen[Both] = true
		case toSource:
			seen[Source] = true
		case toTarget:
			seen[Target] = true
		default:
			seen[Nobody] = true
		}
	}
	if len(seen) == 1 {
		return slices.Collect(maps.Keys(seen))[0]
	}
	return Both
}

// denies reports whether a Vitess shard of a keyspace refuses what vtgates ask of a table of the move.
func (m *Migration) denies(ctx context.Context, move Move, keyspace string) (bool, error) {
	shards, err := m.Vitess.VTCtld.FindAllShardsInKeyspace(ctx, &vtctldatapb.FindAllShardsInKeyspaceRequest{Keyspace: keyspace})
	if err != nil {
		return false, fmt.Errorf("Vitess shards of keyspace %s: %w", keyspace, err)
	}
	for _, shard := range shards.Shards {
		for _, control := range shard.Shard.GetTabletControls() {
			if control.TabletType == topodatapb.TabletType_PRIMARY && slices.ContainsFunc(control.DeniedTables, move.has) {
				return true, nil
			}
		}
	}
	return false, nil
}

// locks are those that vtctlds hold, or have left behind, on a move's workflows: Vitess keeps a lock of a vtctld that has died
// for 24 hours (topo.NamedLockTTL).
func (m *Migration) locks(ctx context.Context, move Move) ([]string, error) {
	var found []string
	for _, name := range []string{move.Target + "/" + move.Workflow, move.Source + "/" + move.reverse()} {
		path := "/global/internal/named_locks/" + name + "/locks"
		folder, err := m.Vitess.VTCtld.GetTopologyPath(ctx, &vtctldatapb.GetTopologyPathRequest{Path: path})
		if err != nil {
			if strings.Contains(err.Error(), "node doesn't exist") {
				continue
			}
			return nil, fmt.Errorf("locks of workflow %s: %w", name, err)
		}
		for _, child := range folder.GetCell().GetChildren() {
			lock, err := m.Vitess.VTCtld.GetTopologyPath(ctx, &vtctldatapb.GetTopologyPathRequest{Path: path + "/" + child})
			if err != nil {
				continue // given back since
			}
			found = append(found, path+"/"+child+": "+strings.Join(strings.Fields(lock.GetCell().GetData()), " "))
		}
	}
	return found, nil
}

// Troubles are what is wrong with the streams at work, and what else stands in the way.
func (s State) Troubles() []string {
	found := troubles(s.Streams)
	if s.Traffic == Target && len(s.Streams) == 0 {
		found = append(found, "nothing leads back: the source does not follow")
	}
	for _, lock := range s.Locks {
		found = append(found, "locked by a command of vtctld, or by one that died (for 24 hours, unless the key is deleted: etcdctl del): "+lock)
	}
	return found
}

// Advice says what to do next.
func Advice(states []State) string {
	count := map[Phase]int{}
	trouble, deleted := false, false
	for _, state := range states {
		count[state.Phase]++
		trouble = trouble || len(state.Troubles()) > 0
		deleted = deleted || state.deleted()
	}
	switch {
	case count[Unrouted] > 0:
		return "somebody has taken the routing rules away: bring them back (vtctldclient ApplyRoutingRules), which lead the names of the keyspace without the traffic to the one that has it"
	case count[Cancelled] > 0:
		return "migrate cancel, which was interrupted, goes on"
	case count[Held] > 0:
		return "a switch was interrupted, and writes are held: run the same command again (migrate switch or migrate reverse), or the other one to take it back"
	case count[NotBegun]+count[Unfinished] > 0:
		return "migrate start, which begins what has not begun; no server may use the keyspaces' names before that"
	case trouble:
		return "mend what is named above; streams that have stopped go on by vtctldclient MoveTables … start, or migrate cancel ends the migration"
	case count[Copying] > 0:
		return "wait until all rows are copied (migrate status --watch)"
	case count[Following] == len(states):
		return "servers go to the keyspaces' names, if they have not; migrate verify, then migrate switch"
	case count[Switched] == len(states) && deleted:
		return "a reverse that was given up has deleted a workflow (Vitess issue 14276): migrate reverse goes back nevertheless; before migrate complete, reverse and switch again"
	case count[Switched] == len(states):
		return "migrate verify compares what the way back has written; migrate reverse goes back, migrate complete ends the migration"
	}
	return "the traffic is partly here and partly there, which may last: migrate switch or migrate reverse goes on"
}

// sortedList is for comparing.
func sortedList(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, ", ")
}
