package routing

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/api/visibilityservice/v1"
	"go.temporal.io/server/chasm"
	chasmtests "go.temporal.io/server/chasm/lib/tests"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// statement is a statement with the default database to send it with.
type statement struct {
	inventory.Statement
	Database string
}

func (s statement) isQuery() bool { return sqlparser.Preview(s.SQL) == sqlparser.StmtSelect }

// call is an [inventory.Call] whose statements have their default databases.
type call struct {
	Name       string
	ID         string
	Kind       sqlplugin.DbKind
	Statements []statement
}

// subject is a SQL plugin whose statements are recorded.
type subject struct {
	*inventory.Plugin
	// database is the default database to send a statement with.
	database func(kind sqlplugin.DbKind, s inventory.Statement) string
}

// newStockSubject opens upstream's plugin. No keyspace has all tables of its main store, so vtgate has to find them by
// name.
func newStockSubject(t *testing.T) *subject {
	t.Helper()
	plugin, err := inventory.Upstream()
	require.NoError(t, err)
	t.Cleanup(func() { _ = plugin.Close() })
	return &subject{plugin, func(sqlplugin.DbKind, inventory.Statement) string { return "@primary" }}
}

// newVitessSubject opens this project's plugin. What reads and writes rows is sent with the other store's keyspace as
// default database, where a table without its keyspace is not found.
func newVitessSubject(t *testing.T, profile vschema.Profile) *subject {
	t.Helper()
	keyspaces := make(map[vschema.Role]string)
	for _, role := range vschema.Roles() {
		keyspaces[role] = string(role)
	}
	plugin, err := inventory.Vitess(keyspaces, profile)
	require.NoError(t, err)
	t.Cleanup(func() { _ = plugin.Close() })
	return &subject{plugin, func(kind sqlplugin.DbKind, s inventory.Statement) string {
		if (kind == sqlplugin.DbKindMain) == s.ReadsOrWrites() {
			return string(vschema.Visibility)
		}
		return string(vschema.Main)
	}}
}

// calls adds the default databases.
func (s *subject) calls(sent []inventory.Call) []call {
	calls := make([]call, len(sent))
	for i, c := range sent {
		calls[i] = call{Name: c.Name, ID: c.ID, Kind: c.Kind}
		for _, sent := range c.Statements {
			calls[i].Statements = append(calls[i].Statements, statement{sent, s.database(c.Kind, sent)})
		}
	}
	return calls
}

// driveAll returns the calls for the golden file, and those that are only checked.
func (s *subject) driveAll(t *testing.T) (listed, checked []call) {
	t.Helper()
	methods, err := s.Methods()
	require.NoError(t, err)
	typical, others, err := s.Queries()
	require.NoError(t, err)
	return append(s.calls(methods), append(s.calls(typical), s.calls(s.driveChasm(t))...)...), s.calls(others)
}

func (s *subject) drive(t *testing.T, of reflect.Type, row int) []call {
	t.Helper()
	sent, err := s.Drive(of, row)
	require.NoError(t, err)
	return s.calls(sent)
}

// driveChasm lists and counts executions of an archetype with search attributes of its own.
func (s *subject) driveChasm(t *testing.T) []inventory.Call {
	t.Helper()
	const namespaceID = "8d9b1a7e-6f0c-4a55-9d43-2f1c55d0b7aa"
	registry := chasm.NewRegistry(log.NewNoopLogger())
	require.NoError(t, registry.Register(chasmtests.Library))
	var calls []inventory.Call
	for _, unified := range []bool{true, false} {
		visibility, err := s.VisibilityStore(registry, unified)
		require.NoError(t, err)
		t.Cleanup(visibility.Close)
		ask := func(name string, send func() error) {
			sent, ok, err := s.Ask(name, unified, send)
			require.NoError(t, err)
			require.True(t, ok)
			calls = append(calls, sent)
		}
		ask("ListChasm", func() error {
			_, err := visibility.ListChasmExecutions(context.Background(), &visibilityservice.ListChasmExecutionsRequest{
				ArchetypeId: chasmtests.ArchetypeID, NamespaceId: namespaceID, Namespace: "test-namespace", PageSize: 10,
				Query: "PayloadTotalCount > 1",
			})
			return err
		})
		ask("CountChasm", func() error {
			_, err := visibility.CountChasmExecutions(context.Background(), &visibilityservice.CountChasmExecutionsRequest{
				ArchetypeId: chasmtests.ArchetypeID, NamespaceId: namespaceID, Namespace: "test-namespace", Query: "PayloadTotalCount > 1",
			})
			return err
		})
	}
	return calls
}
