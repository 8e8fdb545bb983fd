package migrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
		if err := ctx.Err(); err != nil {
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
	if state.Phase == Held {
		released, err := m.goOn(ctx, state, back, options.MaxLag)
		if err != nil || released {
			return done, err
		}
	} else if state.Traffic == to {
		return done, m.awaitStreams(ctx, state.Move, &done)
	}
	probe := m.startProbe(ctx, state.Move)
	deadline := m.startDeadline(ctx, state, options.LockWait)
	// What happens at the end of this is worth seeing, but better than to wait for ever.
	limited, cancel := context.WithTimeout(ctx, 4*options.CatchUp+options.LockWait+time.Minute)
	defer cancel()
	_, err := m.Vitess.VTCtld.WorkflowSwitchTraffic(limited, &vtctldatapb.WorkflowSwitchTrafficRequest{
		Keyspace:                 state.Target,
		Workflow:                 state.Workflow,
		TabletTypes:              []topodatapb.TabletType{topodatapb.TabletType_PRIMARY, topodatapb.TabletType_REPLICA, topodatapb.TabletType_RDONLY},
		MaxReplicationLagAllowed: protoutil.DurationToProto(options.MaxLag),
		Timeout:                  protoutil.DurationToProto(options.CatchUp),
		EnableReverseReplication: true,
		Direction:                direction,
	})
	killed := deadline.stop()
	if err != nil {
		probe.stop()
		return done, m.explainSwitch(ctx, state.Move, errors.Join(err, killed))
	}
	if err := m.awaitRules(ctx, state.Move, to); err != nil {
		probe.stop()
		return done, err
	}
	done.Held = probe.stop()
	return done, m.awaitStreams(ctx, state.Move, &done)
}

// goOn prepares an interrupted switch for going on, or takes it back, which is all that there is to do then (released). vtctld's
// journal is the point of no return: before it nobody can have written to where the traffic goes, after it the switch has to end.
func (m *Migration) goOn(ctx context.Context, state State, back bool, maxLag time.Duration) (released bool, err error) {
	passed, err := m.journal(ctx, state)
	if err != nil {
		return false, err
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
		return false, fmt.Errorf("a migrate %s was interrupted after its point of no return: run it again first", command)
	case passed:
		return false, nil
	case goingBack != back:
		if err := m.allow(ctx, state.Move, from); err != nil {
			return false, err
		}
		if err := m.deny(ctx, state.Move, to); err != nil {
			return false, err
		}
		released = true
	}
	// Streams that were stopped for it could not catch up.
	if err := m.resume(ctx, keyspace, name); err != nil || released {
		return released, err
	}
	return false, poll(ctx, func() error {
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
func (m *Migration) explainSwitch(ctx context.Context, move Move, err error) error {
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

func (m *Migration) startDeadline(ctx context.Context, state State, wait time.Duration) *deadline {
	from := state.Source
	if state.Traffic == Target {
		from = state.Target
	}
	d := &deadline{}
	ctx, d.end = context.WithCancel(ctx)
	primaries, err := m.primaries(ctx, from)
	if err != nil {
		d.err = err
		return d
	}
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
						_, err = m.dba(ctx, on, "KILL QUERY "+id)
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
	return d
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

// lockTables are the ids of the connections that execute LOCK TABLES on a mysqld. Without the right to see others', they are those
// of vttablet's own user, which are meant.
func (m *Migration) lockTables(ctx context.Context, on primary) ([]string, error) {
	rows, err := m.dba(ctx, on, "SHOW FULL PROCESSLIST")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range rows.Named().Rows {
		if strings.HasPrefix(row.AsString("Info", ""), "LOCK TABLES") {
			ids = append(ids, strconv.FormatInt(row.AsInt64("Id", 0), 10))
		}
	}
	return ids, nil
}
