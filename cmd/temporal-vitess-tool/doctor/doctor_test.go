package doctor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestEachCheckHasItsPlaceInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../../docs/tool/doctor.md")
	require.NoError(t, err)
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^### (\S+)$`).FindAllSubmatch(page, -1) {
		headings = append(headings, string(match[1]))
	}
	require.Equal(t, Names(), headings)
}

func TestExpectedStructureIsWhatTheSchemaSays(t *testing.T) {
	main, err := expectedStructure(vschema.Main)
	require.NoError(t, err)
	require.Equal(t, &table{
		columns: map[string]column{
			"shard_id":      {dataType: "int"},
			"range_id":      {dataType: "bigint"},
			"data":          {dataType: "mediumblob"},
			"data_encoding": {dataType: "varchar(16)", text: true},
		},
		keys: []index{{name: primaryKey, unique: true, columns: []string{"shard_id"}}},
	}, main["shards"])
	require.True(t, main["buffered_events"].columns["id"].autoIncrement)

	visibility, err := expectedStructure(vschema.Visibility)
	require.NoError(t, err)
	executions := visibility["executions_visibility"]
	require.Equal(t, column{dataType: "datetime(6)", nullable: true}, executions.columns["close_time"])
	require.Equal(t, column{dataType: "tinyint(1)", nullable: true}, executions.columns["temporalschedulepaused"])
	require.Contains(t, executions.keys, index{name: "by_status", columns: []string{"namespace_id", "status", expressionPart, "start_time", "run_id"}})
	require.Equal(t, column{dataType: "decimal(20,5)", nullable: true}, visibility["custom_search_attributes"].columns["double01"])
}

// A local Vitess has all vttablets in one process; elsewhere each has a page of its own.
func TestNumbersOfOneVTTabletAndOfACombo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/debug/vars", r.URL.Path)
		fmt.Fprint(w, `{"ConnPoolCapacity": 16, "TransactionTimeout": {"zone1-0000000100": 30000000000}, "TabletAlias": "zone1-0000000100"}`)
	}))
	defer server.Close()
	vars, err := readDebugVars(t.Context(), server.Listener.Addr().String())
	require.NoError(t, err)

	capacity, err := vars.number("ConnPoolCapacity", "zone1-0000000100")
	require.NoError(t, err)
	require.EqualValues(t, 16, capacity)
	timeout, err := vars.number("TransactionTimeout", "zone1-0000000100")
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, time.Duration(timeout))

	_, err = vars.number("TransactionTimeout", "zone1-0000000200")
	require.ErrorContains(t, err, "has nothing of zone1-0000000200")
	_, err = vars.number("FoundRowsPoolCapacity", "zone1-0000000100")
	require.ErrorContains(t, err, "/debug/vars has no FoundRowsPoolCapacity")
	_, err = vars.number("TabletAlias", "zone1-0000000100")
	require.ErrorContains(t, err, "TabletAlias in /debug/vars")
}

func TestBufferingIsSeenInACommandLine(t *testing.T) {
	for _, test := range []struct {
		commandLine []string
		buffers     bool
	}{
		{[]string{"vtgate", "--cell", "a"}, false},
		{[]string{"vtgate", "--enable-buffer"}, true},
		{[]string{"vtgate", "-enable_buffer=true"}, true},
		{[]string{"vtgate", "--enable-buffer", "--enable-buffer=false"}, false},
		{[]string{"vtgate", "--enable-buffer-dry-run"}, false},
	} {
		require.Equal(t, test.buffers, buffers(test.commandLine), test.commandLine)
	}
}
