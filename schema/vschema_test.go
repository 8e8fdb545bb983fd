package schema

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func eachVSchema(t *testing.T, check func(t *testing.T, role vschema.Role, profile vschema.Profile, data []byte)) {
	for _, role := range vschema.Roles() {
		for _, profile := range vschema.Profiles() {
			t.Run(string(role)+"/"+string(profile), func(t *testing.T) {
				data, err := vschema.JSON(role, profile)
				require.NoError(t, err)
				check(t, role, profile, data)
			})
		}
	}
}

func TestVitessLoadsTheVSchemas(t *testing.T) {
	eachVSchema(t, func(t *testing.T, role vschema.Role, profile vschema.Profile, data []byte) {
		var keyspace vschemapb.Keyspace
		require.NoError(t, (protojson.UnmarshalOptions{}).Unmarshal(data, &keyspace))
		parser, err := sqlparser.New(sqlparser.Options{})
		require.NoError(t, err)
		loaded, err := vindexes.BuildKeyspaceSchema(&keyspace, string(role), parser)
		require.NoError(t, err)
		require.NoError(t, loaded.Error)
		for name, vindex := range loaded.Vindexes {
			require.True(t, vindex.IsUnique(), name)
			require.False(t, vindex.NeedsVCursor(), "%s needs a lookup", name)
		}
		for name, table := range loaded.Tables {
			require.Nil(t, table.AutoIncrement, "%s has a sequence", name)
		}
	})
}

func TestVSchemaAndSchemaFitTogether(t *testing.T) {
	eachVSchema(t, func(t *testing.T, role vschema.Role, profile vschema.Profile, data []byte) {
		placement, err := vschema.Load(role, profile)
		require.NoError(t, err)
		keyspace, err := Load(role)
		require.NoError(t, err)
		require.Len(t, placement.Tables, len(keyspace.Tables), "tables in one of the two only")
		require.Equal(t, role != vschema.Global, placement.Sharded)
		for _, table := range keyspace.Tables {
			placed, ok := placement.Tables[table.Name]
			require.True(t, ok, table.Name)
			if !placement.Sharded {
				require.Empty(t, placed.ColumnVindexes, table.Name)
				continue
			}
			require.Len(t, placed.ColumnVindexes, 1, table.Name)
			column, ok := table.Column(placed.ShardingColumn())
			require.True(t, ok, "%s has no column %s", table.Name, placed.ShardingColumn())
			require.True(t, column.NotNull, "%s.%s can be NULL", table.Name, column.Name)
			require.Contains(t, table.PrimaryKey(), column.Name, "the primary key of %s does not make it unique across Vitess shards", table.Name)
			require.Contains(t, placement.Vindexes, placed.ColumnVindexes[0].Name, table.Name)
		}
	})
}

func TestTheProfilesDifferInTheColumnOnly(t *testing.T) {
	namespace, err := vschema.Load(vschema.Visibility, vschema.ProfileNamespace)
	require.NoError(t, err)
	spread, err := vschema.Load(vschema.Visibility, vschema.ProfileSpread)
	require.NoError(t, err)
	for name, table := range namespace.Tables {
		if table.ShardingColumn() == "namespace_id" {
			table.ColumnVindexes[0].Column = "run_id"
			namespace.Tables[name] = table
		}
	}
	require.Equal(t, spread, namespace)
}

func TestNoVSchemaForWhatDoesNotExist(t *testing.T) {
	_, err := vschema.JSON(vschema.Visibility, "mixed")
	require.ErrorContains(t, err, "profiles are [namespace spread]")
	_, err = vschema.Load("elsewhere", vschema.ProfileNamespace)
	require.ErrorContains(t, err, `role "elsewhere"`)
}

// Nothing but these fields is in use, so that vschema's types lose nothing of the files.
func TestVSchemaTypesReadAllOfTheFiles(t *testing.T) {
	eachVSchema(t, func(t *testing.T, role vschema.Role, profile vschema.Profile, data []byte) {
		keyspace, err := vschema.Load(role, profile)
		require.NoError(t, err)
		written, err := json.Marshal(keyspace)
		require.NoError(t, err)
		var want, got vschemapb.Keyspace
		require.NoError(t, protojson.Unmarshal(data, &want))
		require.NoError(t, protojson.Unmarshal(written, &got))
		require.True(t, proto.Equal(&want, &got))
	})
}
