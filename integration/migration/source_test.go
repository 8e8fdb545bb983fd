package migration

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	upstream "go.temporal.io/server/schema"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// upstreamTables are the statements of temporal-sql-tool's set-up of both stores, in one database.
func upstreamTables(t *testing.T) []string {
	t.Helper()
	parser, err := sqlparser.New(sqlparser.Options{})
	require.NoError(t, err)
	var statements []string
	for _, store := range []string{"temporal", "visibility"} {
		file, err := fs.ReadFile(upstream.Assets(), "mysql/v8/"+store+"/schema.sql")
		require.NoError(t, err)
		pieces, err := parser.SplitStatementToPieces(string(file))
		require.NoError(t, err)
		statements = append(statements, pieces...)
	}
	global, err := schema.Load(vschema.Global)
	require.NoError(t, err)
	for _, statement := range global.Statements {
		parsed, err := schema.Parse(statement)
		require.NoError(t, err)
		if create, ok := parsed.(*sqlparser.CreateTable); ok && (create.Table.Name.String() == "schema_version" || create.Table.Name.String() == "schema_update_history") {
			statements = append(statements, statement)
		}
	}
	return statements
}

// upstreamConfig configures a store through upstream's plugin.
func upstreamConfig(addr, user, database string) *config.SQL {
	return &config.SQL{
		PluginName: mysql.PluginName, DatabaseName: database,
		ConnectAddr: addr, ConnectProtocol: "tcp", User: user,
		MaxConns: 20, MaxIdleConns: 20,
	}
}
