package persistence

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence"
	upstreamschema "go.temporal.io/server/schema"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// TestSchema compares the tables of each Vitess shard with those that upstream's schema files create on MySQL.
func TestSchema(t *testing.T) {
	running := bed(t, 4)
	db := onVitess(t, running)
	for _, store := range []struct {
		name      string
		keyspaces []string
	}{
		{"temporal", []string{testbed.Main, testbed.Global}},
		{"visibility", []string{testbed.Visibility}},
		{"visibility", []string{testbed.SpreadVisibility}},
	} {
		t.Run(fmt.Sprint(store.keyspaces), func(t *testing.T) {
			file, err := fs.ReadFile(upstreamschema.Assets(), "mysql/v8/"+store.name+"/schema.sql")
			require.NoError(t, err)
			statements, err := persistence.LoadAndSplitQueryFromReaders([]io.Reader{bytes.NewReader(file)})
			require.NoError(t, err)
			name := "upstream_" + strings.ReplaceAll(uuid.NewString(), "-", "")
			require.NoError(t, running.CreateDatabase(t.Context(), name, statements))

			want := db.structure(t, name)
			// The one difference, see package schema.
			if _, ok := want["buffered_events index PRIMARY: 1 shard_id"]; ok {
				maps.DeleteFunc(want, func(key, _ string) bool { return strings.HasPrefix(key, "buffered_events index ") })
				for _, index := range []struct {
					name, unique string
					columns      []string
				}{
					{"PRIMARY", "unique", []string{"id", "shard_id"}},
					{"id", "not unique", []string{"shard_id", "namespace_id", "workflow_id", "run_id", "id"}},
				} {
					for i, column := range index.columns {
						want[fmt.Sprintf("buffered_events index %s: %d %s", index.name, i+1, column)] = index.unique
					}
				}
			}

			got := map[string]string{}
			for _, keyspace := range store.keyspaces {
				shards := db.shards(t, keyspace)
				for _, shard := range shards {
					structure := db.structure(t, shard)
					assert.Equal(t, db.structure(t, shards[0]), structure, "the Vitess shards of %s differ", keyspace)
					for key, value := range structure {
						if !strings.HasPrefix(key, "schema_version ") && !strings.HasPrefix(key, "schema_update_history ") {
							got[key] = value
						}
					}
				}
			}
			assert.Equal(t, want, got)
		})
	}
}

// structure returns what a database says of its columns and indexes.
func (d *database) structure(t *testing.T, database string) map[string]string {
	t.Helper()
	rows, err := d.mysqld.QueryContext(t.Context(), `
		SELECT CONCAT(table_name, ' column ', column_name),
			CONCAT_WS(', ', ordinal_position, column_type, is_nullable, column_default, collation_name, extra, generation_expression)
		FROM information_schema.columns WHERE table_schema = ?
		UNION ALL
		SELECT CONCAT(table_name, ' index ', index_name, ': ', seq_in_index, ' ', COALESCE(column_name, expression)), IF(non_unique, 'not unique', 'unique')
		FROM information_schema.statistics WHERE table_schema = ?`, database, database)
	require.NoError(t, err)
	defer rows.Close()
	structure := map[string]string{}
	for rows.Next() {
		var key, value string
		require.NoError(t, rows.Scan(&key, &value))
		structure[key] = value
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, structure)
	return structure
}
