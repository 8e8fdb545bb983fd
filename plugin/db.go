package plugin

import (
	"context"
	"fmt"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// selector is how upstream's stores run a query of one's own; sqlplugin.TableCRUD has only calls for upstream's.
type selector interface {
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
}

// store is what a DB and a transaction have in common: upstream's calls, with those overridden that need other values
// on Vitess. The overrides are in task_queues.go and history_tree.go; those of a DB only in workflow.go.
type store struct {
	sqlplugin.TableCRUD
	selector selector
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
	// reads of workflows that are under way; nil without pipelining.
	reads *workflowReads
}

var _ DB = (*db)(nil)

func newDB(upstream sqlplugin.DB, options Options) (*db, error) {
	made, ok := upstream.(interface {
		selector
		adminCalls
	})
	if !ok {
		return nil, fmt.Errorf("upstream's %T has other methods than the plugin was built for", upstream)
	}
	d := &db{store: store{TableCRUD: upstream, selector: made}, adminCalls: made, upstream: upstream}
	if options.Pipelining {
		d.reads = &workflowReads{reads: map[workflowKey]*workflowRead{}}
	}
	return d, nil
}

// BeginTx starts a transaction.
func (d *db) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	upstream, err := d.upstream.BeginTx(ctx)
	if err != nil {
		return nil, err
	}
	made, ok := upstream.(selector)
	if !ok {
		_ = upstream.Rollback()
		return nil, fmt.Errorf("upstream's %T has other methods than the plugin was built for", upstream)
	}
	return &tx{store: store{TableCRUD: upstream, selector: made}, transaction: upstream}, nil
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
