package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/namespace"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/persistence/visibility/manager"
	"go.temporal.io/server/common/persistence/visibility/store"
	visibilitysql "go.temporal.io/server/common/persistence/visibility/store/sql"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	visibilityDatabase  = "visibility"
	visibilityNamespace = namespace.ID("5b1f2c9e-0b1c-4d53-9b39-6d0c6a3c7f10")
	visibilityPage      = 20
	// visibilityRuns of each query, of which the median counts. All data is in the buffer pool.
	visibilityRuns = 3
)

// visibilityQueries are what is asked, in Temporal's language.
var visibilityQueries = []struct {
	title, query string
	list         bool
	// page that is measured, from 1.
	page int
}{
	{"list, newest page", "", true, 1},
	{"list, third page", "", true, 3},
	{"list of a status: Running", "ExecutionStatus = 'Running'", true, 1},
	{"list of a status: Completed", "ExecutionStatus = 'Completed'", true, 1},
	{"list of a type", "WorkflowType = 'type-7'", true, 1},
	{"list of a type and status", "WorkflowType = 'type-7' AND ExecutionStatus = 'Completed'", true, 1},
	{"list of what closed since a time", "CloseTime > '2026-04-26T00:00:00Z'", true, 1},
	{"count", "", false, 0},
	{"count of a status: Running", "ExecutionStatus = 'Running'", false, 0},
	{"count of a status: Completed", "ExecutionStatus = 'Completed'", false, 0},
	{"count of a type", "WorkflowType = 'type-7'", false, 0},
	{"count of a task queue", "TaskQueue = 'queue-7'", false, 0},
	{"count, grouped by status", "GROUP BY ExecutionStatus", false, 0},
}

// visibilityIndexes are those of upstream's indexes that queries as these may be read by, and by_batcher_user: of the indexes with
// the order of lists, MySQL takes ORDER BY for that of the first by name. The others take long to build.
var visibilityIndexes = []string{"default_idx", "by_batcher_user", "by_status", "by_task_queue", "by_temporal_namespace_division", "by_workflow_type"}

// visibilityResults are of one run.
type visibilityResults struct {
	Machine string             `json:"machine"`
	Rows    int                `json:"rows"`
	Timings []visibilityTiming `json:"timings"`
}

// visibilityTiming is of a query, by upstream's plugin and by this one.
type visibilityTiming struct {
	Query string             `json:"query"`
	By    [2]visibilityQuery `json:"mysql8_vitess"`
}

// visibilityQuery is what one plugin makes of a query.
type visibilityQuery struct {
	Milliseconds float64 `json:"ms"`
	// Plan is MySQL's, of the first table: its index and how rows are sorted, if they are; and the number of tables.
	Plan string `json:"plan"`
}

