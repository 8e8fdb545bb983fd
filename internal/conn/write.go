package conn

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// write is a statement that waits, and the result that its caller already has.
type write struct {
	transaction *transaction
	plan        *router.Plan
	// args are the values of the statement's placeholders.
	args []driver.NamedValue
	// size, see sizeOf.
	size int
	// promised is the row count that the caller may be told before the server has; negative if there is none.
	promised int64
	// check is the name of the row (see appendKey) if the statement is no write but the lock of a row that was told already.
	check string
	// affected is the row count, once the server has said it.
	affected int64
	done     bool
}

var _ driver.Result = (*write)(nil)

// LastInsertId is not in use: no table of Temporal has ids that a caller asks for.
func (w *write) LastInsertId() (int64, error) { return 0, errors.ErrUnsupported }

// RowsAffected returns the row count. If neither known nor promised, it sends what waits.
func (w *write) RowsAffected() (int64, error) {
	switch {
	case w.done:
		return w.affected, nil
	case w.promised >= 0:
		return w.promised, nil
	}
	t := w.transaction
	if err := t.flush(t.ctx, causeCount); err != nil {
		return 0, err
	}
	if !w.done {
		return 0, errors.New("the row count of a statement whose transaction was rolled back is not known")
	}
	return w.affected, nil
}

// arrive takes the row count of the server and compares it with what was promised.
func (w *write) arrive(affected int64) error {
	w.affected, w.done = affected, true
	if w.promised < 0 || affected == w.promised {
		return nil
	}
	if w.plan.Promise == router.UpsertedRow && affected == 2 {
		return nil
	}
	return fmt.Errorf("%s affected %d rows instead of %d, which Temporal was told already", w.plan.Name(), affected, w.promised)
}

// promise returns the row count that a waiting write may be said to have, negative if none.
func (t *transaction) promise(plan *router.Plan, args []driver.NamedValue) int64 {
	if !t.conn.connector.pool.FoundRows() {
		return -1
	}
	switch plan.Promise {
	case router.InsertedRows:
		return plan.Rows
	case router.UpsertedRow:
		if plan.Rows == 1 {
			return 1
		}
	case router.LockedRow:
		if plan.Key != nil && len(t.locked) > 0 {
			key := appendKey(t.conn.scratch.key[:0], plan, args)
			t.conn.scratch.key = key
			if slices.ContainsFunc(t.locked, func(locked string) bool { return locked == string(key) }) {
				return 1
			}
		}
	}
	return -1
}

// appendKey appends the name of a row: its table and primary key.
func appendKey(key []byte, plan *router.Plan, args []driver.NamedValue) []byte {
	key = append(key, plan.Table...)
	for _, index := range plan.Key {
		key = appendValue(key, args[index].Value)
	}
	return key
}

// appendValue appends a value of a row's name.
func appendValue(key []byte, value driver.Value) []byte {
	key = append(key, 0)
	switch value := value.(type) {
	case int64:
		return strconv.AppendInt(key, value, 10)
	case uint64:
		return strconv.AppendUint(key, value, 10)
	case string:
		return append(key, value...)
	case []byte:
		return append(key, value...)
	default:
		return fmt.Append(key, value)
	}
}
