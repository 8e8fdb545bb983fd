package migrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"vitess.io/vitess/go/protoutil"
	binlogdatapb "vitess.io/vitess/go/vt/proto/binlogdata"
	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/workflow"
)

// SwitchOptions bound how long writes are held.
type SwitchOptions struct {
	// MaxLag is how far the streams may be behind for a switch to begin.
	MaxLag time.Duration
	// CatchUp is how long the streams may take to catch up once writes are held.
	CatchUp time.Duration
	// LockWait is how long LOCK TABLES may wait for transactions that are open on a mysqld. All writes wait behind it. Vitess has
	// no limit for it.
	LockWait time.Duration
}

// SwitchResult is what a switch of one move did.
type SwitchResult struct {
	Move
	// Held is the longest that a write through vtgate waited, retries included. It is 0 where the traffic was there already.
	Held time.Duration
	// WayBack is "" if the streams back run, else what is wrong with them.
	WayBack string
}

// Switch brings the traffic of all moves to the target, or with back to the source, one move after the other, and reports each.
// It goes on where an earlier run stopped. A move that cannot be switched ends it, with writes going on where they were.
//
// Once a move's switch has begun, the end of the context does not interrupt it, only the moves after it: what vtctld has done by
// halves holds all writes.
func (m *Migration) Switch(ctx context.Context, back bool, options SwitchOptions, report func(SwitchResult)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return errors.New("no move has begun to these keyspaces: migrate start begins them")
	}
	for _, state := range states {
		switch state.Phase {
		case Following, Switched, Held:
		default:
			return fmt.Errorf("%s is %s: see migrate status", state.Move, state.Phase)
		}
	}
	for _, move := range states {
		if err := ctx.Err(); err != nil {
			return err
		}
		state, err := m.find(ctx, move.Move) // as it is by now
		if err != nil {
			return err
		}
		switched, err := m.switchOne(context.WithoutCancel(ctx), state, back, options)
		if err != nil {
			return fmt.Errorf("%s: %w", state.Move, err)
		}
		report(switched)
	}
	return nil
}

func (m *Migration) switchOne(ctx context.Context, state State, back bool, options SwitchOptions) (SwitchResult, error) {
	to, direction := Target, int32(0)
	if back {
		to, direction = Source, 1
	}
	done := SwitchResult{Move: state.Move}
	maxLag := options.MaxLag
	if state.Phase == Held {
		released, passed, err := m.goOn(ctx, state, back, options.MaxLag)
		if err != nil || released {
			return done, err
		}
		if passed { // its streams are stopped, with a lag that only grows
			maxLag = math.MaxInt32 * time.Second
		}
	} else if state.Traffic == to {
		return done, m.awaitStreams(ctx, state.Move, &done)
	}
	keyspace, name := state.Target, state.Workflow
	if back && state.deleted() { // which leaves the workflow of the way back, to be switched itself
		keyspace, name, direction = state.Source, state.reverse(), 0
	}
	probe := m.startProbe(ctx, state.Move)
	deadline, err := m.startDeadline(ctx, state, options.LockWait)
	if err != nil {
		probe.stop()
		return done, err
	}
	// What happens at the end of this is worth seeing, but better than to wait for ever.
	limited, cancel := context.WithTimeout(ctx, 4*options.CatchUp+options.LockWait+time.Minute)
	defer cancel()
	_, err = m.Vitess.VTCtld.WorkflowSwitchTraffic(limited, &vtctldatapb.WorkflowSwitchTrafficRequest{
		Keyspace:                 keyspace,
		Workflow:                 name,
		TabletTypes:              []topodatapb.TabletType{topodatapb.TabletType_PRIMARY, topodatapb.TabletType_REPLICA, topodatapb.TabletType_RDONLY},
		MaxReplicationLagAllowed: protoutil.DurationToProto(maxLag),
		Timeout:                  protoutil.DurationToProto(options.CatchUp),
		EnableReverseReplication: true,
		Direction:                direction,
	})
	killed := deadline.stop()
	if err != nil {
		probe.stop()
		return done, m.explainSwitch(ctx, state.Move, to, errors.Join(err, killed))
	}
	if err := m.awaitRules(ctx, state.Move, to); err != nil {
		probe.stop()
		return done, err
	}
	done.Held = probe.stop()
	return done, m.awaitStreams(ctx, state.Move, &done)
}

