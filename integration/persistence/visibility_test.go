package persistence

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/namespace"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/visibility/manager"
	"go.temporal.io/server/common/persistence/visibility/store"
	visibilitysql "go.temporal.io/server/common/persistence/visibility/store/sql"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// searchAttributes of the workflows in TestSearchAttributes: one workflow for each. No list is empty: MySQL, with Vitess
// or without, loses such rows where it reads a multi-valued index by its prefix, as it may do in small tables.
var searchAttributes = []map[string]any{
	nil,
	{"Bool01": true, "Int01": int64(1), "Double01": 0.1, "Keyword01": "it's", "Text01": "the quick brown fox", "KeywordList01": []string{"a", "b"}, "Datetime01": epoch},
	{"Bool01": false, "Int01": int64(2), "Double01": -1.5, "Keyword01": "what?", "Text01": "jumps over? the lazy dog", "KeywordList01": []string{"what?"}, "Datetime01": epoch.Add(time.Hour)},
	{"Bool01": true, "Int01": int64(-3), "Double01": 2.25, "Keyword01": `back\slash`, "Text01": `a back\slash's tale`, "KeywordList01": []string{`c:\`, "it's"}, "Datetime01": epoch.Add(-time.Hour)},
	{"Int01": int64(1) << 53, "Double01": 12345678.12345, "Keyword01": "100%", "KeywordList01": []string{"100%", "日本"}},
	{"Bool01": false, "Keyword01": "日本", "Text01": "日本語 の テキスト", "Datetime01": epoch.Add(123456 * time.Microsecond)},
	{"Keyword01": `say "hi"`, "Text01": `he said "hi"`, "Int01": int64(5)},
	{"Keyword01": "Case", "Keyword02": "x", "Int01": int64(5), "Int02": int64(0)},
	{"Keyword01": "case", "Keyword02": "y", "Int01": int64(7)},
	{"Keyword01": "under_score", "Keyword02": "", "Double01": 0.0, "Int02": int64(-1)},
	{"Keyword01": "underXscore", "Bool02": true, "Datetime02": epoch},
	{"Keyword01": ":v1 :name", "Text01": "? ?? ???", "KeywordList01": []string{"?", ":v1"}},
	{"TemporalNamespaceDivision": "a division", "Keyword01": "it's"},
	{"TemporalNamespaceDivision": "a division", "Int01": int64(5)},
	{"TemporalNamespaceDivision": "a division"},
}

// listQueries find some of the workflows and not all, but for the first.
var listQueries = []string{
	``,
	`Bool01 = true`,
	`Bool01 = false`,
	`Bool01 != true`,
	`Bool01 IS NULL`,
	`Int01 = 5`,
	`Int01 != 5`,
	`Int01 = -3`,
	`Int01 > 1 AND Int01 <= 7`,
	`Int01 BETWEEN 1 AND 5`,
	`Int01 NOT BETWEEN 1 AND 5`,
	`Int01 IN (1, 2, 9007199254740992)`,
	`Int01 NOT IN (1, 2)`,
	`Int01 IS NOT NULL AND Int02 IS NULL`,
	`Double01 = 0.1`,
	`Double01 >= 2.25`,
	`Double01 BETWEEN -1.5 AND 0.1`,
	`Datetime01 = "2026-01-01T00:00:00Z"`,
	`Datetime01 >= "2026-01-01T02:00:00+02:00"`,
	`Datetime01 BETWEEN "2026-01-01T00:00:00Z" AND "2026-01-01T00:30:00Z"`,
	`Datetime01 < "2026-01-01T00:00:00Z" OR Datetime02 IS NOT NULL`,
	`Keyword01 = "it's"`,
	`Keyword01 = 'it\'s'`,
	`Keyword01 = "what?"`,
	`Keyword01 != "what?"`,
	`Keyword01 = "back\\slash"`,
	`Keyword01 = 'say "hi"'`,
	`Keyword01 = "100%"`,
	`Keyword01 = "日本"`,
	`Keyword01 = ":v1 :name"`,
	`Keyword01 = "CASE"`,
	`Keyword02 = ""`,
	`Keyword01 IN ("what?", "it's", "none")`,
	`Keyword01 NOT IN ("what?", "it's")`,
	`Keyword01 STARTS_WITH "wh"`,
	`Keyword01 STARTS_WITH "what?"`,
	`Keyword01 STARTS_WITH "100%"`,
	`Keyword01 STARTS_WITH "under_"`,
	`Keyword01 STARTS_WITH "日"`,
	`Keyword01 NOT STARTS_WITH "under"`,
	`Keyword01 > "a" AND Keyword01 < "m"`,
	`Text01 = "quick"`,
	`Text01 = "lazy fox"`,
	`Text01 != "quick"`,
	`Text01 = "over?"`,
	`KeywordList01 = "a"`,
	`KeywordList01 != "a"`,
	`KeywordList01 = "what?"`,
	`KeywordList01 = "it's"`,
	`KeywordList01 = "c:\\"`,
	`KeywordList01 IN ("b", "日本")`,
	`KeywordList01 NOT IN ("a", "?")`,
	`KeywordList01 IS NULL`,
	`Int01 = 1 OR Keyword01 = "what?"`,
	`(Int01 = 5 OR Bool01 = true) AND NOT Double01 > 2`,
	`NOT (Bool01 = true OR Keyword01 = "what?")`,
	`Keyword01 = "what?" OR KeywordList01 = "what?" OR Text01 = "lazy"`,
	`WorkflowId = "workflow 3"`,
	`WorkflowType = "type 1"`,
	`TaskQueue = "queue?"`,
	`ExecutionStatus = "Running"`,
	`ExecutionStatus = "Failed" AND WorkflowType = "type 2"`,
	`TemporalNamespaceDivision = "a division"`,
	`TemporalNamespaceDivision = "a division" AND ExecutionStatus = "Completed"`,
	`TemporalNamespaceDivision IS NOT NULL AND Int01 = 5`,
	`TemporalNamespaceDivision = "a division" OR TemporalNamespaceDivision IS NULL`,
	`WorkflowId STARTS_WITH "workflow 1" AND Int01 IS NULL`,
	`WorkflowType IN ("type 0", "type 1") AND Bool01 = true`,
	`ExecutionStatus = "Completed" AND Keyword01 IS NOT NULL`,
	`ExecutionStatus IN ("Running", "Failed")`,
	`CloseTime IS NULL AND Int01 >= 5`,
	`CloseTime > "2026-01-01T00:00:00Z"`,
	`StartTime BETWEEN "2026-01-01T00:02:00Z" AND "2026-01-01T00:07:00Z"`,
	`ExecutionDuration > "90s"`,
	`HistoryLength > 3 AND TaskQueue = "queue?"`,
}

var groupQueries = []string{
	`GROUP BY ExecutionStatus`,
	`Int01 IS NOT NULL GROUP BY ExecutionStatus`,
	`Keyword01 = "what?" OR Bool01 = true GROUP BY ExecutionStatus`,
	`Keyword01 = "none" GROUP BY ExecutionStatus`,
	`WorkflowType = "type 1" GROUP BY ExecutionStatus`,
	`TemporalNamespaceDivision = "a division" GROUP BY ExecutionStatus`,
	`GROUP BY TemporalNamespaceDivision`,
}

// TestSearchAttributes writes the same workflows with both profiles and to a plain MySQL through upstream's plugin, and
// asks all of them the same, with both of upstream's query converters (system.visibilityEnableUnifiedQueryConverter), and with
// upstream's own statements.
func TestSearchAttributes(t *testing.T) {
	running := bed(t, 4)
	db := onVitess(t, running)
	db.clear(t)
	plain := onPlainMySQL(t, running).visibility
	byProfile := map[string]*config.SQL{}
	for _, profile := range vschema.Profiles() {
		cfg, untuned := running.VisibilityConfig(profile), running.VisibilityConfig(profile)
		untuned.ConnectAttributes["vitess_visibility_queries"] = "upstream"
		byProfile[string(profile)], byProfile[string(profile)+", upstream's statements"] = cfg, untuned
	}
	namespaceID := namespace.ID(uuid.NewString())
	runIDs := make([]string, len(searchAttributes))
	for i := range runIDs {
		runIDs[i] = uuid.NewString()
	}
	for _, cfg := range []*config.SQL{plain, byProfile[string(vschema.ProfileNamespace)], byProfile[string(vschema.ProfileSpread)]} {
		writeWorkflows(t, openVisibility(t, cfg, true), namespaceID, runIDs)
	}

	for _, unified := range []bool{true, false} {
		listed := map[string]string{}
		counted := map[string]string{}
		theirs := openVisibility(t, plain, unified)
		for _, query := range listQueries {
			listed[query] = list(t, theirs, namespaceID, query, 100)
			assert.NotEmpty(t, listed[query], "%s finds nothing, so that it compares nothing", query)
		}
		for _, query := range slices.Concat(listQueries, groupQueries) {
			counted[query] = countWorkflows(t, theirs, namespaceID, query)
		}
		for profile, cfg := range byProfile {
			t.Run(fmt.Sprintf("%s, unified query converter %v", profile, unified), func(t *testing.T) {
				ours := openVisibility(t, cfg, unified)
				for query, want := range listed {
					assert.Equal(t, want, list(t, ours, namespaceID, query, 2), query)
					assert.Equal(t, want, list(t, ours, namespaceID, query, 100), query)
				}
				for query, want := range counted {
					assert.Equal(t, want, countWorkflows(t, ours, namespaceID, query), query)
				}
			})
		}
	}
}

// openVisibility opens upstream's visibility store, with one of its two query converters.
func openVisibility(t *testing.T, cfg *config.SQL, unified bool) *visibilitysql.VisibilityStore {
	opened, err := visibilitysql.NewSQLVisibilityStore(*cfg, resolver.NewNoopResolver(),
		searchattribute.NewTestProvider(), searchattribute.NewTestMapperProvider(nil), chasm.NewRegistry(log.NewNoopLogger()),
		dynamicconfig.GetBoolPropertyFn(unified), log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	require.NoError(t, err)
	t.Cleanup(opened.Close)
	return opened
}

// writeWorkflows starts a workflow for each of searchAttributes, sets its attributes, closes two of three, and writes the
// same in another namespace.
func writeWorkflows(t *testing.T, visibility store.VisibilityStore, namespaceID namespace.ID, runIDs []string) {
	typeMap := searchattribute.TestNameTypeMap()
	for _, namespaceID := range []string{namespaceID.String(), uuid.NewString()} {
		for i, attributes := range searchAttributes {
			encoded, err := searchattribute.Encode(attributes, &typeMap)
			require.NoError(t, err)
			start := epoch.Add(time.Duration(i) * time.Minute)
			base := store.InternalVisibilityRequestBase{
				NamespaceID: namespaceID, WorkflowID: fmt.Sprintf("workflow %d", i), RunID: runIDs[i],
				WorkflowTypeName: fmt.Sprintf("type %d", i%3), StartTime: start, ExecutionTime: start,
				Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, TaskID: 1, TaskQueue: "queue?", Memo: blob("memo"),
			}
			require.NoError(t, visibility.RecordWorkflowExecutionStarted(t.Context(), &store.InternalRecordWorkflowExecutionStartedRequest{InternalVisibilityRequestBase: &base}))
			base.TaskID++
			base.SearchAttributes = encoded
			require.NoError(t, visibility.UpsertWorkflowExecution(t.Context(), &store.InternalUpsertWorkflowExecutionRequest{InternalVisibilityRequestBase: &base}))
			if i%3 == 0 {
				continue
			}
			base.TaskID++
			base.Status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
			if i%3 == 2 {
				base.Status = enumspb.WORKFLOW_EXECUTION_STATUS_FAILED
			}
			duration := time.Duration(i) * 20 * time.Second
			require.NoError(t, visibility.RecordWorkflowExecutionClosed(t.Context(), &store.InternalRecordWorkflowExecutionClosedRequest{
				InternalVisibilityRequestBase: &base, CloseTime: start.Add(duration), ExecutionDuration: duration,
				HistoryLength: int64(i), HistorySizeBytes: 100, StateTransitionCount: 3,
			}))
		}
	}
}

// list returns all that a query finds, in its order, as text, a line for each execution.
func list(t *testing.T, visibility store.VisibilityStore, namespaceID namespace.ID, query string, pageSize int) string {
	t.Helper()
	var found strings.Builder
	request := &manager.ListWorkflowExecutionsRequestV2{NamespaceID: namespaceID, Namespace: "test-namespace", Query: query, PageSize: pageSize}
	for range 2 * len(searchAttributes) { // more pages than there can be
		response, err := visibility.ListWorkflowExecutions(t.Context(), request)
		require.NoError(t, err, query)
		for _, execution := range response.Executions {
			text, err := json.Marshal(execution)
			require.NoError(t, err)
			fmt.Fprintf(&found, "%s\n", text)
		}
		if request.NextPageToken = response.NextPageToken; request.NextPageToken == nil {
			return found.String()
		}
	}
	require.Fail(t, "the list does not end", query)
	return ""
}

// countWorkflows returns the count and the groups of a query as text.
func countWorkflows(t *testing.T, visibility store.VisibilityStore, namespaceID namespace.ID, query string) string {
	t.Helper()
	response, err := visibility.CountWorkflowExecutions(t.Context(), &manager.CountWorkflowExecutionsRequest{
		NamespaceID: namespaceID, Namespace: "test-namespace", Query: query,
	})
	require.NoError(t, err, query)
	groups := []string{}
	for _, group := range response.Groups {
		groups = append(groups, fmt.Sprint(group.Count, group.GroupValues))
	}
	slices.Sort(groups) // no order is asked for
	return fmt.Sprint(response.Count, groups)
}

// TestListsAndCountsReachMySQLTuned shows what vtgate passes on, with both profiles, and that MySQL reads a list by the index that has
// its order.
func TestListsAndCountsReachMySQLTuned(t *testing.T) {
	running := bed(t, 2)
	db := onVitess(t, running)
	type texts struct{ list, listStatus, count, group string }
	const joins = "as ev left join custom_search_attributes"
	for _, profile := range vschema.Profiles() {
		for queries, want := range map[string]texts{
			"tuned": {
				"as ev use index for join (by_temporal_namespace_division) use index for order by (by_temporal_namespace_division) where",
				"as ev use index for join (by_status, by_temporal_namespace_division) use index for order by (by_status) where",
				"as ev use index (by_temporal_namespace_division) where",
				"as ev ignore index for group by (by_status) where",
			},
			"upstream": {joins, joins, joins, joins},
		} {
			t.Run(fmt.Sprintf("%s, %s", profile, queries), func(t *testing.T) {
				cfg := running.VisibilityConfig(profile)
				cfg.ConnectAttributes["vitess_visibility_queries"] = queries
				visibility := openVisibility(t, cfg, true)
				id := namespace.ID(uuid.NewString())
				received := func(want string, ask func()) string {
					statements := db.received(t, "executions_visibility", ask)
					require.NotEmpty(t, statements)
					for _, statement := range statements {
						require.Contains(t, statement, want)
						require.Equal(t, queries == "upstream", strings.Contains(statement, " left join "), statement)
					}
					return statements[0]
				}
				newest := received(want.list, func() { list(t, visibility, id, ``, 10) })
				received(want.listStatus, func() { list(t, visibility, id, `ExecutionStatus = "Running"`, 10) })
				received(want.count, func() { countWorkflows(t, visibility, id, ``) })
				received(want.group, func() { countWorkflows(t, visibility, id, `GROUP BY ExecutionStatus`) })

				db.insertWorkflows(t, cfg.DatabaseName, id, 2000)
				plan := db.explain(t, cfg.DatabaseName, newest)
				require.Equal(t, queries == "upstream", strings.Contains(plan["Extra"], "filesort"), plan)
			})
		}
	}
}

// insertWorkflows inserts so many visibility records into one Vitess shard of a keyspace, wherever they belong.
func (d *database) insertWorkflows(t *testing.T, keyspace string, namespaceID namespace.ID, rows int) {
	t.Helper()
	_, err := d.mysqld.ExecContext(t.Context(), fmt.Sprintf(`USE `+"`%s`"+`; SET cte_max_recursion_depth = %d;
		INSERT INTO executions_visibility (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, encoding)
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[2]d)
		SELECT '%s', UUID(), '2026-01-01' + INTERVAL i SECOND, '2026-01-01', i, 'type', 1, 'Proto3' FROM n;
		ANALYZE TABLE executions_visibility`, d.shards(t, keyspace)[0], rows, namespaceID))
	require.NoError(t, err)
}
