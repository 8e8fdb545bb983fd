package persistence

import (
	"context"
	"flag"
	"fmt"
	"go/build"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stretchr/testify/suite"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence"
	persistencetests "go.temporal.io/server/common/persistence/persistence-tests"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqltests "go.temporal.io/server/common/persistence/sql/sqlplugin/tests"
	"go.temporal.io/server/common/persistence/tests"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const clusterName = "active"

// stock makes TestUpstream run upstream's suites through upstream's own plugin instead: on MySQL, for which it is made,
// and on 2 Vitess shards, where it fails. The README has the counts.
var stock = flag.Bool("stock", false, "run upstream's suites through upstream's plugin")

// TestUpstream runs upstream's suites through the plugin, on each number of Vitess shards and on MySQL without Vitess.
// The suites use the name of the test: where it has "mysql" in it they expect MySQL's row counts, and it becomes part of
// queue names, for which there is little room.
func TestUpstream(t *testing.T) {
	if *stock {
		sharded := onVitessWithStock(t, bed(t, 2))
		sharded.main.DatabaseName = "@primary" // vtgate finds a table in whatever keyspace has it
		sharded.visibility.PluginName, sharded.visibility.ConnectAttributes = sharded.main.PluginName, sharded.main.ConnectAttributes
		for name, db := range map[string]*database{"mysql alone": onPlainMySQL(t, bed(t, 2)), "mysql vitess 2": sharded} {
			t.Run(name, func(t *testing.T) {
				for _, upstream := range upstreamSuites {
					upstream.runOn(t, db)
				}
			})
		}
		return
	}
	for _, vitessShards := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("mysql vitess %d", vitessShards), func(t *testing.T) {
			t.Parallel()
			db := onVitess(t, bed(t, vitessShards))
			for _, upstream := range upstreamSuites {
				upstream.runOn(t, db)
			}
			db.visibility = bed(t, vitessShards).VisibilityConfig(vschema.ProfileSpread)
			t.Run("spread visibility", func(t *testing.T) {
				for _, upstream := range upstreamSuites {
					if strings.HasPrefix(upstream.name, "Visibility") {
						upstream.runOn(t, db)
					}
				}
			})
		})
	}
	t.Run("mysql alone", func(t *testing.T) {
		t.Parallel()
		db := onUnshardedMySQL(t, bed(t, 1))
		for _, upstream := range upstreamSuites {
			upstream.runOn(t, db)
		}
	})
}

// TestUpstreamOff runs upstream's suites through the plugin with all off that can be.
func TestUpstreamOff(t *testing.T) {
	t.Run("mysql", func(t *testing.T) {
		db := onVitess(t, bed(t, 2)).withEverythingOff()
		for _, upstream := range upstreamSuites {
			upstream.runOn(t, db)
		}
	})
}

// TestUpstreamSuitesAreComplete finds suites that a new Temporal release brings.
func TestUpstreamSuitesAreComplete(t *testing.T) {
	folder, err := build.Import("go.temporal.io/server/common/persistence/tests", ".", build.FindOnly)
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(folder.Dir, "mysql_test.go"))
	require.NoError(t, err)
	var theirs, ours []string
	for _, match := range regexp.MustCompile(`(?m)^func TestMySQL(\w+)`).FindAllSubmatch(source, -1) {
		theirs = append(theirs, string(match[1]))
	}
	for _, upstream := range upstreamSuites {
		ours = append(ours, upstream.name)
	}
	require.ElementsMatch(t, theirs, ours, "upstream's tests on MySQL in %s, and upstreamSuites", folder.Dir)
}

type upstreamSuite struct {
	name string
	run  func(*testing.T, *database)
}

// runOn runs a suite on an empty database.
func (u upstreamSuite) runOn(t *testing.T, db *database) {
	t.Run(u.name, func(t *testing.T) {
		db.clear(t)
		u.run(t, db)
	})
}

