package migrate

import (
	"context"
	"strings"
)

var binlog = Check{
	Name:   "binlog",
	Title:  "the source writes a binary log that VReplication reads",
	Why:    "VReplication takes changes from the binary log, finds its place by GTIDs, and needs all columns of a row. Vitess makes the workflow without them, and its streams fail.",
	Fix:    "In the source's mysqld: log_bin, binlog_format=ROW, binlog_row_image=FULL, gtid_mode=ON and enforce_gtid_consistency=ON (gtid_mode goes on without a restart, in MySQL's four steps). On RDS and Aurora they are in the parameter group.",
	Before: []Command{Start},
	Final:  true,
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		return i.eachSource(ctx, func(on primary) error {
			for _, needed := range []struct{ variable, value string }{
				{"log_bin", "1"}, {"binlog_format", "ROW"}, {"binlog_row_image", "FULL"}, {"gtid_mode", "ON"},
			} {
				values, err := i.column(ctx, on, "SELECT @@global."+needed.variable)
				if err != nil {
					return err
				}
				if len(values) != 1 || !strings.EqualFold(values[0], needed.value) {
					seen.problem("%s: %s is %s", on, needed.variable, strings.Join(values, ""))
				}
			}
			return nil
		})
	},
}
