package routing

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/api/visibilityservice/v1"
	"go.temporal.io/server/chasm"
	chasmtests "go.temporal.io/server/chasm/lib/tests"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/namespace"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/visibility/manager"
	visibilitysql "go.temporal.io/server/common/persistence/visibility/store/sql"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute"
	"go.temporal.io/server/common/searchattribute/sadefs"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// conditions are what a query may ask of a search attribute, by its type; %s is the attribute.
var conditions = map[enumspb.IndexedValueType][]string{
	enumspb.INDEXED_VALUE_TYPE_KEYWORD:      {"%s = 'a'", "%s != 'a'", "%s IN ('a', 'b')", "%s NOT IN ('a', 'b')", "%s STARTS_WITH 'a'", "%s IS NULL", "%s > 'a'"},
	enumspb.INDEXED_VALUE_TYPE_TEXT:         {"%s = 'some words'", "%s != 'some words'", "%s IS NOT NULL"},
	enumspb.INDEXED_VALUE_TYPE_INT:          {"%s = 1", "%s < 1", "%s BETWEEN 1 AND 2", "%s IN (1, 2)"},
	enumspb.INDEXED_VALUE_TYPE_DOUBLE:       {"%s = 1.5", "%s >= 1.5", "%s NOT BETWEEN 1.5 AND 2.5"},
	enumspb.INDEXED_VALUE_TYPE_BOOL:         {"%s = true", "%s != true"},
	enumspb.INDEXED_VALUE_TYPE_DATETIME:     {"%s = '2026-01-02T03:04:05Z'", "%s <= '2026-01-02T03:04:05Z'", "%s BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-02T00:00:00Z'"},
	enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST: {"%s = 'a'", "%s != 'a'", "%s IN ('a', 'b')", "%s NOT IN ('a', 'b')"},
}

// typicalAttributes are the search attributes whose statements the golden file lists: one of each type among the
// system's, upstream's predefined and the custom ones. All others, and other conditions, are checked as well.
var typicalAttributes = []string{
	"WorkflowId", "StartTime", "HistoryLength", "BuildIds", "TemporalSchedulePaused", "TemporalNamespaceDivision",
	"AliasForKeyword01", "AliasForText01", "AliasForInt01", "AliasForDouble01", "AliasForBool01", "AliasForDatetime01", "AliasForKeywordList01",
}

// driveQueries asks the visibility store for lists and counts over every search attribute. It returns the calls for
// the golden file and those that are only checked.
func (s *subject) driveQueries(t *testing.T) (listed, checked []call) {
	t.Helper()
	ctx := context.Background()
	registry := chasm.NewRegistry(log.NewNoopLogger())
	require.NoError(t, registry.Register(chasmtests.Library))
	pageToken, err := sqlplugin.SerializeVisibilityPageToken(&sqlplugin.VisibilityPageToken{CloseTime: someTime, StartTime: someTime, RunID: runID})
	require.NoError(t, err)

	tables, err := schema.Load(vschema.Visibility)
	require.NoError(t, err)

	for _, unified := range []bool{true, false} {
		converter := ", legacy converter"
		if unified {
			converter = ", unified converter"
		}
		visibility, err := visibilitysql.NewSQLVisibilityStore(*s.config, resolver.NewNoopResolver(),
			searchattribute.NewTestProvider(), searchattribute.NewTestMapperProvider(&searchattribute.TestMapper{}), registry,
			dynamicconfig.GetBoolPropertyFn(unified), log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
		require.NoError(t, err)

		ask := func(into *[]call, name string, send func() error) {
			err := send()
			statements := s.sent(sqlplugin.DbKindVisibility)
			if len(statements) == 0 {
				return // the store refuses the query before it sends anything
			}
			require.NoError(t, err, name)
			*into = append(*into, call{Name: name, ID: name + converter, Kind: sqlplugin.DbKindVisibility, Statements: statements})
		}
		list := func(into *[]call, query string, token []byte) {
			name := fmt.Sprintf("List %q", query)
			if token != nil {
				name += ", next page"
			}
			ask(into, name, func() error {
				_, err := visibility.ListWorkflowExecutions(ctx, &manager.ListWorkflowExecutionsRequestV2{
					NamespaceID: namespaceID, Namespace: namespace.Name("test-namespace"), PageSize: 10, NextPageToken: token, Query: query,
				})
				return err
			})
		}
		count := func(into *[]call, query string) {
			ask(into, fmt.Sprintf("Count %q", query), func() error {
				_, err := visibility.CountWorkflowExecutions(ctx, &manager.CountWorkflowExecutionsRequest{
					NamespaceID: namespaceID, Namespace: namespace.Name("test-namespace"), Query: query,
				})
				return err
			})
		}

		list(&listed, "", nil)
		list(&listed, "", pageToken)
		list(&listed, "WorkflowType = 'a' AND (ExecutionStatus = 'Running' OR NOT StartTime < '2026-01-02T03:04:05Z')", nil)
		count(&listed, "")
		count(&listed, "AliasForKeyword01 = 'a'")
		count(&listed, "GROUP BY ExecutionStatus")
		ask(&listed, "ListChasm", func() error {
			_, err := visibility.ListChasmExecutions(ctx, &visibilityservice.ListChasmExecutionsRequest{
				ArchetypeId: chasmtests.ArchetypeID, NamespaceId: namespaceID, Namespace: "test-namespace", PageSize: 10,
				Query: "PayloadTotalCount > 1",
			})
			return err
		})
		ask(&listed, "CountChasm", func() error {
			_, err := visibility.CountChasmExecutions(ctx, &visibilityservice.CountChasmExecutionsRequest{
				ArchetypeId: chasmtests.ArchetypeID, NamespaceId: namespaceID, Namespace: "test-namespace", Query: "PayloadTotalCount > 1",
			})
			return err
		})

		attributes := searchattribute.TestNameTypeMap()
		types := maps.Clone(attributes.System())
		for name, valueType := range attributes.Custom() {
			types["AliasFor"+name] = valueType
		}
		for _, name := range slices.Sorted(maps.Keys(types)) {
			if !hasColumn(tables, name) {
				continue // MySQL's schema lacks it: the query fails on every server
			}
			before := len(checked)
			for i, condition := range conditions[types[name]] {
				query := fmt.Sprintf(condition, name)
				if i == 0 && slices.Contains(typicalAttributes, name) {
					list(&listed, query, nil)
				}
				list(&checked, query, nil)
				count(&checked, query)
			}
			require.Greater(t, len(checked), before, "no condition in queries_test.go suits search attribute %s of type %s", name, types[name])
		}
	}
	return listed, checked
}

// hasColumn says that a table of the visibility store has the column of a search attribute.
func hasColumn(tables schema.Keyspace, attribute string) bool {
	column := sadefs.GetSqlDbColName(strings.TrimPrefix(attribute, "AliasFor"))
	return slices.ContainsFunc(tables.Tables, func(table schema.Table) bool {
		_, ok := table.Column(column)
		return ok
	})
}
