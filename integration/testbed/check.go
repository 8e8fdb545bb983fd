package testbed

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// CheckRoutes returns an error if vtgate has seen, since the start, what the plugin promises never to do: a
// transaction over several Vitess shards, a reserved connection, or a query to several Vitess shards that is not in the
// list. It is for the end of a package's tests.
func (t *Testbed) CheckRoutes(ctx context.Context) error {
	vars, err := t.Vars(ctx)
	if err != nil {
		return err
	}
	var failures []error
	if vars.MultiCommits > 0 {
		failures = append(failures, fmt.Errorf("%d transactions spanned several Vitess shards", vars.MultiCommits))
	}
	if reserved := vars.ReservedConnections - t.reserved; reserved > 0 {
		failures = append(failures, fmt.Errorf("%d connections were reserved", reserved))
	}
	plans, err := t.QueryPlans(ctx)
	if err != nil {
		return err
	}
	for _, plan := range plans {
		if plan.ShardQueries > plan.ExecCount && !maySpread(plan.Original) {
			failures = append(failures, fmt.Errorf("%d executions made %d queries to Vitess shards (%s): %s",
				plan.ExecCount, plan.ShardQueries, plan.Type, plan.Original))
		}
	}
	return errors.Join(failures...)
}

// SetUpByTool tells that temporal-vitess-tool has set the keyspaces up, whose lock reserves a connection: it is not the
// plugin's.
func (t *Testbed) SetUpByTool(ctx context.Context) error {
	vars, err := t.Vars(ctx)
	t.reserved = vars.ReservedConnections
	return err
}

// maySpread reports whether the plugin marked a statement as one that asks every Vitess shard. Schema changes and what
// they look up are the harness's own.
func maySpread(statement string) bool {
	return strings.Contains(statement, "ALLOW_SCATTER") || !strings.Contains(statement, "WORKLOAD_NAME")
}
