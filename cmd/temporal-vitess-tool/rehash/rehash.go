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

	"github.com/temporal-vitess/temporal-vitess/plugin/taskqueue"
	"github.com/temporal-vitess/temporal-vitess/vschema/live"
)

const (
	// MaxBatchSize keeps a batch below the rows (10,000) and bytes (16 MiB) that a vttablet takes; a task has some hundred
	// bytes, 4 KiB at most.
	MaxBatchSize = 2000
	// batchTimeout bounds a batch, which a cancelled context does not interrupt.
	batchTimeout = time.Minute
)

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
	// BatchSize is how many tasks to move at once, from 1 to [MaxBatchSize].
	BatchSize int
	// Watch is how long no matching service may write a heartbeat before the first task moves; [DefaultWatch], unless it
	// is known that none runs. Where none has ever registered, there is nothing to watch.
	Watch time.Duration
	// Progress is called after each batch. May be nil.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Moved, Total int64
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
type Interrupted struct{ Progress Progress }

// Error says how to go on.
func (e *Interrupted) Error() string {
	if e.Progress.Moved == 0 {
		return "interrupted before the first task moved: run the command again; start no matching service before it is done"
	}
	return fmt.Sprintf("interrupted after %d of %d tasks: run the command again, it goes on there; start no matching service before it is done", e.Progress.Moved, e.Progress.Total)
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

// Run moves all tasks to the plugin's place, and returns how many. It refuses while a matching service runs. When the
// context ends it finishes its batch and returns [Interrupted]. After any error, another run goes on.
func (r *Rehash) Run(ctx context.Context) (int64, error) {
	var progress Progress
	err := r.run(ctx, &progress)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = &Interrupted{progress}
	}
	return progress.Moved, err
}

func (r *Rehash) run(ctx context.Context, progress *Progress) error {
	if err := r.awaitStopped(ctx); err != nil {
		return err
	}
	found, err := r.find(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		progress.Total += s.rows
	}
	start := time.Now()
	for _, s := range found {
		err := r.move(ctx, s, func(moved int) {
			progress.Moved += int64(moved)
			progress.Left = time.Duration(float64(time.Since(start)) * float64(progress.Total-progress.Moved) / float64(progress.Moved))
			if r.cfg.Progress != nil {
				r.cfg.Progress(*progress)
			}
		})
		if err != nil {
			return fmt.Errorf("%w\n%d of %d tasks are moved: run the command again, it goes on there; start no matching service before it is done", err, progress.Moved, progress.Total)
		}
	}
	return r.checkNoneLeft(ctx)
}

// checkNoneLeft returns an error if a server with upstream's plugin has written meanwhile.
func (r *Rehash) checkNoneLeft(ctx context.Context) error {
	found, err := r.find(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("tasks came to the old place meanwhile, as of %s: a server with upstream's plugin runs on keyspace %s, without a heartbeat in %v; stop it, and run the command again",
			found[0], r.cfg.Keyspace, r.membership)
	}
	return nil
}

// move moves the tasks of a subqueue, the first ones first, until none is left.
func (r *Rehash) move(ctx context.Context, s subqueue, moved func(int)) error {
	for batch := 0; ; batch++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.checkStopped(ctx); err != nil {
			return err
		}
		count, err := r.moveBatch(context.WithoutCancel(ctx), s, batch == 0)
		if err != nil {
			return fmt.Errorf("move tasks of %s: %w", s, err)
		}
		if count == 0 {
			return nil
		}
		moved(count)
	}
}

// moveBatch moves some tasks and returns how many.
func (r *Rehash) moveBatch(ctx context.Context, s subqueue, first bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	tasks, err := r.read(ctx, s)
	if err != nil || len(tasks) == 0 {
		return 0, err
	}
	if first {
		if err := r.makeDeliverable(ctx, s, tasks[0]); err != nil {
			return 0, err
		}
	}
	if len(r.vitessShards) > 1 {
		// The places may be on two Vitess shards, which no transaction makes one. So this order.
		return len(tasks), r.replace(ctx, r.cfg.DB, s, tasks)
	}
	tx, err := r.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	if err := r.replace(ctx, tx, s, tasks); err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	return len(tasks), tx.Commit()
}

func (r *Rehash) read(ctx context.Context, s subqueue) ([]task, error) {
	rows, err := r.cfg.DB.QueryContext(ctx, s.table.first(r.cfg.Keyspace), s.rangeHash, s.taskQueueID, r.cfg.BatchSize)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tasks []task
	for rows.Next() {
		var row task
		if err := rows.Scan(s.table.scan(&row)...); err != nil {
			return nil, err
		}
		tasks = append(tasks, row)
	}
	return tasks, rows.Err()
}

// replace inserts tasks at the new place and then deletes them at the old one.
func (r *Rehash) replace(ctx context.Context, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, s subqueue, tasks []task) error {
	insert, arguments := s.table.insert(r.cfg.Keyspace, taskqueue.RangeHash(s.taskQueueID), s.taskQueueID, tasks)
	if _, err := db.ExecContext(ctx, insert, arguments...); err != nil {
		return err
	}
	remove, arguments := s.table.remove(r.cfg.Keyspace, s.rangeHash, s.taskQueueID, tasks)
	_, err := db.ExecContext(ctx, remove, arguments...)
	return err
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
