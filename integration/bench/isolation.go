package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// What happens to operations on one Vitess shard while the other fails, with more callers than connections, which have
// the patience of Temporal's.
const (
	isolationOperation   = "add 3 history tasks"
	isolationCallers     = 64
	isolationConnections = 20
	isolationPatience    = 10 * time.Second
	// isolationTime is how long is measured, without and with a fault: in the latter, the callers of the failing Vitess
	// shard give up once.
	isolationTime = isolationPatience + 5*time.Second
)

var isolationConfigurations = []configuration{
	{Title: "upstream's mysql8 on 2 Vitess shards", VitessShards: 2, Stock: true},
	{Title: "the plugin on 2 Vitess shards", VitessShards: 2},
	{Title: "the plugin on 2 Vitess shards, pipelining off", VitessShards: 2, Attributes: map[string]string{"vitess_pipelining": "off"}},
}

// isolationFaults are statements for the mysqld of the lower Vitess shard, on one connection; %s stands for its database.
var isolationFaults = []struct {
	name           string
	begin, restore string
}{
	{"its primary is read-only", failTasks(1836, "Running in read-only mode"), "DROP TRIGGER `%s`.fault"},
	{"it has no primary", failTasks(1105, "no healthy tablet available"), "DROP TRIGGER `%s`.fault"},
	{"its primary does not answer", "LOCK TABLES `%s`.shards WRITE", "UNLOCK TABLES"},
}

// failTasks returns a statement that lets each operation fail with an error.
func failTasks(number int, text string) string {
	return fmt.Sprintf("CREATE TRIGGER `%%[1]s`.fault BEFORE INSERT ON `%%[1]s`.transfer_tasks FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = '%s'", number, text)
}

// isolationResult is about the calls on the healthy Vitess shard. Times are in milliseconds.
type isolationResult struct {
	Title string `json:"title"`
	Fault string `json:"fault"` // "" for none
	Calls int    `json:"calls"`
	// Failed calls, and the 99th percentile of all.
	Failed int     `json:"failed"`
	P99    float64 `json:"p99"`
}

// isolation measures the configurations in turn.
func (b *bench) isolation(ctx context.Context, operation operation) error {
	length := isolationTime
	if b.settings.Rounds == quick.Rounds {
		length = 3 * time.Second
	}
	for i, c := range isolationConfigurations {
		s, err := openSubject(ctx, b.databases, c, int32((len(configurations)+1+i)*historyShardsPerSubject), isolationCallers, isolationConnections)
		if err != nil {
			return err
		}
		s.setDelay(0)
		prepares := make([]prepare, len(s.callers))
		for i, caller := range s.callers {
			if prepares[i], err = operation.setUp(ctx, caller); err == nil {
				err = one(ctx, prepares[i])
			}
			if err != nil {
				return errors.Join(failure(operation, s, err), s.close())
			}
		}
		measure := func(fault string) {
			fmt.Fprintf(b.progress, "one of two Vitess shards: %s, %s\n", orNone(fault), c.Title)
			result := s.isolation(ctx, prepares, length)
			result.Fault = fault
			b.results.Isolation = append(b.results.Isolation, result)
		}
		measure("")
		for _, fault := range isolationFaults {
			repair, err := b.databases.breakLower(ctx, s.VitessShards, fault.begin, fault.restore)
			if err != nil {
				return errors.Join(err, s.close())
			}
			measure(fault.name)
			if err := repair(); err != nil {
				return errors.Join(err, s.close())
			}
		}
		if err := errors.Join(s.close(), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func orNone(fault string) string {
	if fault == "" {
		return "no fault"
	}
	return fault
}

// isolation lets all callers call for some time.
func (s *subject) isolation(ctx context.Context, prepares []prepare, length time.Duration) isolationResult {
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	var all sync.WaitGroup
	var mutex sync.Mutex
	result := isolationResult{Title: s.Title}
	var samples []time.Duration
	for i, caller := range s.callers {
		all.Go(func() {
			for ctx.Err() == nil {
				limited, cancel := context.WithTimeout(ctx, isolationPatience)
				begin := time.Now()
				err := one(limited, prepares[i])
				cancel()
				if caller.historyShard%2 == 0 || ctx.Err() != nil { // reverse_bits puts even ones into the lower half
					continue
				}
				mutex.Lock()
				samples = append(samples, time.Since(begin))
				if err != nil {
					result.Failed++
				}
				mutex.Unlock()
			}
		})
	}
	all.Wait()
	result.Calls = len(samples)
	if len(samples) > 0 {
		slices.Sort(samples)
		result.P99 = milliseconds(percentile(samples, 99))
	}
	return result
}

// breakLower executes a statement on the mysqld for the lower Vitess shard, and another when repair is called.
func (d *databases) breakLower(ctx context.Context, vitessShards int, begin, restore string) (repair func() error, err error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = d.MySQL()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	mysqld := sql.OpenDB(connector)
	mysqld.SetMaxOpenConns(1) // which holds the lock
	database := fmt.Sprintf("vt_%s_%d_-80", testbed.Main, vitessShards)
	if _, err = mysqld.ExecContext(ctx, fmt.Sprintf(begin, database)); err != nil {
		return nil, errors.Join(err, mysqld.Close())
	}
	if restore != "UNLOCK TABLES" {
		restore = fmt.Sprintf(restore, database)
	}
	return func() error {
		_, err := mysqld.Exec(restore)
		return errors.Join(err, mysqld.Close())
	}, nil
}