// upstreamSuites has a row for each test that upstream runs on MySQL, by its name without TestMySQL
// (common/persistence/tests/mysql_test.go).
var upstreamSuites = []upstreamSuite{
	// common/persistence/tests: the stores
	{"ShardStoreSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewShardSuite(t, shardStore(t, db), serialization.NewSerializer(), log.NewTestLogger()))
	}},
	{"ExecutionMutableStateStoreSuite", func(t *testing.T, db *database) {
		s := tests.NewExecutionMutableStateSuite(t, shardStore(t, db), executionStore(t, db), serialization.NewSerializer(), log.NewTestLogger())
		s.MutableStateTableCounts = mutableStateTableCounts(db.open(t, sqlplugin.DbKindMain))
		suite.Run(t, s)
	}},
	{"ExecutionMutableStateTaskStoreSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewExecutionMutableStateTaskSuite(t, shardStore(t, db), executionStore(t, db), serialization.NewSerializer(), log.NewTestLogger()))
	}},
	{"HistoryStoreSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewHistoryEventsSuite(t, executionStore(t, db), log.NewTestLogger()))
	}},
	{"TaskQueueSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewTaskQueueSuite(t, taskStore(t, db), log.NewTestLogger()))
	}},
	{"FairTaskQueueSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewTaskQueueSuite(t, fairTaskStore(t, db), log.NewTestLogger()))
	}},
	{"TaskQueueTaskSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewTaskQueueTaskSuite(t, taskStore(t, db), log.NewTestLogger()))
	}},
	{"TaskQueueFairTaskSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewTaskQueueFairTaskSuite(t, fairTaskStore(t, db), log.NewTestLogger()))
	}},
	{"TaskQueueUserDataSuite", func(t *testing.T, db *database) {
		suite.Run(t, tests.NewTaskQueueUserDataSuite(t, taskStore(t, db), log.NewTestLogger()))
	}},
	{"VisibilityPersistenceSuite", func(t *testing.T, db *database) {
		suite.Run(t, &tests.VisibilityPersistenceSuite{TestBase: testBase(db)})
	}},
	{"ClosedConnectionError", closedConnection},
	{"QueueV2", func(t *testing.T, db *database) {
		tests.RunQueueV2TestSuiteForSQL(t, db.factory(t))
	}},
	{"NexusEndpointPersistence", func(t *testing.T, db *database) {
		tests.RunNexusEndpointTestSuiteForSQL(t, db.factory(t))
	}},

	// common/persistence/persistence-tests: the managers
	{"HistoryV2PersistenceSuite", func(t *testing.T, db *database) {
		// A server writes its metadata when it starts; listing history branches needs the number of history shards.
		writeClusterMetadata(t, db, 10)
		s := &persistencetests.HistoryV2PersistenceSuite{TestBase: testBase(db)}
		s.Setup(nil)
		suite.Run(t, s)
	}},
	{"MetadataPersistenceSuiteV2", func(t *testing.T, db *database) {
		s := &metadataSuite{MetadataPersistenceSuiteV2: &persistencetests.MetadataPersistenceSuiteV2{TestBase: testBase(db)}}
		s.Setup(nil)
		suite.Run(t, s)
	}},
	{"QueuePersistence", func(t *testing.T, db *database) {
		s := &persistencetests.QueuePersistenceSuite{TestBase: testBase(db)}
		s.Setup(nil)
		suite.Run(t, s)
	}},
	{"ClusterMetadataPersistence", func(t *testing.T, db *database) {
		s := &persistencetests.ClusterMetadataManagerSuite{TestBase: testBase(db)}
		s.Setup(nil)
		suite.Run(t, s)
	}},

	// common/persistence/sql/sqlplugin/tests: the rows
	{"NamespaceSuite", onMain(sqltests.NewNamespaceSuite)},
	{"QueueMessageSuite", onMain(sqltests.NewQueueMessageSuite)},
	{"QueueMetadataSuite", onMain(sqltests.NewQueueMetadataSuite)},
	{"MatchingTaskSuite", onMain(sqltests.NewMatchingTaskSuite)},
	{"MatchingTaskV2Suite", onMain(sqltests.NewMatchingTaskV2Suite)},
	{"MatchingTaskQueueSuite", func(t *testing.T, db *database) {
		suite.Run(t, sqltests.NewMatchingTaskQueueSuite(t, db.open(t, sqlplugin.DbKindMain), sqlplugin.MatchingTaskVersion1))
	}},
	{"MatchingFairTaskQueueSuite", func(t *testing.T, db *database) {
		suite.Run(t, sqltests.NewMatchingTaskQueueSuite(t, db.open(t, sqlplugin.DbKindMain), sqlplugin.MatchingTaskVersion2))
	}},
	{"HistoryShardSuite", onMain(sqltests.NewHistoryShardSuite)},
	{"HistoryNodeSuite", onMain(sqltests.NewHistoryNodeSuite)},
	{"HistoryTreeSuite", onMain(sqltests.NewHistoryTreeSuite)},
	{"HistoryCurrentExecutionSuite", func(t *testing.T, db *database) {
		suite.Run(t, sqltests.NewHistoryCurrentExecutionSuite(t, db.open(t, sqlplugin.DbKindMain), chasm.WorkflowArchetypeID))
	}},
	{"HistoryCurrentChasmExecutionSuite", func(t *testing.T, db *database) {
		suite.Run(t, sqltests.NewHistoryCurrentExecutionSuite(t, db.open(t, sqlplugin.DbKindMain), math.MaxUint32))
	}},
	{"HistoryExecutionSuite", onMain(sqltests.NewHistoryExecutionSuite)},
	{"HistoryTransferTaskSuite", onMain(sqltests.NewHistoryTransferTaskSuite)},
	{"HistoryTimerTaskSuite", onMain(sqltests.NewHistoryTimerTaskSuite)},
	{"HistoryReplicationTaskSuite", onMain(sqltests.NewHistoryReplicationTaskSuite)},
	{"HistoryVisibilityTaskSuite", onMain(sqltests.NewHistoryVisibilityTaskSuite)},
	{"HistoryReplicationDLQTaskSuite", onMain(sqltests.NewHistoryReplicationDLQTaskSuite)},
	{"HistoryExecutionBufferSuite", onMain(sqltests.NewHistoryExecutionBufferSuite)},
	{"HistoryExecutionActivitySuite", onMain(sqltests.NewHistoryExecutionActivitySuite)},
	{"HistoryExecutionChildWorkflowSuite", onMain(sqltests.NewHistoryExecutionChildWorkflowSuite)},
	{"HistoryExecutionTimerSuite", onMain(sqltests.NewHistoryExecutionTimerSuite)},
	{"HistoryExecutionChasmSuite", onMain(sqltests.NewHistoryExecutionChasmSuite)},
	{"HistoryExecutionRequestCancelSuite", onMain(sqltests.NewHistoryExecutionRequestCancelSuite)},
	{"HistoryExecutionSignalSuite", onMain(sqltests.NewHistoryExecutionSignalSuite)},
	{"HistoryExecutionSignalRequestSuite", onMain(sqltests.NewHistoryExecutionSignalRequestSuite)},
	{"VisibilitySuite", func(t *testing.T, db *database) {
		suite.Run(t, sqltests.NewVisibilitySuite(t, db.open(t, sqlplugin.DbKindVisibility)))
	}},
}