// goOn prepares an interrupted switch for going on, or takes it back, which is all that there is to do then (released). vtctld's
// journal is the point of no return (passed): before it nobody can have written to where the traffic goes, after it the switch has
// to end.
func (m *Migration) goOn(ctx context.Context, state State, back bool, maxLag time.Duration) (released, passed bool, err error) {
	passed, err = m.journal(ctx, state)
	if err != nil {
		return false, false, err
	}
	goingBack := state.facts.goingBack()
	keyspace, name, from, to := state.Target, state.Workflow, state.Source, state.Target
	if goingBack {
		keyspace, name, from, to = state.Source, state.reverse(), state.Target, state.Source
	}
	switch {
	case passed && goingBack != back:
		command := Switch
		if goingBack {
			command = Reverse
		}
		return false, true, fmt.Errorf("a migrate %s was interrupted after its point of no return: run it again first", command)
	case passed:
		return false, true, nil
	case !goingBack && state.Traffic == Target:
		// What was interrupted was a reverse, which has been taken back but for this: streams to the side with the traffic must
		// never run.
		return !back, false, m.freeze(ctx, state)
	case !goingBack && state.Traffic != Source:
		return false, false, fmt.Errorf("the routing rules lead to %s, and no switch has written that they should: bring them back first (vtctldclient ApplyRoutingRules)", state.Traffic)
	case goingBack != back:
		if err := m.allow(ctx, state.Move, from); err != nil {
			return false, false, err
		}
		if err := m.deny(ctx, state.Move, to); err != nil {
			return false, false, err
		}
		if goingBack {
			if err := m.freeze(ctx, state); err != nil {
				return false, false, err
			}
		}
		released = true
	}
	// Streams that were stopped for it could not catch up.
	if err := m.resume(ctx, keyspace, name); err != nil || released {
		return released, false, err
	}
	return false, false, poll(ctx, func() error {
		now, err := m.find(ctx, state.Move)
		switch found := troubles(now.Streams); {
		case err != nil:
			return err
		case len(found) > 0:
			return errors.New(strings.Join(found, "; "))
		case now.Lag > maxLag:
			return fmt.Errorf("the streams are %s behind, more than --max-lag %s", now.Lag, maxLag)
		}
		return nil
	})
}

// freeze marks the streams to the target as a switch does at its end. A reverse makes them anew, stopped, before it changes the
// traffic.
func (m *Migration) freeze(ctx context.Context, state State) error {
	if state.deleted() {
		return nil
	}
	return m.setStreams(ctx, state.Target, state.Workflow, binlogdatapb.VReplicationWorkflowState_Stopped, frozen)
}

// journal reports whether an interrupted switch has written that its traffic is to change.
func (m *Migration) journal(ctx context.Context, state State) (bool, error) {
	keyspace, origin, streams := state.Target, state.Source, state.facts.forward
	if state.facts.goingBack() {
		keyspace, origin, streams = state.Source, state.Target, state.facts.backward
	}
	targets := map[string]*workflow.MigrationTarget{}
	for _, stream := range streams {
		_, shard, _ := strings.Cut(stream.VitessShard, "/")
		if targets[shard] == nil {
			targets[shard] = &workflow.MigrationTarget{Sources: map[int32]*binlogdatapb.BinlogSource{}}
		}
		targets[shard].Sources[int32(stream.ID)] = nil
	}
	primaries, err := m.primaries(ctx, origin)
	if err != nil {
		return false, err
	}
	sidecar, err := m.sidecar(ctx, origin)
	if err != nil {
		return false, err
	}
	for _, on := range primaries {
		rows, err := m.column(ctx, on, fmt.Sprintf("SELECT id FROM `%s`.resharding_journal WHERE id = %d", sidecar, workflow.HashStreams(keyspace, targets)))
		if err != nil || len(rows) > 0 {
			return len(rows) > 0, err
		}
	}
	return false, nil
}

// explainSwitch adds to the error of a switch where that has left the move.
func (m *Migration) explainSwitch(ctx context.Context, move Move, to Side, err error) error {
	states, stateErr := m.State(ctx)
	if stateErr != nil {
		return errors.Join(err, fmt.Errorf("and what has become of it cannot be seen: %w: look at migrate status", stateErr))
	}
	for _, state := range states {
		if state.Source != move.Source || state.Target != move.Target {
			continue
		}
		if state.Phase == Held {
			return fmt.Errorf("%w\nwrites are held: run the same command again, or the other one to take it back", err)
		}
		if state.Traffic == to || len(state.Locks) > 0 {
			return fmt.Errorf("%w\nvtctld went on nevertheless: the traffic is on the %s; look at migrate status until nothing is locked, then run the same command again", err, state.Traffic)
		}
		return fmt.Errorf("%w\nthe switch was given up: the traffic is on the %s, and writes go on", err, state.Traffic)
	}
	return err
}

