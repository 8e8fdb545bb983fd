package pipelining

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/internal/session"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// The pool counts a statement to the Vitess shard that vtgate sends it to, for each type of sharding value.
func TestSessionsAreDividedByTheVitessShardThatHasTheRow(t *testing.T) {
	visibility := bed.VisibilityConfig(vschema.ProfileNamespace).DatabaseName
	mysqld := openMySQL(t)
	for name, test := range map[string]struct {
		role                    vschema.Role
		keyspace, insert, count string
		value                   func(i int) driver.Value
	}{
		"a history shard": {
			vschema.Main, testbed.Main, "INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding) VALUES (?, 1, '', '')",
			"SELECT COUNT(*) FROM `%s`.transfer_tasks WHERE shard_id = ?", func(i int) driver.Value { return int64(100_000 + i) },
		},
		"bytes": {
			vschema.Main, testbed.Main, "INSERT INTO build_id_to_task_queue (namespace_id, build_id, task_queue_name) VALUES (?, 'b', 'q')",
			"SELECT COUNT(*) FROM `%s`.build_id_to_task_queue WHERE namespace_id = ?", func(int) driver.Value { return []byte(primitives.NewUUID()) },
		},
		"text": {
			vschema.Visibility, visibility, "INSERT INTO executions_visibility (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, encoding, task_queue) " +
				"VALUES (?, 'r', NOW(), NOW(), 'w', 't', 1, '', '')",
			"SELECT COUNT(*) FROM `%s`.executions_visibility WHERE namespace_id = ?", func(int) driver.Value { return primitives.NewUUID().String() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := router.New(router.Config{Keyspaces: map[vschema.Role]string{test.role: test.keyspace}, Profile: vschema.ProfileNamespace, MaxRows: router.DefaultMaxRows})
			require.NoError(t, err)
			cfg := mysql.NewConfig()
			cfg.Net, cfg.Addr, cfg.DBName, cfg.InterpolateParams = "tcp", bed.MainConfig().ConnectAddr, test.keyspace, true
			base, err := mysql.NewConnector(cfg)
			require.NoError(t, err)
			pool, err := session.NewPool(session.Config{Base: base, MaxConns: 4, MaxIdle: 4, Logger: log.NewTestLogger(), Opened: func() {}, Failed: func(outcome.Class) {}})
			require.NoError(t, err)
			defer pool.Close()
			seen := map[string]bool{}
			for i := range 16 {
				value := test.value(i)
				args := []driver.NamedValue{{Ordinal: 1, Value: value}}
				group := pool.Group(t.Context(), r.Plan(test.insert), args)
				require.Contains(t, []string{test.keyspace + "/-80", test.keyspace + "/80-"}, group)
				seen[group] = true

				s, err := pool.Take(context.Background(), group)
				require.NoError(t, err)
				_, err = s.ExecContext(t.Context(), test.insert, args)
				pool.Give(s)
				require.NoError(t, err)
				var rows int
				require.NoError(t, mysqld.QueryRow(fmt.Sprintf(test.count, "vt_"+strings.Replace(group, "/", "_", 1)), value).Scan(&rows))
				require.Equal(t, 1, rows)
			}
			require.Len(t, seen, 2)
		})
	}
}