// onMain runs a suite of a main store's rows. Store is the part of sqlplugin.DB that the suite takes.
func onMain[Store any, Suite suite.TestingSuite](newSuite func(*testing.T, Store) Suite) func(*testing.T, *database) {
	return func(t *testing.T, db *database) {
		suite.Run(t, newSuite(t, db.open(t, sqlplugin.DbKindMain).(Store)))
	}
}

func shardStore(t *testing.T, db *database) persistence.ShardStore {
	store, err := db.factory(t).NewShardStore()
	require.NoError(t, err)
	return store
}

func executionStore(t *testing.T, db *database) persistence.ExecutionStore {
	store, err := db.factory(t).NewExecutionStore()
	require.NoError(t, err)
	return store
}

func taskStore(t *testing.T, db *database) persistence.TaskStore {
	store, err := db.factory(t).NewTaskStore()
	require.NoError(t, err)
	return store
}

func fairTaskStore(t *testing.T, db *database) persistence.TaskStore {
	store, err := db.factory(t).NewFairTaskStore()
	require.NoError(t, err)
	return store
}

// closedConnection is upstream's connectionSuite, which is not exported.
func closedConnection(t *testing.T, db *database) {
	store := shardStore(t, db)
	store.Close()
	manager := persistence.NewShardManager(store, serialization.NewSerializer())
	response, err := manager.GetOrCreateShard(t.Context(), &persistence.GetOrCreateShardRequest{
		ShardID:          1,
		InitialShardInfo: &persistencespb.ShardInfo{ShardId: 1, RangeId: 1},
	})
	require.Nil(t, response)
	require.ErrorContains(t, err, sqlplugin.DatabaseUnavailableError.Error())
}

