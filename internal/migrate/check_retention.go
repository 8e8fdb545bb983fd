package migrate

import (
	"context"
	"strconv"
	"time"
)

// leastRetention leaves time to mend a stream that has stopped.
const leastRetention = 24 * time.Hour

var retention = Check{
	Name:   "retention",
	Title:  "the source keeps its binary log for a day or more",
	Why:    "A stream that is down for longer than the binary log is kept can never go on: the migration begins anew.",
	Fix:    "SET PERSIST binlog_expire_logs_seconds = 604800 on the source. On RDS and Aurora: CALL mysql.rds_set_configuration('binlog retention hours', 168), which this check cannot see: skip it then.",
	Before: []Command{Start},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		return i.eachSource(ctx, func(on primary) error {
			values, err := i.column(ctx, on, "SELECT @@global.binlog_expire_logs_seconds")
			if err != nil || len(values) == 0 {
				return err
			}
			seconds, err := strconv.Atoi(values[0])
			if kept := time.Duration(seconds) * time.Second; err == nil && seconds > 0 && kept < leastRetention {
				seen.problem("%s: binlog_expire_logs_seconds is %d (%s)", on, seconds, kept)
			}
			return err
		})
	},
}
