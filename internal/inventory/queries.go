package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/visibility/manager"
	"go.temporal.io/server/common/persistence/visibility/store"
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

// typicalAttributes are one search attribute of each type among the system's, upstream's predefined and the custom ones.
var typicalAttributes = []string{
	"WorkflowId", "StartTime", "HistoryLength", "BuildIds", "TemporalSchedulePaused", "TemporalNamespaceDivision",
	"AliasForKeyword01", "AliasForText01", "AliasForInt01", "AliasForDouble01", "AliasForBool01", "AliasForDatetime01", "AliasForKeywordList01",
}

// VisibilityStore opens upstream's visibility store on the plugin, with one of its two query converters. The caller
// closes.
func (p *Plugin) VisibilityStore(registry *chasm.Registry, unified bool) (store.VisibilityStore, error) {
	return visibilitysql.NewSQLVisibilityStore(*p.config, resolver.NewNoopResolver(),
		searchattribute.NewTestProvider(), searchattribute.NewTestMapperProvider(&searchattribute.TestMapper{}), registry,
		dynamicconfig.GetBoolPropertyFn(unified), log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
}

// Ask returns what the visibility store sent while ask called it; ok is false if it refused the question before it sent
// anything.
func (p *Plugin) Ask(name string, unified bool, ask func() error) (sent Call, ok bool, err error) {
	err = ask()
	statements := p.recorder.take()
	if len(statements) == 0 {
		return Call{}, false, nil
	}
	if err != nil {
		return Call{}, false, fmt.Errorf("%s: %w", name, err)
	}
	id := name + ", legacy converter"
	if unified {
		id = name + ", unified converter"
	}
	return Call{Name: name, ID: id, Kind: sqlplugin.DbKindVisibility, Statements: statements}, true, nil
}

// Queries asks the visibility store for lists and counts over every search attribute. The typical ones have one of each
// type of search attribute.
func (p *Plugin) Queries() (typical, others []Call, err error) {
	pageToken, err := sqlplugin.SerializeVisibilityPageToken(&sqlplugin.VisibilityPageToken{CloseTime: someTime, StartTime: someTime, RunID: runID})
	if err != nil {
		return nil, nil, err
	}
	attributes, err := searchAttributes()
	if err != nil {
		return nil, nil, err
	}
	for _, unified := range []bool{true, false} {
		visibility, err := p.VisibilityStore(chasm.NewRegistry(log.NewNoopLogger()), unified)
		if err != nil {
			return nil, nil, err
		}
		a := asker{plugin: p, store: visibility, unified: unified}
		a.list(&typical, "", nil)
		a.list(&typical, "", pageToken)
		a.list(&typical, "WorkflowType = 'a' AND (ExecutionStatus = 'Running' OR NOT StartTime < '2026-01-02T03:04:05Z')", nil)
		a.count(&typical, "")
		a.count(&typical, "AliasForKeyword01 = 'a'")
		a.count(&typical, "GROUP BY ExecutionStatus")
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			before := len(others)
			for i, condition := range conditions[attributes[name]] {
				query := fmt.Sprintf(condition, name)
				if i == 0 && slices.Contains(typicalAttributes, name) {
					a.list(&typical, query, nil)
				}
				a.list(&others, query, nil)
				a.count(&others, query)
			}
			if len(others) == before {
				a.err = errors.Join(a.err, fmt.Errorf("no condition in internal/inventory/queries.go suits search attribute %s of type %s", name, attributes[name]))
			}
		}
		visibility.Close()
		if a.err != nil {
			return nil, nil, a.err
		}
	}
	return typical, others, nil
}

// searchAttributes are those that the visibility tables have columns for; a query for another fails on every server.
func searchAttributes() (map[string]enumspb.IndexedValueType, error) {
	tables, err := schema.Load(vschema.Visibility)
	if err != nil {
		return nil, err
	}
	attributes := searchattribute.TestNameTypeMap()
	types := maps.Clone(attributes.System())
	for name, valueType := range attributes.Custom() {
		types["AliasFor"+name] = valueType
	}
	maps.DeleteFunc(types, func(name string, _ enumspb.IndexedValueType) bool { return !hasColumn(tables, name) })
	return types, nil
}

// asker asks a visibility store, and keeps the first error.
type asker struct {
	plugin  *Plugin
	store   store.VisibilityStore
	unified bool
	err     error
}

func (a *asker) ask(into *[]Call, name string, ask func() error) {
	if a.err != nil {
		return
	}
	var sent Call
	var ok bool
	if sent, ok, a.err = a.plugin.Ask(name, a.unified, ask); ok {
		*into = append(*into, sent)
	}
}

func (a *asker) list(into *[]Call, query string, token []byte) {
	name := fmt.Sprintf("List %q", query)
	if token != nil {
		name += ", next page"
	}
	a.ask(into, name, func() error {
		_, err := a.store.ListWorkflowExecutions(context.Background(), &manager.ListWorkflowExecutionsRequestV2{
			NamespaceID: namespaceID, Namespace: namespaceName, PageSize: 10, NextPageToken: token, Query: query,
		})
		return err
	})
}

func (a *asker) count(into *[]Call, query string) {
	a.ask(into, fmt.Sprintf("Count %q", query), func() error {
		_, err := a.store.CountWorkflowExecutions(context.Background(), &manager.CountWorkflowExecutionsRequest{
			NamespaceID: namespaceID, Namespace: namespaceName, Query: query,
		})
		return err
	})
}

// hasColumn says that a table of the visibility store has the column of a search attribute.
func hasColumn(tables schema.Keyspace, attribute string) bool {
	column := sadefs.GetSqlDbColName(strings.TrimPrefix(attribute, "AliasFor"))
	return slices.ContainsFunc(tables.Tables, func(table schema.Table) bool {
		_, ok := table.Column(column)
		return ok
	})
}
