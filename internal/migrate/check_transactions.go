package migrate

import (
	"context"
	"fmt"
	"time"
)

// oldTransaction is the age from which on a transaction is not on its way to its end, as Temporal's are.
const oldTransaction = 2 * time.Second

var openTransactions = Check{
	Name:   "transactions",
	Title:  "no old transaction is open where writes are to be stopped",
	Why:    "A switch waits for open transactions that have locked rows, and all writes wait behind it; after --lock-wait it is given up.",
	Fix:    "End them: the client's COMMIT or ROLLBACK, or KILL with the number.",
	Before: []Command{Switch, Reverse},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		for _, keyspace := range i.leaving() {
			primaries, err := i.primaries(ctx, keyspace)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				rows, err := i.dba(ctx, on, fmt.Sprintf("SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) FROM information_schema.innodb_trx"+
					" WHERE (trx_tables_locked > 0 OR trx_rows_modified > 0) AND trx_started < NOW() - INTERVAL %d SECOND", int(oldTransaction.Seconds())))
				if err != nil {
					seen.note("they cannot be seen, but the switch gives up by itself (GRANT PROCESS lets them be seen): %v", err)
					continue
				}
				for _, row := range rows.Rows {
					seen.problem("%s: connection %s has a transaction open for %s s", on, row[0].ToString(), row[1].ToString())
				}
			}
		}
		return nil
	},
}

// leaving are the keyspaces that have the traffic.
func (i *inspection) leaving() []string {
	var names []string
	seen := map[string]bool{}
	for _, state := range i.states {
		keyspace := state.Source
		if state.Traffic == Target {
			keyspace = state.Target
		}
		if !seen[keyspace] {
			seen[keyspace] = true
			names = append(names, keyspace)
		}
	}
	return names
}
