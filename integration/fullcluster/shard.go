package fullcluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

// startShard gives a Vitess shard its first primary and its schema.
//
// The DDL goes to mysqld, from where it replicates: through vtctld each statement would cost a round to all tablets.
func (c *Cluster) startShard(ctx context.Context, keyspace Keyspace, shard string) error {
	primary := c.Tablet(keyspace.Name, shard, 0)
	if err := c.PlannedReparent(ctx, keyspace.Name, shard, 0); err != nil {
		return err
	}
	_, addr, user := primary.MySQL()
	db, err := cluster.Open(user, addr, "vt_"+keyspace.Name)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := cluster.ExecDDL(ctx, db, keyspace.DDL); err != nil {
		return fmt.Errorf("Vitess shard %s/%s: %w", keyspace.Name, shard, err)
	}
	_, err = c.VTCtl(ctx, "ReloadSchemaShard", "--include-primary", keyspace.Name+"/"+shard)
	return err
}

func (c *Cluster) applyVSchema(ctx context.Context, keyspace Keyspace) error {
	if len(keyspace.VSchema) == 0 {
		return nil
	}
	file := filepath.Join(c.folder, keyspace.Name+".vschema.json")
	if err := os.WriteFile(file, keyspace.VSchema, 0o644); err != nil {
		return err
	}
	_, err := c.VTCtl(ctx, "ApplyVSchema", "--vschema-file="+file, keyspace.Name)
	return err
}

// PlannedReparent makes the tablet with that index the primary of its Vitess shard.
func (c *Cluster) PlannedReparent(ctx context.Context, keyspace, shard string, index int) error {
	_, err := c.VTCtl(ctx, "PlannedReparentShard", "--wait-replicas-timeout=30s",
		"--new-primary="+c.Tablet(keyspace, shard, index).Alias, keyspace+"/"+shard)
	return err
}

// Primary is the tablet that the topology has as the primary of a Vitess shard.
func (c *Cluster) Primary(ctx context.Context, keyspace, shard string) (*Tablet, error) {
	output, err := c.VTCtl(ctx, "GetShard", keyspace+"/"+shard)
	if err != nil {
		return nil, err
	}
	var record struct {
		Shard struct {
			PrimaryAlias struct {
				Cell string
				UID  int
			} `json:"primary_alias"`
		}
	}
	if err := json.Unmarshal([]byte(output), &record); err != nil {
		return nil, fmt.Errorf("vtctldclient GetShard: %w: %s", err, output)
	}
	for _, t := range c.Tablets() {
		if t.uid == record.Shard.PrimaryAlias.UID {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%s/%s has no primary", keyspace, shard)
}

// Follows returns an error unless a tablet that is not primary replicates.
func (c *Cluster) Follows(ctx context.Context, t *Tablet) error {
	_, addr, user := t.MySQL()
	db, err := cluster.Open(user, addr, "")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	running := 0
	for rows.Next() {
		values := make([]sql.RawBytes, len(columns))
		pointers := make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		for i, column := range columns {
			if (column == "Replica_IO_Running" || column == "Replica_SQL_Running") && string(values[i]) == "Yes" {
				running++
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if running < 2 {
		return fmt.Errorf("%s of %s/%s does not replicate", t.Alias, t.Keyspace, t.Shard)
	}
	return nil
}

// Rebuild gives a tablet the data of its Vitess shard's primary anew, by MySQL's clone plugin. It is for a former primary
// with transactions that nobody else has: vtorc leaves such a one alone.
func (c *Cluster) Rebuild(ctx context.Context, t *Tablet) error {
	primary, err := c.Primary(ctx, t.Keyspace, t.Shard)
	if err != nil {
		return err
	}
	if t == primary {
		return fmt.Errorf("rebuild %s: it is the primary of %s/%s", t.Alias, t.Keyspace, t.Shard)
	}
	// Killed, if it has not ended: commits that wait for a replica for ever would hold the tables.
	if err := t.mysqld.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := t.mysqld.Restart(ctx); err != nil {
		return err
	}
	_, addr, user := t.MySQL()
	db, err := cluster.Open(user, addr, "")
	if err != nil {
		return err
	}
	defer db.Close()
	_, donor, _ := primary.MySQL()
	if _, err := db.ExecContext(ctx, "SET GLOBAL super_read_only = OFF, GLOBAL clone_valid_donor_list = '"+donor+"'"); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(donor)
	if err != nil {
		return err
	}
	// The server ends then, for somebody to start it again. What it says of that is no error.
	const restartFailed = 3707
	_, err = db.ExecContext(ctx, fmt.Sprintf("CLONE INSTANCE FROM '%s'@'%s':%s IDENTIFIED BY ''", user, host, port))
	if answer := (*mysql.MySQLError)(nil); errors.As(err, &answer) && answer.Number != restartFailed {
		return fmt.Errorf("clone %s to %s: %w", primary.Alias, t.Alias, err)
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if ended := t.mysqld.Wait(limited); ended != nil {
		return fmt.Errorf("clone %s to %s: %w", primary.Alias, t.Alias, errors.Join(err, ended))
	}
	return t.mysqld.Restart(ctx)
}

// waitForColumns returns when all vtgates have the columns of all tables. They drop their plans then.
func (c *Cluster) waitForColumns(ctx context.Context) error {
	for _, keyspace := range c.config.Keyspaces {
		_, addr, user := c.MySQL(keyspace.Name, cluster.ShardNames(keyspace.Shards)[0], 0)
		database := "vt_" + keyspace.Name
		db, err := cluster.Open(user, addr, database)
		if err != nil {
			return err
		}
		defer db.Close()
		for i, g := range c.vtgates {
			err := poll(ctx, func(ctx context.Context) error {
				return cluster.KnowsColumns(ctx, g.httpAddr, keyspace.Name, db, database)
			})
			if err != nil {
				return fmt.Errorf("vtgate %d, keyspace %s: %w", i, keyspace.Name, err)
			}
		}
	}
	return nil
}