// measureVisibility compares lists and counts of a namespace of many workflows, on one mysqld without Vitess: what the plugins send
// differs, and nothing else.
func measureVisibility(ctx context.Context, folder string) (err error) {
	rows := 1_000_000
	if os.Getenv("BENCH_QUICK") == "1" {
		rows = 20_000
	}
	running, err := cluster.Start(ctx, cluster.Config{Keyspaces: []cluster.Keyspace{{Name: "unused", Shards: 1}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	network, address, user := running.MySQL()
	if err := running.CreateDatabase(ctx, visibilityDatabase, nil); err != nil {
		return err
	}
	db, err := cluster.Open(user, address, visibilityDatabase)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // the variables are the session's
	if err := loadVisibility(ctx, db, rows); err != nil {
		return err
	}
	var stores [2]store.VisibilityStore
	for i, name := range []string{mysql.PluginName, plugin.Name} {
		opened, err := visibilitysql.NewSQLVisibilityStore(
			config.SQL{PluginName: name, DatabaseName: visibilityDatabase, ConnectAddr: address, ConnectProtocol: network, User: user}, resolver.NewNoopResolver(),
			searchattribute.NewTestProvider(), searchattribute.NewTestMapperProvider(nil), chasm.NewRegistry(log.NewNoopLogger()),
			dynamicconfig.GetBoolPropertyFn(true), log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
		if err != nil {
			return err
		}
		defer opened.Close()
		stores[i] = opened
	}
	results := visibilityResults{Machine: machine(), Rows: rows}
	for i, query := range visibilityQueries {
		timing := visibilityTiming{Query: query.title}
		var found [2]string
		for by, visibility := range stores {
			if found[by], timing.By[by], err = measureQuery(ctx, db, visibility, i); err != nil {
				return fmt.Errorf("%s: %w", query.title, err)
			}
		}
		if found[0] != found[1] {
			return fmt.Errorf("%s: upstream's plugin finds\n%s\nand this one\n%s", query.title, found[0], found[1])
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", query.title, timing.By)
		results.Timings = append(results.Timings, timing)
	}
	return writeReport(folder, "visibility.json", results, map[string]string{"visibility.md": results.markdown()})
}

// loadVisibility makes the tables and fills them: one workflow of 100 is running, one of 500 of another division, the others have
// ended in several ways, in 20 types and 10 task queues. Indexes come last, which is faster.
func loadVisibility(ctx context.Context, db *sql.DB, rows int) error {
	keyspace, err := schema.Load(vschema.Visibility)
	if err != nil {
		return err
	}
	statements := []string{
		"SET GLOBAL innodb_buffer_pool_size = 3 << 30", "SET GLOBAL innodb_redo_log_capacity = 2 << 30",
		"SET SESSION innodb_ddl_buffer_size = 1 << 30, innodb_ddl_threads = 2, innodb_parallel_read_threads = 2, sql_log_bin = 0, cte_max_recursion_depth = 1 << 30",
	}
	for _, statement := range keyspace.Statements {
		if strings.HasPrefix(statement, "CREATE TABLE") {
			statements = append(statements, statement)
		}
	}
	statements = append(statements, fmt.Sprintf(`INSERT INTO executions_visibility (namespace_id, run_id, _version, start_time, execution_time, workflow_id, workflow_type_name, status,
		close_time, history_length, history_size_bytes, execution_duration, state_transition_count, memo, encoding, task_queue, search_attributes, root_workflow_id, root_run_id)
		WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d),
		w AS (SELECT i, INSERT(INSERT(INSERT(INSERT(LEFT(SHA2(i, 256), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-') AS run_id, '2026-01-01' + INTERVAL i * 10 SECOND AS start_time,
			CONCAT('order-', i) AS workflow_id, IF(i %% 100 = 99, NULL, (i * 7919) %% 3600) AS seconds FROM n)
		SELECT '%s', run_id, 1, start_time, start_time, workflow_id, CONCAT('type-', i %% 20),
			IF(i %% 100 = 99, 1, IF(i %% 25 = 7, 3, IF(i %% 50 = 11, 5, IF(i %% 50 = 13, 6, 2)))),
			start_time + INTERVAL seconds SECOND, 20 + seconds %% 30, 5000 + seconds %% 977, seconds * 1000000000, 10 + seconds %% 7, REPEAT('m', 80), 'Proto3', CONCAT('queue-', i %% 10),
			IF(i %% 500 = 250, '{"TemporalNamespaceDivision":"TemporalScheduler"}', IF(i %% 2, '{"BuildIds":["unversioned"]}', '{"BuildIds":["versioned:v1","v1"]}')), workflow_id, run_id
		FROM w ORDER BY run_id`, rows-1, visibilityNamespace),
		`INSERT INTO custom_search_attributes (namespace_id, run_id, search_attributes)
			SELECT namespace_id, run_id, IF(status = 2, '{"Keyword01":"a customer","Int01":7}', NULL) FROM executions_visibility`,
		`INSERT INTO chasm_search_attributes (namespace_id, run_id) SELECT namespace_id, run_id FROM executions_visibility`)
	for _, statement := range keyspace.Statements {
		words := strings.Fields(statement)
		if words[1] == "INDEX" && words[4] == "executions_visibility" && slices.Contains(visibilityIndexes, words[2]) {
			statements = append(statements, statement)
		}
	}
	statements = append(statements, "ANALYZE TABLE executions_visibility, custom_search_attributes, chasm_search_attributes")
	for _, statement := range statements {
		start := time.Now()
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.200s: %w", statement, err)
		}
		fmt.Fprintf(os.Stderr, "%.0f s: %.80s\n", time.Since(start).Seconds(), strings.Join(strings.Fields(statement), " "))
	}
	return nil
}

// measureQuery returns what a query of visibilityQueries finds, as text, how long it takes and by which plan.
func measureQuery(ctx context.Context, db *sql.DB, visibility store.VisibilityStore, index int) (found string, measured visibilityQuery, err error) {
	query := visibilityQueries[index]
	var token []byte
	for range query.page - 1 {
		response, err := visibility.ListWorkflowExecutions(ctx, listRequest(query.query, token))
		if err != nil {
			return "", measured, err
		}
		token = response.NextPageToken
	}
	ask := func() (any, error) {
		if query.list {
			response, err := visibility.ListWorkflowExecutions(ctx, listRequest(query.query, token))
			if err != nil {
				return nil, err
			}
			return response.Executions, nil
		}
		response, err := visibility.CountWorkflowExecutions(ctx, &manager.CountWorkflowExecutionsRequest{
			NamespaceID: visibilityNamespace, Namespace: "bench", Query: query.query,
		})
		if err != nil {
			return nil, err
		}
		counts := []string{fmt.Sprint(response.Count)}
		for _, group := range response.Groups {
			counts = append(counts, fmt.Sprint(group.GroupValues, group.Count))
		}
		slices.Sort(counts) // no order is asked for
		return counts, nil
	}
	var times []float64
	for range visibilityRuns {
		start := time.Now()
		answer, err := ask()
		if err != nil {
			return "", measured, err
		}
		times = append(times, milliseconds(time.Since(start)))
		text, err := json.Marshal(answer)
		if err != nil {
			return "", measured, err
		}
		found = string(text)
	}
	slices.Sort(times)
	measured.Milliseconds = times[len(times)/2]
	measured.Plan, err = planOf(ctx, db, func() error {
		_, err := ask()
		return err
	})
	return found, measured, err
}

func listRequest(query string, token []byte) *manager.ListWorkflowExecutionsRequestV2 {
	return &manager.ListWorkflowExecutionsRequestV2{NamespaceID: visibilityNamespace, Namespace: "bench", PageSize: visibilityPage, Query: query, NextPageToken: token}
}

// planOf returns MySQL's plan of the statement that a call sends.
func planOf(ctx context.Context, db *sql.DB, call func() error) (string, error) {
	for _, statement := range []string{"SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	err := call()
	if _, off := db.ExecContext(ctx, "SET GLOBAL general_log = OFF"); err != nil || off != nil {
		return "", errors.Join(err, off)
	}
	var statement string
	if err := db.QueryRowContext(ctx, `SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute') AND argument LIKE '%executions_visibility%' LIMIT 1`).Scan(&statement); err != nil {
		return "", fmt.Errorf("the statement in the general log: %w", err)
	}
	explained, err := db.QueryContext(ctx, "EXPLAIN FORMAT=TRADITIONAL "+statement)
	if err != nil {
		return "", err
	}
	defer explained.Close()
	var plan string
	tables := 0
	for ; explained.Next(); tables++ {
		var key, extra sql.NullString
		var other any
		if err := explained.Scan(&other, &other, &other, &other, &other, &other, &key, &other, &other, &other, &other, &extra); err != nil {
			return "", err
		}
		if tables > 0 {
			continue
		}
		plan = key.String
		for _, what := range []string{"Using index", "Using filesort", "Using temporary"} {
			if slices.Contains(strings.Split(extra.String, "; "), what) {
				plan += ", " + strings.ToLower(what)
			}
		}
	}
	if tables > 1 {
		plan += fmt.Sprintf("; %d tables", tables)
	}
	return plan, explained.Err()
}

func (r *visibilityResults) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Benchmark: lists and counts\n\nWritten by `go run ./integration/bench -visibility -out docs/benchmark`, in one run, on one machine: %s.\n\n", r.Machine)
	fmt.Fprintf(&out, "One namespace with %d workflows on one mysqld, without Vitess, all in its buffer pool; the median of %d runs. "+
		"`mysql8` is upstream's plugin, `vitess` this one, on the same tables; both found the same. Pages have %d workflows. "+
		"Of upstream's indexes there are %s: the others are on columns that are not asked for.\n\n",
		r.Rows, visibilityRuns, visibilityPage, strings.Join(visibilityIndexes, ", "))
	out.WriteString("| | `mysql8`: ms | `vitess`: ms | times as fast | plan of `mysql8` | plan of `vitess` |\n|---|---|---|---|---|---|\n")
	for _, t := range r.Timings {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", t.Query, number(t.By[0].Milliseconds), number(t.By[1].Milliseconds),
			number(t.By[0].Milliseconds/t.By[1].Milliseconds), t.By[0].Plan, t.By[1].Plan)
	}
	return out.String()
}
