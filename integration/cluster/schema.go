package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// applySchema executes the DDL of all keyspaces, and returns when vtgate knows the columns of all tables.
//
// The DDL goes to mysqld, not through vtgate: each DDL statement through vtgate makes the vttablets of all Vitess shards
// read their schema anew, and note it in the one sidecar database that they share here. They run into deadlocks there,
// and vtgate then misses columns until they try again, which is a minute later by default. So they get one hint each.
func (c *Cluster) applySchema(ctx context.Context, keyspaces []Keyspace) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	for _, keyspace := range keyspaces {
		for _, shard := range ShardNames(keyspace.Shards) {
			wg.Go(func() {
				if err := c.execDDL(ctx, "vt_"+keyspace.Name+"_"+shard, keyspace.DDL); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, fmt.Errorf("Vitess shard %s/%s: %w", keyspace.Name, shard, err))
				}
			})
		}
	}
	wg.Wait()
	if len(failures) > 0 {
		return failures[0] // the other Vitess shards of the keyspace fail alike
	}
	for _, keyspace := range keyspaces {
		for _, shard := range ShardNames(keyspace.Shards) {
			if err := c.reloadSchema(ctx, keyspace.Name+":"+shard); err != nil {
				return fmt.Errorf("tell Vitess shard %s/%s of its schema: %w", keyspace.Name, shard, err)
			}
		}
	}
	for _, keyspace := range keyspaces {
		if err := c.waitForColumns(ctx, keyspace); err != nil {
			return fmt.Errorf("keyspace %s: %w", keyspace.Name, err)
		}
	}
	return nil
}

// execDDL executes the statements in a database of mysqld.
func (c *Cluster) execDDL(ctx context.Context, database string, statements []string) error {
	_, addr, user := c.MySQL()
	db, err := Open(user, addr, database)
	if err != nil {
		return err
	}
	defer db.Close()
	return ExecDDL(ctx, db, statements)
}

// ExecDDL executes the statements in the database that db is connected to.
func ExecDDL(ctx context.Context, db *sql.DB, statements []string) error {
	for i, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("statement %d of %d: %w\n%s", i+1, len(statements), err, statement)
		}
	}
	return nil
}

// reloadSchema makes the vttablet of one Vitess shard read its schema, as it does after each DDL statement.
func (c *Cluster) reloadSchema(ctx context.Context, shard string) error {
	db, err := Open("root", c.VTGateAddr(), shard)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := c.wait(ctx, db.PingContext); err != nil { // vtgate has only just started
		return err
	}
	_, err = db.ExecContext(ctx, "DROP TABLE IF EXISTS no_such_table")
	return err
}

// waitForColumns returns when vtgate has the columns of all tables, which takes it about a second. It drops its plans
// then: a test that starts earlier would find its first statements planned differently, and missing in QueryPlans.
func (c *Cluster) waitForColumns(ctx context.Context, keyspace Keyspace) error {
	database := "vt_" + keyspace.Name + "_" + ShardNames(keyspace.Shards)[0]
	_, addr, user := c.MySQL()
	db, err := Open(user, addr, database)
	if err != nil {
		return err
	}
	defer db.Close()
	return c.wait(ctx, func(ctx context.Context) error {
		return KnowsColumns(ctx, c.HTTPAddr(), keyspace.Name, db, database)
	})
}

// KnowsColumns returns an error unless the vtgate with that HTTP address has the columns of all tables that the database,
// which holds a Vitess shard of the keyspace, has.
func KnowsColumns(ctx context.Context, httpAddr, keyspace string, db *sql.DB, database string) error {
	tables, err := baseTables(ctx, db, database)
	if err != nil {
		return err
	}
	tracked, err := trackedTables(ctx, httpAddr, keyspace)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if !tracked[table] {
			return fmt.Errorf("vtgate does not know the columns of table %s", table)
		}
	}
	return nil
}

func baseTables(ctx context.Context, db *sql.DB, database string) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'", database)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return tables, rows.Err()
}

// wait repeats try until it succeeds, the context is done or the cluster has failed.
func (c *Cluster) wait(ctx context.Context, try func(context.Context) error) error {
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.process.program.Ended():
			return errors.Join(err, errors.New("vttestserver ended"))
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// ShardNames are the names that vttestserver gives to the Vitess shards of a keyspace.
func ShardNames(count int) []string {
	if count == 1 {
		return []string{"0"}
	}
	bound := func(i int) string {
		if i == 0 || i == count {
			return ""
		}
		return fmt.Sprintf("%02x", i*(0x100/count))
	}
	names := make([]string, count)
	for i := range names {
		names[i] = bound(i) + "-" + bound(i+1)
	}
	return names
}
