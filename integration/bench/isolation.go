package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// What happens to operations on one Vitess shard while the other is read-only, as after the demotion of its primary.
const (
	isolationOperation = "add 3 history tasks"
	isolationCallers   = 8
	isolationCalls     = 100 // of each caller on the healthy Vitess shard
	// isolationPatience is how long a caller waits for the failing Vitess shard.
	isolationPatience = 50 * time.Millisecond
)

var isolationConfigurations = []configuration{
	{Title: "upstream's mysql8 on 2 Vitess shards", VitessShards: 2, Stock: true},
	{Title: "the plugin on 2 Vitess shards", VitessShards: 2},
	{Title: "the plugin on 2 Vitess shards, pipelining off", VitessShards: 2, Attributes: map[string]string{"vitess_pipelining": "off"}},
}

// isolationResult counts the calls on the healthy Vitess shard.
type isolationResult struct {
	Title  string `json:"title"`
	Calls  int    `json:"calls"`
	Failed int    `json:"failed"`
}

// isolation measures the configurations in turn.
func (b *bench) isolation(ctx context.Context, operation operation) error {
	for i, c := range isolationConfigurations {
		fmt.Fprintf(b.progress, "a read-only Vitess shard, %s\n", c.Title)
		s, err := openSubject(ctx, b.databases, c, int32((len(configurations)+1+i)*historyShardsPerSubject), isolationCallers)
		if err != nil {
			return err
		}
		result, err := s.isolation(ctx, b.databases, operation)
		if err = errors.Join(err, s.close()); err != nil {
			return failure(operation, s, err)
		}
		b.results.Isolation = append(b.results.Isolation, result)
	}
	return nil
}

func (s *subject) isolation(ctx context.Context, d *databases, operation operation) (_ isolationResult, err error) {
	result := isolationResult{Title: s.Title}
	s.setDelay(0)
	prepares := make([]prepare, len(s.callers))
	for i, caller := range s.callers {
		if prepares[i], err = operation.setUp(ctx, caller); err != nil {
			return result, err
		}
	}
	repair, err := d.makeReadOnly(ctx, fmt.Sprintf("vt_%s_%d_-80", testbed.Main, s.VitessShards))
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, repair()) }()

	unhealthy, stop := context.WithCancel(ctx)
	var failing, healthy sync.WaitGroup
	var failed atomic.Int64
	for i, caller := range s.callers {
		if caller.historyShard%2 == 0 { // reverse_bits puts even ones into the lower half
			failing.Go(func() {
				for unhealthy.Err() == nil {
					limited, cancel := context.WithTimeout(unhealthy, isolationPatience)
					_ = one(limited, prepares[i])
					cancel()
				}
			})
			continue
		}
		result.Calls += isolationCalls
		healthy.Go(func() {
			for range isolationCalls {
				if one(ctx, prepares[i]) != nil {
					failed.Add(1)
				}
			}
		})
	}
	healthy.Wait()
	stop()
	failing.Wait()
	result.Failed = int(failed.Load())
	return result, ctx.Err()
}

// makeReadOnly lets a Vitess shard refuse the operation with the error of a demoted primary, until repair is called.
func (d *databases) makeReadOnly(ctx context.Context, database string) (repair func() error, err error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = d.MySQL()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	mysqld := sql.OpenDB(connector)
	_, err = mysqld.ExecContext(ctx, fmt.Sprintf("CREATE TRIGGER `%s`.read_only BEFORE INSERT ON `%[1]s`.transfer_tasks FOR EACH ROW "+
		"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1836, MESSAGE_TEXT = 'Running in read-only mode'", database))
	if err != nil {
		return nil, errors.Join(err, mysqld.Close())
	}
	return func() error {
		_, err := mysqld.Exec(fmt.Sprintf("DROP TRIGGER `%s`.read_only", database))
		return errors.Join(err, mysqld.Close())
	}, nil
}