// mutableStateTableCounts is upstream's sqlMutableStateTableCounts, which is not exported: the number of rows of a
// workflow in each table.
func mutableStateTableCounts(db sqlplugin.DB) func(context.Context, int32, string, string, string) (map[string]int, error) {
	return func(ctx context.Context, historyShard int32, namespaceID, workflowID, runID string) (map[string]int, error) {
		filter := sqlplugin.ActivityInfoMapsAllFilter{
			ShardID: historyShard, NamespaceID: primitives.MustParseUUID(namespaceID), WorkflowID: workflowID, RunID: primitives.MustParseUUID(runID),
		}
		counts := map[string]int{}
		var err error
		if counts["activity_info_maps"], err = count(db.SelectAllFromActivityInfoMaps(ctx, filter)); err != nil {
			return nil, err
		}
		if counts["timer_info_maps"], err = count(db.SelectAllFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsAllFilter(filter))); err != nil {
			return nil, err
		}
		if counts["child_execution_info_maps"], err = count(db.SelectAllFromChildExecutionInfoMaps(ctx, sqlplugin.ChildExecutionInfoMapsAllFilter(filter))); err != nil {
			return nil, err
		}
		if counts["request_cancel_info_maps"], err = count(db.SelectAllFromRequestCancelInfoMaps(ctx, sqlplugin.RequestCancelInfoMapsAllFilter(filter))); err != nil {
			return nil, err
		}
		if counts["signal_info_maps"], err = count(db.SelectAllFromSignalInfoMaps(ctx, sqlplugin.SignalInfoMapsAllFilter(filter))); err != nil {
			return nil, err
		}
		if counts["signals_requested_sets"], err = count(db.SelectAllFromSignalsRequestedSets(ctx, sqlplugin.SignalsRequestedSetsAllFilter(filter))); err != nil {
			return nil, err
		}
		if counts["buffered_events"], err = count(db.SelectFromBufferedEvents(ctx, sqlplugin.BufferedEventsFilter(filter))); err != nil {
			return nil, err
		}
		if counts["chasm_node_maps"], err = count(db.SelectAllFromChasmNodeMaps(ctx, sqlplugin.ChasmNodeMapsAllFilter(filter))); err != nil {
			return nil, err
		}
		return counts, nil
	}
}

func count[Row any](rows []Row, err error) (int, error) { return len(rows), err }

// writeClusterMetadata writes what a Temporal server writes at its first start.
func writeClusterMetadata(t *testing.T, db *database, historyShards int32) {
	t.Helper()
	store, err := db.factory(t).NewClusterMetadataStore()
	require.NoError(t, err)
	manager := persistence.NewClusterMetadataManagerImpl(store, serialization.NewSerializer(), clusterName, log.NewNoopLogger())
	applied, err := manager.SaveClusterMetadata(t.Context(), &persistence.SaveClusterMetadataRequest{
		ClusterMetadata: &persistencespb.ClusterMetadata{ClusterName: clusterName, HistoryShardCount: historyShards},
	})
	require.NoError(t, err)
	require.True(t, applied)
}

// testBase is what upstream's suites of managers stand on.
func testBase(db *database) *persistencetests.TestBase {
	return persistencetests.NewTestBaseForCluster(existing{db}, log.NewTestLogger())
}

// existing is a test cluster of upstream's that is there already and stays.
type existing struct{ *database }

var _ persistencetests.PersistenceTestCluster = existing{}

func (existing) SetupTestDatabase() {}

func (existing) TearDownTestDatabase() {}

func (e existing) Config() config.Persistence {
	return config.Persistence{
		DefaultStore:         "main",
		VisibilityStore:      "visibility",
		DataStores:           map[string]config.DataStore{"main": {SQL: e.main}, "visibility": {SQL: e.visibility}},
		TransactionSizeLimit: dynamicconfig.GetIntPropertyFn(primitives.DefaultTransactionSizeLimit),
	}
}

// metadataSuite runs MetadataPersistenceSuiteV2, some of whose tests ask for the type of the test cluster: all but
// upstream's own for SQL are taken for Cassandra.
type metadataSuite struct {
	*persistencetests.MetadataPersistenceSuiteV2
}

func (s *metadataSuite) SetupSuite() {
	s.MetadataPersistenceSuiteV2.SetupSuite()
	s.DefaultTestCluster = &persistencesql.TestCluster{}
}

func (s *metadataSuite) TearDownSuite() {
	s.DefaultTestCluster = existing{} // nothing to tear down; upstream's would connect
	s.MetadataPersistenceSuiteV2.TearDownSuite()
}
