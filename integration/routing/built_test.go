package routing

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// workflowQueries are the calls that upstream reads a workflow with, in its order.
var workflowQueries = []string{
	"SelectFromExecutions", "SelectAllFromActivityInfoMaps", "SelectAllFromTimerInfoMaps", "SelectAllFromChildExecutionInfoMaps",
	"SelectAllFromRequestCancelInfoMaps", "SelectAllFromSignalInfoMaps", "SelectFromBufferedEvents", "SelectAllFromChasmNodeMaps",
	"SelectAllFromSignalsRequestedSets",
}

// builtStatements returns the statements that the plugin makes of several of upstream's.
func builtStatements(t *testing.T, vitess *subject, stockCalls []call) []call {
	t.Helper()
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: string(vschema.Main), vschema.Global: string(vschema.Global)}, MaxRows: router.DefaultMaxRows,
	})
	require.NoError(t, err)
	first := func(name string) statement {
		for _, c := range stockCalls {
			if c.Name == name && len(c.Statements) > 0 {
				return c.Statements[0]
			}
		}
		require.Fail(t, "upstream has no call "+name)
		return statement{}
	}
	// The values stand in the text, as the plugin sends them: vtgate knows equal ones by that.
	built := func(name string, s router.Statement, values ...driver.Value) call {
		parts := strings.Split(s.SQL, "?")
		sent := inventory.Statement{SQL: parts[0]}
		for i, part := range parts[1:] {
			index := i
			if s.Args != nil {
				index = s.Args[i].Index
			}
			sent.SQL += literal(t, values[index]) + part
		}
		return call{Name: name, ID: name, Kind: sqlplugin.DbKindMain, Statements: []statement{{sent, vitess.database(sqlplugin.DbKindMain, sent)}}}
	}
	var queries []string
	for _, name := range workflowQueries {
		queries = append(queries, first(name).SQL)
	}
	union, err := r.Union(queries)
	require.NoError(t, err)
	calls := []call{built("read a workflow", union.Plan.Statement, first(workflowQueries[0]).Args...)}
	for _, name := range []string{"ReadLockShards", "WriteLockShards", "LockTaskQueues"} {
		lock := first(name)
		check := r.Plan(lock.SQL).Check
		require.NotNil(t, check, name)
		calls = append(calls, built(name+", of a known owner", check.Statement, append(slices.Clone(lock.Args), int64(5))...))
	}
	r.Plan(first("WriteLockExecutions").SQL) // from which it knows what follows
	for _, c := range stockCalls {
		if c.Name == "LockCurrentExecutions" { // of workflows, and of other archetypes
			look, err := r.LookAhead(r.Plan(c.Statements[0].SQL))
			require.NoError(t, err, c.ID)
			require.NotNil(t, look, c.ID)
			calls = append(calls, built(c.Name+", with its run", look.Plan.Statement, c.Statements[0].Args...))
		}
	}
	return calls
}

// TestBuiltStatementsKeepTheirLocks shows that vtgate passes the locks of what the plugin builds on, and all of it to one
// statement of a vttablet.
func TestBuiltStatementsKeepTheirLocks(t *testing.T) {
	stockCalls, _ := newStockSubject(t).driveAll(t)
	vtgate := newVTGate(t, vschema.ProfileNamespace, 2)
	locks := map[string]string{"LockCurrentExecutions": " for update", "ReadLockShards": " lock in share mode", "WriteLockShards": " for update", "LockTaskQueues": " for update"}
	checked := map[string]bool{}
	for _, c := range builtStatements(t, newVitessSubject(t, vschema.ProfileNamespace), stockCalls) {
		r := vtgate.route(c.Statements[0])
		require.Equal(t, "Route EqualUnique", r.Plan, c.Name)
		call, _, _ := strings.Cut(c.Name, ", ")
		if lock, ok := locks[call]; ok {
			require.True(t, strings.HasSuffix(r.Sent, lock), "%s: %s", c.Name, r.Sent)
			checked[call] = strings.Contains(r.Sent, "if(max(range_id) = ") && strings.Contains(r.Sent, "pow(") || strings.Contains(r.Sent, " left join executions as e on ")
		}
	}
	for call := range locks {
		require.True(t, checked[call], call)
	}
}

// literal writes a value as SQL.
func literal(t *testing.T, value driver.Value) string {
	t.Helper()
	switch value := value.(type) {
	case int64:
		return fmt.Sprint(value)
	case string:
		return "'" + value + "'"
	case []byte:
		return fmt.Sprintf("x'%x'", value)
	}
	require.Fail(t, "a value of another type", "%T", value)
	return ""
}
