package router

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	theJoins = " LEFT JOIN custom_search_attributes USING (namespace_id, run_id) LEFT JOIN chasm_search_attributes USING (namespace_id, run_id)"
	theOrder = " ORDER BY coalesce(close_time, cast('9999-12-31 23:59:59' as datetime)) DESC, start_time DESC, run_id LIMIT ?"
	theToken = " AND ((coalesce(close_time, cast('9999-12-31 23:59:59' as datetime)) = ? AND start_time = ? AND run_id > ?) OR " +
		"(coalesce(close_time, cast('9999-12-31 23:59:59' as datetime)) = ? AND start_time < ?) OR coalesce(close_time, cast('9999-12-31 23:59:59' as datetime)) < ?)"
)

// from returns what a statement reads from: its text between FROM and WHERE, without the keyspace.
func from(t *testing.T, plan *Plan) string {
	require.NoError(t, plan.Unknown)
	_, text, _ := strings.Cut(plan.Statement.SQL, " from ")
	text, _, _ = strings.Cut(text, " where ")
	return strings.ReplaceAll(text, "temporal_visibility.", "")
}

func TestAJoinThatChangesNothingIsDropped(t *testing.T) {
	const (
		all    = "executions_visibility as ev"
		custom = all + " left join custom_search_attributes on ev.namespace_id = custom_search_attributes.namespace_id and ev.run_id = custom_search_attributes.run_id"
		chasm  = " left join chasm_search_attributes on ev.namespace_id = chasm_search_attributes.namespace_id and ev.run_id = chasm_search_attributes.run_id"
	)
	list := func(conditions string) string {
		return "SELECT ev.run_id FROM executions_visibility ev" + theJoins + " WHERE namespace_id = ?" + conditions + " ORDER BY start_time LIMIT ?"
	}
	count := func(joins string) string {
		return "SELECT COUNT(*) FROM executions_visibility ev " + joins + " WHERE ev.namespace_id = ?"
	}
	for _, test := range []struct{ name, query, want string }{
		{"nothing is asked of the joined tables", list(""), all},
		{"columns of the first table", list(" AND (status = 1 OR BuildIds IS NULL)"), all},
		{"a column of the second table", list(" AND Keyword01 = 'a'"), custom},
		{"a column of the third table", list(" AND TemporalInt01 > 1"), all + chasm},
		{"columns of all tables", list(" AND (Int01 = 1 OR TemporalInt01 > 1)"), custom + chasm},
		{"a column in the order", "SELECT ev.run_id FROM executions_visibility ev" + theJoins + " WHERE namespace_id = ? ORDER BY Int01 LIMIT ?", custom},
		{"a column in the groups", "SELECT TemporalLowCardinalityKeyword01, COUNT(*) FROM executions_visibility ev" + theJoins + " WHERE namespace_id = ? GROUP BY TemporalLowCardinalityKeyword01", all + chasm},
		{"a column that is returned", "SELECT custom_search_attributes.search_attributes FROM executions_visibility ev" + theJoins + " WHERE ev.namespace_id = ? LIMIT ?", custom},
		{"a count of what is joined", "SELECT COUNT(custom_search_attributes.run_id) FROM executions_visibility ev" + theJoins + " WHERE ev.namespace_id = ?", custom},
		{"more conditions than the key", count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = ev.run_id AND c._version = ev._version"), all},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := from(t, newVisibilityRouter(t, vschema.ProfileNamespace).Plan(test.query))
			text, _, _ = strings.Cut(text, " use index")
			require.Equal(t, test.want, text)
		})
	}

	for name, query := range map[string]string{
		"all columns":                       "SELECT * FROM executions_visibility ev" + theJoins + " WHERE ev.namespace_id = ? LIMIT ?",
		"columns that no table has":         list(" AND x = 1"),
		"rows that are locked":              list("") + " FOR UPDATE",
		"a subquery":                        list(" AND run_id IN (SELECT 'a')"),
		"an inner join":                     count("JOIN custom_search_attributes USING (namespace_id, run_id)"),
		"a right join":                      count("RIGHT JOIN custom_search_attributes USING (namespace_id, run_id)"),
		"a natural join":                    count("NATURAL LEFT JOIN custom_search_attributes"),
		"a natural join of what is joined":  count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = ev.run_id NATURAL JOIN chasm_search_attributes"),
		"a part of the key":                 count("LEFT JOIN custom_search_attributes USING (namespace_id)"),
		"no key":                            count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c._version = ev._version"),
		"a range":                           count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id >= ev.run_id"),
		"a choice":                          count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = ev.run_id OR c._version = 1"),
		"a column of another type":          count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = ev.history_length"),
		"a table that is joined to itself":  count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = c.run_id"),
		"a table that another is joined to": count("LEFT JOIN custom_search_attributes c ON c.namespace_id = ev.namespace_id AND c.run_id = ev.run_id JOIN chasm_search_attributes s ON s.namespace_id = c.namespace_id AND s.run_id = c.run_id"),
		"tables in two places":              "SELECT COUNT(*) FROM executions_visibility ev LEFT JOIN custom_search_attributes USING (namespace_id, run_id), chasm_search_attributes s WHERE ev.namespace_id = ? AND s.namespace_id = ?",
	} {
		t.Run(name, func(t *testing.T) {
			r := newVisibilityRouter(t, vschema.ProfileNamespace)
			plan := r.Plan(query)
			r = newUpstreamQueriesRouter(t)
			require.Equal(t, r.Plan(query).Statement, plan.Statement)
			require.Contains(t, strings.ToLower(plan.Statement.SQL), "join")
		})
	}
}

