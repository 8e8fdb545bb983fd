package rehash

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

// MaxBatchSize keeps a batch below the rows (10,000) and bytes (16 MiB) that a vttablet takes; a task has some hundred
// bytes, 4 KiB at most.
const MaxBatchSize = 2000

// Config says what to rehash.
type Config struct {
	// DB reaches vtgate or, for a cluster that is not on Vitess yet, a MySQL server, without a default keyspace.
	DB *sql.DB
	// Keyspace has the tables of tasks: a keyspace or, without Vitess, a database.
	Keyspace string
	// GlobalKeyspace has table cluster_membership, or does not exist yet, and Keyspace has it.
	GlobalKeyspace string
	// Store reaches the main store through the plugin.
	Store *config.SQL
	// Back moves tasks the other way: from where this project's plugin reads them to where upstream's does.
	Back bool
	// ServersReadBoth says that every matching service that runs reads both places and writes where tasks move to, so that
	// tasks may move under it: its vitess_subqueue_tasks is vitess-read-both, with Back upstream-read-both.
	ServersReadBoth bool
	// BatchSize is how many tasks to move at once, from 1 to [MaxBatchSize].
	BatchSize int
	// Watch is how long no matching service may write a heartbeat before the first task moves; [DefaultWatch], unless it
	// is known that none runs. Where none has ever registered, there is nothing to watch. With ServersReadBoth it is how long
	// no task may come to the old place after the last one has moved.
	Watch time.Duration
	// Progress is called after each batch. May be nil.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	// Kept are those that remain at the old place; see [Kept].
	Moved, Kept, Total int64
	// Left is how long the rest takes at the pace so far.
	Left time.Duration
}

// Count is what a table has at other places than the plugin's.
type Count struct {
	Table     string
	Subqueues int
	Rows      int64
}

// Interrupted is the error of a run that its context ended, before the first batch or between two.
type Interrupted struct {
	Progress  Progress
	meanwhile string
}

// Error says how to go on.
func (e *Interrupted) Error() string {
	if e.Progress.Moved == 0 {
		return "interrupted before the first task moved: run the command again; " + e.meanwhile
	}
	return fmt.Sprintf("interrupted after %d of %d tasks: run the command again, it goes on there; %s", e.Progress.Moved, e.Progress.Total, e.meanwhile)
}

// Rehash is the work on one keyspace. It is not for several goroutines.
type Rehash struct {
	cfg          Config
	vitess       *live.Vitess         // nil without Vitess
	vitessShards []string             // one without a name, without Vitess
	membership   []string             // keyspaces that have cluster_membership
	heartbeats   map[string]time.Time // last ones of the matching services when Run began, by their IDs
	factory      *persistencesql.Factory
	tasks        persistence.TaskManager // of table tasks
	fairTasks    persistence.TaskManager // of table tasks_v2
}

// New looks at the server and the keyspace, and prepares the work. The caller closes, and remains the owner of the DB.
func New(ctx context.Context, cfg Config) (*Rehash, error) {
	if cfg.BatchSize < 1 || cfg.BatchSize > MaxBatchSize {
		return nil, fmt.Errorf("--batch-size is %d, but has to be from 1 to %d", cfg.BatchSize, MaxBatchSize)
	}
	r := &Rehash{cfg: cfg, vitessShards: []string{""}}
	vtgate, err := live.IsVTGate(ctx, cfg.DB)
	if err != nil {
		return nil, err
	}
	if vtgate {
		r.vitess = &live.Vitess{DB: cfg.DB}
		if r.vitessShards, err = r.vitess.VitessShards(ctx, cfg.Keyspace); err != nil {
			return nil, err
		}
	}
	if (cfg.Back || cfg.ServersReadBoth) && len(r.vitessShards) > 1 {
		return nil, fmt.Errorf("keyspace %s has %d Vitess shards, and both places of a task are on one only in an unsharded keyspace: leave out --back and --servers-read-both; "+
			"if a MoveTables has not switched its tables yet, --keyspace is the keyspace that they come from", cfg.Keyspace, len(r.vitessShards))
	}
	if r.membership, err = findMembership(ctx, cfg.DB, cfg.Keyspace, cfg.GlobalKeyspace); err != nil {
		return nil, err
	}
	r.factory = persistencesql.NewFactory(*cfg.Store, resolver.NewNoopResolver(), "", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	tasks, err := r.factory.NewTaskStore()
	if err != nil {
		r.Close()
		return nil, err
	}
	fairTasks, err := r.factory.NewFairTaskStore()
	if err != nil {
		r.Close()
		return nil, err
	}
	r.tasks = persistence.NewTaskManager(tasks, serialization.NewSerializer())
	r.fairTasks = persistence.NewTaskManager(fairTasks, serialization.NewSerializer())
	return r, nil
}

// Close closes the connections to the store.
func (r *Rehash) Close() { r.factory.Close() }

// Counts returns what there is to move, by table.
func (r *Rehash) Counts(ctx context.Context) ([]Count, error) {
	found, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	counts := make([]Count, len(tables))
	for i, table := range tables {
		counts[i].Table = table.name
		for _, s := range found {
			if s.table == table {
				counts[i].Subqueues++
				counts[i].Rows += s.rows
			}
		}
	}
	return counts, nil
}

// Run moves all tasks, and returns how many. It refuses while a matching service runs, unless the configuration says that it
// may. When the context ends it finishes its batch and returns [Interrupted]. If some could not move it returns [Kept].
// After any error, another run goes on.
func (r *Rehash) Run(ctx context.Context) (int64, error) {
	var progress Progress
	err := r.run(ctx, &progress)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = &Interrupted{progress, r.meanwhile()}
	}
	return progress.Moved, err
}