const (
	// settleTimeout bounds how long what a switch has done may take to show.
	settleTimeout = 30 * time.Second
	settlePoll    = 200 * time.Millisecond
)

// poll tries until there is no error, or settleTimeout is over.
func poll(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return err
		}
	}
}

// find returns the state of a move.
func (m *Migration) find(ctx context.Context, move Move) (State, error) {
	states, err := m.State(ctx)
	if err != nil {
		return State{}, err
	}
	for _, state := range states {
		if state.Source == move.Source && state.Target == move.Target {
			return state, nil
		}
	}
	return State{}, fmt.Errorf("%s: its workflow is gone", move)
}

func (m *Migration) awaitRules(ctx context.Context, move Move, to Side) error {
	return poll(ctx, func() error {
		state, err := m.find(ctx, move)
		switch {
		case err != nil:
			return err
		case state.Traffic != to || state.Phase == Held:
			return fmt.Errorf("vtctld calls it switched, but the traffic is on %s (%s)", state.Traffic, state.Phase)
		}
		return nil
	})
}

// awaitStreams says what is wrong with the streams that follow a switch, if they do not come to run.
func (m *Migration) awaitStreams(ctx context.Context, move Move, done *SwitchResult) error {
	err := poll(ctx, func() error {
		state, err := m.find(ctx, move)
		if err != nil {
			return err
		}
		if found := troubles(state.Streams); len(found) > 0 {
			return errors.New(strings.Join(found, "; "))
		}
		if len(state.Streams) == 0 {
			return errors.New("there are no streams")
		}
		return nil
	})
	if err != nil {
		done.WayBack = err.Error()
	}
	return nil
}

// deadline ends LOCK TABLES that waits too long on the mysqlds that writes are to leave. vtctld then takes back what it has done.
// (The end of vtctld's context would leave the statement waiting in mysqld, and all writes behind it.)
type deadline struct {
	end  context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	err  error
}

const lockPoll = 250 * time.Millisecond

func (m *Migration) startDeadline(ctx context.Context, state State, wait time.Duration) (*deadline, error) {
	from := state.Source
	if state.Traffic == Target {
		from = state.Target
	}
	primaries, err := m.primaries(ctx, from)
	if err != nil {
		return nil, err
	}
	d := &deadline{}
	ctx, d.end = context.WithCancel(ctx)
	for _, on := range primaries {
		d.done.Go(func() {
			since := map[string]time.Time{}
			for ctx.Err() == nil {
				waiting, err := m.lockTables(ctx, on)
				if err == nil {
					for _, id := range waiting {
						if since[id].IsZero() {
							since[id] = time.Now()
						}
						if time.Since(since[id]) < wait {
							continue
						}
						if _, err = m.dba(ctx, on, "KILL QUERY "+id); err != nil {
							break
						}
						d.add(fmt.Errorf("LOCK TABLES on %s waited longer than %s for a transaction that is open there, and was ended (--lock-wait)", on, wait))
						since[id] = time.Now()
					}
				}
				if err != nil && ctx.Err() == nil {
					d.add(fmt.Errorf("watching for LOCK TABLES: %w", err))
				}
				select {
				case <-time.After(lockPoll):
				case <-ctx.Done():
				}
			}
		})
	}
	return d, nil
}

func (d *deadline) add(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil || d.err.Error() != err.Error() {
		d.err = errors.Join(d.err, err)
	}
}

func (d *deadline) stop() error {
	d.end()
	d.done.Wait()
	return d.err
}

// lockTables are the ids of the connections of vttablet's own user that execute LOCK TABLES on a mysqld: somebody else's, such as a
// dump's, are not meant, nor are those of streams, which write it in small letters (vstreamer's snapshot_conn.go).
func (m *Migration) lockTables(ctx context.Context, on primary) ([]string, error) {
	rows, err := m.dba(ctx, on, "SELECT id, info FROM information_schema.processlist WHERE info IS NOT NULL AND user = SUBSTRING_INDEX(USER(), '@', 1)")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range rows.Rows {
		if strings.HasPrefix(row[1].ToString(), "LOCK TABLES") {
			ids = append(ids, row[0].ToString())
		}
	}
	return ids, nil
}
