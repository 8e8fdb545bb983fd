package rehash

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/common/config"
	upstreammysql "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

const (
	startTimeout = 5 * time.Minute
	// What a test waits for takes seconds.
	waitTimeout = time.Minute
	waitTick    = 10 * time.Millisecond

	// asTool makes this binary the tool, for a test that kills it.
	asTool = "TEMPORAL_VITESS_TEST_AS_TOOL"
)

// place is where a cluster has its tasks.
type place struct {
	name string
	// plugin and upstream reach the main store, each through its plugin.
	plugin, upstream *config.SQL
	// databases are those of the mysqld below which have the tasks, and members the table there in which servers register.
	databases []string
	members   string
}

var (
	mysqld                               *sql.DB
	sharded, unsharded, plain, workflows place
	model                                place // without Vitess, for upstream's plugin
)

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		if err := command.New().Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if cfg := os.Getenv(asMatchingHost); cfg != "" {
		if err := runMatchingHost(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	worker.SetStickyWorkflowCacheSize(0) // all tasks of a workflow go through its task queue
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// run starts one cluster with all places and runs the tests.
func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	keyspaces, err := testbed.Keyspaces("", 2)
	if err != nil {
		return 0, err
	}
	tables, err := testbed.AllTables()
	if err != nil {
		return 0, err
	}
	running, err := cluster.Start(ctx, cluster.Config{Keyspaces: append(keyspaces, cluster.Keyspace{Name: "single", Shards: 1, DDL: tables})})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	for _, database := range []string{"plain", "model"} {
		if err := running.CreateDatabase(ctx, database, tables); err != nil {
			return 0, err
		}
	}
	bed, err := testbed.On(running, "")
	if err != nil {
		return 0, err
	}
	// A server runs on this one.
	if _, err := bed.PlainConfig(ctx, "workflows"); err != nil {
		return 0, err
	}

	network, address, user := running.MySQL()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.InterpolateParams, cfg.ParseTime = network, address, user, true, true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return 0, err
	}
	mysqld = sql.OpenDB(connector)
	defer mysqld.Close()

	sharded = newPlace("a sharded keyspace", running.VTGateAddr(), "root", testbed.Main, testbed.Global, "vt_temporal_global_0", "vt_temporal_-80", "vt_temporal_80-")
	unsharded = newPlace("an unsharded keyspace", running.VTGateAddr(), "root", "single", "single", "vt_single_0", "vt_single_0")
	workflows = newPlace("a Temporal server's", address, user, "workflows", "workflows", "workflows", "workflows")
	plain = newPlace("MySQL without Vitess", address, user, "plain", "plain", "plain", "plain")
	model = newPlace("the model's", address, user, "model", "model", "model", "model")
	return m.Run(), nil
}

func newPlace(name, address, user, keyspace, global, membersIn string, databases ...string) place {
	through := func(pluginName string, attributes map[string]string) *config.SQL {
		return &config.SQL{
			PluginName: pluginName, ConnectAddr: address, ConnectProtocol: "tcp", User: user, DatabaseName: keyspace, ConnectAttributes: attributes,
		}
	}
	return place{
		name:      name,
		plugin:    through(plugin.Name, map[string]string{"vitess_global_keyspace": global, "vitess_unknown_statements": "reject"}),
		upstream:  through(upstreammysql.PluginName, nil),
		databases: databases,
		members:   "`" + membersIn + "`.cluster_membership",
	}
}

func places() []place { return []place{sharded, unsharded, plain} }

// single reports whether all tasks are in one database.
func (p place) single() bool { return len(p.databases) == 1 }

// with configures the main store through the plugin, with more options.
func (p place) with(options map[string]string) *config.SQL {
	cfg := *p.plugin
	cfg.ConnectAttributes = maps.Clone(cfg.ConnectAttributes)
	maps.Copy(cfg.ConnectAttributes, options)
	return &cfg
}

// arguments are those of the tool. It does not watch for heartbeats for long, as the tests know which servers run.
func (p place) arguments(more ...string) []string {
	host, port, _ := net.SplitHostPort(p.plugin.ConnectAddr)
	return append([]string{
		"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", p.plugin.User, "--keyspace", p.plugin.DatabaseName, "rehash-task-queues",
		"--watch", "1ms",
	}, more...)
}

// rehash runs the tool in this process and returns what it prints.
func (p place) rehash(t *testing.T, more ...string) (string, error) {
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	err := app.RunContext(t.Context(), p.arguments(more...))
	return out.String(), err
}

// requireRehashed runs the tool and requires that it has moved as many tasks.
func (p place) requireRehashed(t *testing.T, moved int) {
	t.Helper()
	out, err := p.rehash(t)
	require.NoError(t, err)
	require.Contains(t, out, fmt.Sprintf("%d tasks moved; all tasks are where the plugin reads them", moved))
}

// clear empties the tables.
func (p place) clear(t *testing.T) {
	t.Helper()
	for _, database := range p.databases {
		for _, table := range []string{"tasks", "tasks_v2", "task_queues", "task_queues_v2"} {
			exec(t, "DELETE FROM `"+database+"`."+table)
		}
	}
}

func exec(t *testing.T, statement string) {
	t.Helper()
	_, err := mysqld.ExecContext(context.Background(), statement) // also in a test's cleanup
	require.NoError(t, err)
}

// rows returns all tasks of a table as text, as often as they are there.
func (p place) rows(t *testing.T, table string) map[string]int {
	t.Helper()
	key := map[string]string{"tasks": "0, task_id", "tasks_v2": "pass, task_id"}[table]
	var selects []string
	for _, database := range p.databases {
		selects = append(selects, "SELECT HEX(task_queue_id), "+key+" FROM `"+database+"`."+table)
	}
	result, err := mysqld.QueryContext(t.Context(), strings.Join(selects, " UNION ALL "))
	require.NoError(t, err)
	defer result.Close()
	rows := map[string]int{}
	for result.Next() {
		var (
			queue    string
			pass, id int64
		)
		require.NoError(t, result.Scan(&queue, &pass, &id))
		rows[fmt.Sprintf("%s %d %d", queue, pass, id)]++
	}
	require.NoError(t, result.Err())
	return rows
}

// only returns where the tasks of a table are if all are of one subqueue.
func (p place) only(t *testing.T, table string) (taskQueueID []byte, rangeHash uint32) {
	t.Helper()
	var selects []string
	for _, database := range p.databases {
		selects = append(selects, "SELECT task_queue_id, range_hash FROM `"+database+"`."+table)
	}
	require.NoError(t, mysqld.QueryRowContext(t.Context(), strings.Join(selects, " UNION ")).Scan(&taskQueueID, &rangeHash))
	return taskQueueID, rangeHash
}

// database returns which of at most two has the rows of a range hash: the VSchema's reverse_bits puts its last bit first.
func (p place) database(rangeHash uint32) string {
	return p.databases[rangeHash%uint32(len(p.databases))]
}

// misplaced counts the rows of both tables that are at another place than the plugin's.
func (p place) misplaced(t *testing.T) int {
	t.Helper()
	out, err := p.rehash(t, "--dry-run")
	require.NoError(t, err)
	total := 0
	for line := range strings.Lines(out) {
		var (
			table           string
			rows, subqueues int
		)
		if n, _ := fmt.Sscanf(line, "%s %d tasks of %d subqueues to move", &table, &rows, &subqueues); n == 3 {
			total += rows
		}
	}
	return total
}