func (r *Rehash) run(ctx context.Context, progress *Progress) error {
	if !r.cfg.ServersReadBoth {
		if err := r.awaitStopped(ctx); err != nil {
			return err
		}
	}
	found, err := r.find(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		progress.Total += s.rows
	}
	start := time.Now()
	var kept []keptTasks
	for _, s := range found {
		keptHere, err := r.move(ctx, s, func(b batch) {
			progress.Moved += int64(len(b.moved))
			progress.Kept += int64(len(b.kept))
			done := progress.Moved + progress.Kept
			progress.Left = time.Duration(float64(time.Since(start)) * float64(progress.Total-done) / float64(done))
			if r.cfg.Progress != nil {
				r.cfg.Progress(*progress)
			}
		})
		if err != nil {
			return fmt.Errorf("%w\n%d of %d tasks are moved: run the command again, it goes on there; %s", err, progress.Moved, progress.Total, r.meanwhile())
		}
		if keptHere.count > 0 {
			kept = append(kept, keptHere)
		}
	}
	if r.cfg.ServersReadBoth {
		if err := pause(ctx, r.cfg.Watch); err != nil {
			return err
		}
	}
	if err := r.checkNoneLeft(ctx, kept); err != nil {
		return err
	}
	if len(kept) > 0 {
		return &Kept{*progress, kept, r.Reader()}
	}
	return nil
}

// checkNoneLeft returns an error if a server has written meanwhile that does not write where tasks move to: more tasks are
// at the old place than were kept there.
func (r *Rehash) checkNoneLeft(ctx context.Context, kept []keptTasks) error {
	counts := map[string]int64{}
	for _, k := range kept {
		counts[k.subqueue.place()] = k.count
	}
	found, err := r.find(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		if s.rows <= counts[s.place()] {
			continue
		}
		if r.cfg.ServersReadBoth {
			return fmt.Errorf("tasks came to the old place meanwhile, as of %s: a server on keyspace %s does not write where %s reads them; "+
				"look at vitess_subqueue_tasks of all, and run the command again", s, r.cfg.Keyspace, r.Reader())
		}
		return fmt.Errorf("tasks came to the old place meanwhile, as of %s: a server with upstream's plugin runs on keyspace %s, without a heartbeat in %v; stop it, and run the command again",
			s, r.cfg.Keyspace, r.membership)
	}
	return nil
}

// on calls do with a session on one Vitess shard or, without Vitess, on the database.
func (r *Rehash) on(ctx context.Context, vitessShard string, do func(*sql.Conn) error) error {
	if r.vitess != nil {
		return r.vitess.On(ctx, r.cfg.Keyspace, vitessShard, do)
	}
	session, err := r.cfg.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	if _, err := session.ExecContext(ctx, "USE `"+r.cfg.Keyspace+"`"); err != nil {
		return err
	}
	return do(session)
}
