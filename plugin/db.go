package plugin

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
)

// statements are how upstream's stores run a statement of one's own; sqlplugin.TableCRUD has only calls for upstream's.
type statements interface {
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// store is what a DB and a transaction have in common: upstream's calls, with those overridden that need other values
// on Vitess. The overrides are in task_queues.go and history_tree.go; those of a DB only in workflow.go.
type store struct {
	sqlplugin.TableCRUD
	statements    statements
	subqueueTasks SubqueueTasks
	tasksRead     tasksRead
}

// adminCalls are the calls of sqlplugin.AdminDB that sqlplugin.DB does not have.
type adminCalls interface {
	sqlplugin.AdminCRUD
	ExpectedVersion() string
	VerifyVersion() error
}

// db wraps upstream's DB.
type db struct {
	store
	adminCalls
	upstream sqlplugin.DB
	kind     sqlplugin.DbKind
	// connecting knows why there is no connection.
	connecting *connecting
	// connector has the connections, once there is one.
	connector *atomic.Pointer[conn.Connector]
	logger    log.Logger
	// reads of workflows that are under way; nil without pipelining.
	reads *workflowReads
	// historyWaits: an append to history may wait for its transaction.
	historyWaits bool
}

var _ DB = (*db)(nil)

func newDB(
	kind sqlplugin.DbKind, upstream sqlplugin.DB, connecting *connecting, connector *atomic.Pointer[conn.Connector],
	options Options, logger log.Logger, metricsHandler metrics.Handler,
) (*db, error) {
	made, ok := upstream.(interface {
		statements
		adminCalls
	})
	if !ok {
		return nil, fmt.Errorf("upstream's %T has other methods than the plugin was built for", upstream)
	}
	d := &db{
		store:      store{TableCRUD: upstream, statements: made, subqueueTasks: options.SubqueueTasks, tasksRead: newTasksRead(metricsHandler)},
		adminCalls: made, upstream: upstream, kind: kind, connecting: connecting, connector: connector, logger: logger,
	}
	if kind == sqlplugin.DbKindMain {
		metricsHandler.WithTags(metrics.StringTag("value", string(options.SubqueueTasks))).Gauge("vitess_subqueue_tasks").Record(1)
	}
	if options.Pipelining.Has(conn.Packets) {
		d.reads = &workflowReads{calls: upstream, logger: logger, reads: map[workflowKey]*workflowRead{}}
		if connecting.cause() == nil {
			d.reads.learn()
		}
	}
	d.historyWaits = options.Pipelining.Has(conn.Packets|conn.History) && kind == sqlplugin.DbKindMain && historyMayWait(logger)
	return d, nil
}

// BeginTx starts a transaction.
func (d *db) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	at := siteOf()
	if d.joins(ctx, at) {
		return &appendTx{db: d, ctx: ctx, function: at.function}, nil
	}
	rows, err := d.take(ctx, at)
	if err != nil {
		return nil, err
	}
	upstream, err := d.upstream.BeginTx(ctx)
	if err != nil {
		return nil, err
	}
	made, ok := upstream.(statements)
	if !ok {
		_ = upstream.Rollback()
		return nil, fmt.Errorf("upstream's %T has other methods than the plugin was built for", upstream)
	}
	if err := insert(ctx, upstream, rows); err != nil {
		_ = upstream.Rollback()
		return nil, err
	}
	within := d.store
	within.TableCRUD, within.statements = upstream, made
	return &tx{store: within, transaction: upstream}, nil
}

// IsDupEntryError reports whether an error says that a row exists already.
func (d *db) IsDupEntryError(err error) bool { return d.upstream.IsDupEntryError(err) }

// DbName returns the name of the store's database.
func (d *db) DbName() string { return d.upstream.DbName() }

// PluginName returns upstream's name, see [Name].
func (d *db) PluginName() string { return d.upstream.PluginName() }

// Close closes the connection pool.
func (d *db) Close() error { return d.upstream.Close() }

// transaction is the part of sqlplugin.Tx that is not in store.
type transaction interface {
	Commit() error
	Rollback() error
}

// tx wraps upstream's transaction.
type tx struct {
	store
	transaction
}

var _ sqlplugin.Tx = (*tx)(nil)