func newUpstreamQueriesRouter(t *testing.T) *Router {
	r, err := New(Config{
		Keyspaces: map[vschema.Role]string{vschema.Visibility: "temporal_visibility"}, Profile: vschema.ProfileNamespace, MaxRows: 10000, UpstreamQueries: true,
	})
	require.NoError(t, err)
	return r
}

func TestListsAndCountsNameTheirIndex(t *testing.T) {
	const (
		list     = "SELECT ev.run_id FROM executions_visibility ev" + theJoins + " WHERE namespace_id = ? AND TemporalNamespaceDivision is null"
		count    = "SELECT COUNT(*) FROM executions_visibility ev" + theJoins + " WHERE (namespace_id = ?) AND TemporalNamespaceDivision is null"
		group    = "SELECT status, COUNT(*) FROM executions_visibility ev" + theJoins + " WHERE (namespace_id = ?)"
		division = " use index for join (by_temporal_namespace_division) use index for order by (by_temporal_namespace_division)"
		status   = " use index for join (by_status, by_temporal_namespace_division) use index for order by (by_status)"
	)
	for _, test := range []struct{ name, query, want string }{
		{"the newest page", list + theOrder, division},
		{"the next page", list + theToken + theOrder, division},
		{"of another division", "SELECT ev.run_id FROM executions_visibility ev WHERE TemporalNamespaceDivision = 'a' AND namespace_id = ?" + theOrder, division},
		{"of any division", "SELECT ev.run_id FROM executions_visibility ev WHERE status = 1 AND namespace_id = ?" + theOrder, " use index for join (by_status) use index for order by (by_status)"},
		{"of one status", list + " AND status = 1" + theOrder, status},
		{"the next page of one status", list + " AND status = 1" + theToken + theOrder, status},
		{"of one type", list + " AND workflow_type_name = 'a'" + theOrder, " use index for join (by_workflow_type, by_temporal_namespace_division) use index for order by (by_workflow_type)"},
		{"of one task queue", list + " AND task_queue = 'a'" + theOrder, " use index for join (by_task_queue, by_temporal_namespace_division) use index for order by (by_task_queue)"},
		{"of one status and type", list + " AND status = 1 AND workflow_type_name = 'a'" + theOrder, ""},
		{"of two statuses", list + " AND status IN (1, 2)" + theOrder, ""},
		{"of other than a status", list + " AND status != 1" + theOrder, ""},
		{"since a time", list + " AND start_time > '2026-01-01'" + theOrder, ""},
		{"of another column", list + " AND status = 1 AND BatcherUser = 'a'" + theOrder, ""},
		{"in another order", list + " ORDER BY start_time DESC, run_id LIMIT ?", ""},
		{"without a limit", list + strings.TrimSuffix(theOrder, " LIMIT ?"), ""},
		{"of no namespace", "SELECT ev.run_id FROM executions_visibility ev WHERE run_id = ? AND TemporalNamespaceDivision is null" + theOrder, ""},
		{"of two tables", "SELECT ev.run_id FROM executions_visibility ev, dual WHERE namespace_id = ? AND status = 1" + theOrder, ", dual"},
		{"that has an index", "SELECT ev.run_id FROM executions_visibility ev FORCE INDEX (default_idx) WHERE namespace_id = ? AND status = 1" + theOrder, " force index (default_idx)"},

		{"a count", count, " use index (by_temporal_namespace_division)"},
		{"a count of one status", count + " AND status = 1", ""},
		{"a count of a column", strings.Replace(count, "COUNT(*)", "COUNT(close_time)", 1), ""},
		{"a count of groups", group + " AND TemporalNamespaceDivision is null GROUP BY status", " ignore index for group by (by_status)"},
		{"a count of groups of one type", group + " AND TemporalNamespaceDivision is null AND workflow_type_name = 'a' GROUP BY status", " ignore index for group by (by_status)"},
		{"a count of groups that the index has", group + " GROUP BY status", ""},
		{"a count of other groups", "SELECT TemporalNamespaceDivision, COUNT(*) FROM executions_visibility ev WHERE namespace_id = ? GROUP BY TemporalNamespaceDivision", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, profile := range vschema.Profiles() {
				plan := newVisibilityRouter(t, profile).Plan(test.query)
				require.Equal(t, "executions_visibility as ev"+test.want, from(t, plan))
				literals := 0
				if strings.Contains(test.want, "for order by") {
					literals = strings.Count(test.query, "cast('9999-12-31 23:59:59' as datetime)")
				}
				require.Equal(t, literals, strings.Count(plan.Statement.SQL, "cast(_utf8mb4 '9999-12-31 23:59:59' as datetime)"))
			}
			upstream := from(t, newUpstreamQueriesRouter(t).Plan(test.query))
			require.NotContains(t, upstream, "use index")
			require.NotContains(t, upstream, "ignore index")
			require.Equal(t, strings.Count(test.query, "LEFT JOIN"), strings.Count(upstream, "left join"))
		})
	}
}

// TestUpstreamHasTheIndexes compares with upstream's schema.
func TestUpstreamHasTheIndexes(t *testing.T) {
	keyspace, err := schema.Load(vschema.Visibility)
	require.NoError(t, err)
	var statements []string
	for _, statement := range keyspace.Statements {
		statements = append(statements, strings.Join(strings.Fields(statement), " "))
	}
	indexes := append(orderedIndexes, struct{ column, index string }{divisionColumn, divisionIndex})
	for _, index := range indexes {
		require.Contains(t, statements, fmt.Sprintf("CREATE INDEX %s ON %s (%s, %s, (COALESCE(close_time, CAST('9999-12-31 23:59:59' AS DATETIME))) DESC, start_time DESC, run_id)",
			index.index, visibilityTable, namespaceColumn, index.column))
	}
}
