package apply

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Runner executes plans.
type Runner struct {
	Vitess    *live.Vitess
	Keyspaces map[vschema.Role]string
	// Strategy is Vitess' @@ddl_strategy for DDL, see [CheckStrategy].
	Strategy string
	// Progress is called before each action, with what is left after it.
	Progress func(action Action, left int)
	// Wait is told how online DDL gets on.
	Wait func(Migration)
}

// maxTries is how often an action is executed that ends in a deadlock each time, or a migration that Vitess says is complete
// and that is not.
const maxTries = 5

// Run executes what plan returns for the store, then looks whether anything is still lacking. After a deadlock, which
// vttablet may report for a statement that mysqld has executed, it looks and goes on with what is lacking; and it looks
// before it believes that migrations are complete. When the context is cancelled, the next Run goes on.
func (r *Runner) Run(ctx context.Context, store Store, plan func(*State) ([]Action, error)) error {
	// An earlier run may have had another strategy: DDL beside its migrations would change what they copy.
	for _, role := range store.Roles() {
		if r.Vitess.PlainMySQL {
			break // has no migrations
		}
		if err := r.awaitEarlier(ctx, r.Keyspaces[role]); err != nil {
			return err
		}
	}
	done, first, tries := false, "", 0
	for {
		state, err := Look(ctx, r.Vitess, store, r.Keyspaces)
		if err != nil {
			return err
		}
		actions, err := plan(state)
		if done && errors.Is(err, ErrSetUp) {
			return nil
		}
		if err != nil || len(actions) == 0 {
			return err
		}
		if tries++; actions[0].SQL != first {
			first, tries = actions[0].SQL, 1
		}
		if done || tries > maxTries {
			return fmt.Errorf("keyspace %s still lacks %q, which was executed", actions[0].Keyspace, actions[0].SQL)
		}
		failed, executed, err := r.execute(ctx, actions)
		if err != nil && (!isDeadlock(err) || failed.SQL == first && tries == maxTries) {
			return fmt.Errorf("%s, %s, keyspace %s: %w\n%s", failed.Step, failed.Title, failed.Keyspace, err, failed.SQL)
		}
		done = executed == len(actions)
	}
}

// execute returns how many of the actions it has executed, and the one that failed. With migrations it stops before the
// next action that is none: the record of a version belongs behind a look at the tables.
func (r *Runner) execute(ctx context.Context, actions []Action) (failed Action, executed int, err error) {
	for i, action := range actions {
		if err := ctx.Err(); err != nil {
			return action, i, err
		}
		if isOnline(r.Strategy) && !action.DDL && i > 0 && actions[i-1].DDL {
			return Action{}, i, nil
		}
		r.Progress(action, len(actions)-i-1)
		if err := r.one(ctx, action); err != nil {
			return action, i, err
		}
	}
	return Action{}, len(actions), nil
}

func (r *Runner) one(ctx context.Context, action Action) error {
	online := action.DDL && isOnline(r.Strategy)
	if action.VitessShards == nil {
		return r.Vitess.In(ctx, action.Keyspace, func(session *sql.Conn) error {
			if online {
				return r.online(ctx, session, action)
			}
			return r.direct(ctx, session, action)
		})
	}
	if online {
		return fmt.Errorf("only Vitess shards %v lack this, and an online migration goes to all: see SHOW VITESS_MIGRATIONS for what failed there "+
			"and ALTER VITESS_MIGRATION '<uuid>' RETRY, or finish with --ddl-strategy %s", action.VitessShards, DirectStrategy)
	}
	for _, vitessShard := range action.VitessShards {
		err := r.Vitess.On(ctx, action.Keyspace, vitessShard, func(session *sql.Conn) error {
			return r.direct(ctx, session, action)
		})
		if err != nil {
			return fmt.Errorf("Vitess shard %s: %w", vitessShard, err)
		}
	}
	return nil
}

// direct executes an action at once. The workload frees the session from vttablet's query timeout: a new index on a large
// table takes longer than 30 s.
func (r *Runner) direct(ctx context.Context, session *sql.Conn, action Action) error {
	if !r.Vitess.PlainMySQL {
		if _, err := session.ExecContext(ctx, "SET workload = 'dba'"); err != nil {
			return err
		}
	}
	if err := live.ReadAsUsual(ctx, session); err != nil {
		return err
	}
	_, err := session.ExecContext(ctx, action.SQL)
	if err != nil && ctx.Err() != nil && action.DDL {
		return fmt.Errorf("%w: mysqld may go on with the statement: before the next run, wait until SHOW PROCESSLIST on the primaries does not show it", err)
	}
	return err
}

// isDeadlock tells whether an error says that a transaction was the victim of a deadlock: mysqld's, or the one in which
// vttablet notes the new tables for itself.
func isDeadlock(err error) bool {
	return live.Refused(err, live.ErrnoDeadlock)
}
