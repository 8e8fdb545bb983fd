package workflows

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/common/dynamicconfig"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	vitessShards  = 2
	historyShards = 16
)

// Each visibility record is written to two stores, one of each VSchema profile. A namespace of this name is read from
// the store of that profile.
var profiles = vschema.Profiles()

var (
	// temporalServer is the server of all tests.
	temporalServer *server.Server
	// mysqld is below its Vitess, and reads all Vitess shards.
	mysqld *sql.DB
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	vitess, err := testbed.Start(ctx, vitessShards, nil)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, vitess.Stop()) }()

	network, address, user := vitess.MySQL()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = network, address, user
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return 1, err
	}
	mysqld = sql.OpenDB(connector)
	defer mysqld.Close()

	log := &defectLog{}
	defer func() { err = errors.Join(err, log.err()) }()
	temporalServer, err = server.Start(ctx, server.Config{
		Main:                vitess.MainConfig(),
		Visibility:          vitess.VisibilityConfig(vschema.ProfileNamespace),
		SecondaryVisibility: vitess.VisibilityConfig(vschema.ProfileSpread),
		HistoryShards:       historyShards,
		DynamicConfig:       dynamicConfig(),
		Log:                 log,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, temporalServer.Stop()) }()
	for _, profile := range profiles {
		if err := temporalServer.CreateNamespace(ctx, string(profile)); err != nil {
			return 1, err
		}
	}
	// Most of the tests wait most of the time.
	if err := flag.Set("test.parallel", "10"); err != nil {
		return 1, err
	}
	code = m.Run()
	return code, errors.Join(checkStatements(), vitess.CheckRoutes(context.Background()))
}

func dynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.EnableReadFromSecondaryVisibility.Key(): []dynamicconfig.ConstrainedValue{
			{Constraints: dynamicconfig.Constraints{Namespace: string(vschema.ProfileSpread)}, Value: true},
		},
		dynamicconfig.MatchingEnableFairness.Key(): []dynamicconfig.ConstrainedValue{
			{Constraints: dynamicconfig.Constraints{TaskQueueName: fairTaskQueue}, Value: true},
		},
		dynamicconfig.FrontendMaxConcurrentBatchOperationPerNamespace.Key(): 2,
		// A namespace's deletion waits for these.
		dynamicconfig.TransferProcessorUpdateAckInterval.Key():   time.Second,
		dynamicconfig.VisibilityProcessorUpdateAckInterval.Key(): time.Second,
		// The older way of worker versioning; the newer one is on by default.
		dynamicconfig.FrontendEnableWorkerVersioningDataAPIs.Key(): true,
	}
}

// checkStatements returns an error if the plugin met a statement that it cannot route.
func checkStatements() error {
	statements := temporalServer.Statements()
	if statements["single"] == 0 {
		return errors.New("the plugin counted no statement to one Vitess shard, so that its counters check nothing")
	}
	if unknown := statements["unknown"]; unknown > 0 {
		return fmt.Errorf("the plugin could not route %d statements; the server's log names them", unknown)
	}
	return nil
}

// dial returns a client of a namespace, closed at the end of the test.
func dial(t *testing.T, namespace string) client.Client {
	c, err := temporalServer.Dial(namespace)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// newTarget returns a task queue with a worker that has the workflows of all kinds, until the end of the test.
func newTarget(t *testing.T, namespace, taskQueue string) kinds.Target {
	target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: taskQueue}
	startKindsWorker(t, target)
	return target
}

func startKindsWorker(t *testing.T, target kinds.Target) {
	w := kinds.NewWorker(target)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

// startWorker starts a worker for workflows of a test's own, until its end.
func startWorker(t *testing.T, target kinds.Target, options worker.Options, register func(worker.Registry)) {
	w := worker.New(target.Client, target.TaskQueue, options)
	register(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

// forEachProfile runs a test in both namespaces.
func forEachProfile(t *testing.T, test func(t *testing.T, namespace string)) {
	for _, profile := range profiles {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			test(t, string(profile))
		})
	}
}

// eventually waits until a condition comes true, with [kinds.Patience] while what it reports changes.
func eventually(t *testing.T, condition func(*attempt)) {
	t.Helper()
	var patience kinds.Patience
	for {
		var a attempt
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			condition(&a)
		}()
		<-ended
		if a.reports == "" {
			return
		}
		if err := patience.Ends(a.reports); err != nil {
			require.FailNow(t, "The condition did not come true: "+err.Error(), a.reports)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			require.FailNow(t, "The test ended before the condition came true", a.reports)
		}
	}
}

// attempt collects why a condition is not true yet. FailNow ends the goroutine, which is the condition's own.
type attempt struct{ reports string }

// Errorf implements assert.TestingT.
func (a *attempt) Errorf(format string, arguments ...any) {
	a.reports += fmt.Sprintf(format, arguments...)
}

// FailNow implements require.TestingT.
func (a *attempt) FailNow() { runtime.Goexit() }
