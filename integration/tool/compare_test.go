package tool

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// open connects to an address with a default database.
func open(t *testing.T, addr, user, database string) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName, cfg.InterpolateParams = "tcp", addr, user, database, true
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// databases are those of the Vitess shards of a keyspace.
func databases(keyspace string, role vschema.Role) []string {
	if shards(role) == 1 {
		return []string{"vt_" + keyspace + "_0"}
	}
	return []string{"vt_" + keyspace + "_-80", "vt_" + keyspace + "_80-"}
}

// structure is what information_schema says of a database.
func structure(t *testing.T, database string) map[string]string {
	t.Helper()
	return structureAt(t, running, database)
}

func structureAt(t *testing.T, at *cluster.Cluster, database string) map[string]string {
	t.Helper()
	_, addr, user := at.MySQL()
	rows, err := open(t, addr, user, "").QueryContext(t.Context(), `
		SELECT CONCAT(table_name, ' collation'), table_collation
		FROM information_schema.tables WHERE table_schema = ?
		UNION ALL
		SELECT CONCAT(table_name, ' column ', column_name),
			CONCAT_WS(', ', ordinal_position, column_type, is_nullable, IFNULL(CONCAT('default ', column_default), 'no default'), collation_name, extra, generation_expression)
		FROM information_schema.columns WHERE table_schema = ?
		UNION ALL
		SELECT CONCAT(table_name, ' index ', index_name, ': ', seq_in_index, ' ', COALESCE(column_name, expression)),
			CONCAT_WS(', ', IF(non_unique, 'not unique', 'unique'), collation, index_type, is_visible)
		FROM information_schema.statistics WHERE table_schema = ?
		UNION ALL
		SELECT CONCAT('check ', constraint_name), check_clause
		FROM information_schema.check_constraints WHERE constraint_schema = ?`, database, database, database, database)
	require.NoError(t, err)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var key, value string
		require.NoError(t, rows.Scan(&key, &value))
		if !strings.HasPrefix(key, "_vt_") { // what Vitess keeps of a migration for a day
			all[key] = value
		}
	}
	require.NoError(t, rows.Err())
	return all
}

// requireFresh fails unless each Vitess shard of a set has the tables of the fresh one.
func requireFresh(t *testing.T, set string) {
	t.Helper()
	setUp(t)
	for _, role := range vschema.Roles() {
		want := structure(t, databases(names(fresh)[role], role)[0])
		require.NotEmpty(t, want)
		for _, database := range databases(names(set)[role], role) {
			require.Equal(t, want, structure(t, database), database)
		}
	}
}

// history returns the recorded updates of a keyspace, oldest first, without those that stand for a set-up.
func history(t *testing.T, keyspace string) []string {
	t.Helper()
	rows, err := open(t, running.VTGateAddr(), "tool", keyspace).QueryContext(t.Context(),
		"SELECT CONCAT(old_version, ' -> ', new_version) FROM schema_update_history WHERE version_partition = 0 AND manifest_md5 <> '' ORDER BY update_time")
	require.NoError(t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var update string
		require.NoError(t, rows.Scan(&update))
		all = append(all, update)
	}
	require.NoError(t, rows.Err())
	return all
}

// exec executes statements through vtgate.
func exec(t *testing.T, keyspace string, statements ...string) {
	t.Helper()
	db := open(t, running.VTGateAddr(), "tool", keyspace)
	for _, statement := range statements {
		_, err := db.ExecContext(context.WithoutCancel(t.Context()), statement)
		require.NoError(t, err, statement)
	}
}
