package doctor

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
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
	main := &home{name: "temporal", vitessShards: []string{"-80", "80-"}}
	const good = "vtgate holds a statement for 8s at most, and those of a Vitess shard that fails over for 10s"
	for _, test := range []struct {
		commandLine string
		status      Status
		says        string
	}{
		{"vtgate --cell a", Warn, "no --enable-buffer"},
		{"vtgate --enable-buffer --enable-buffer=false", Warn, "no --enable-buffer"},
		{"vtgate --enable-buffer-dry-run", Warn, "no --enable-buffer"},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=10s", Pass, good},
		{"vtgate --cell a --enable-buffer --no-scatter -v 2 --buffer-window 8s --buffer-max-failover-duration 10s --log-format text", Pass, good},
		{"vtgate -enable_buffer=true -buffer_window 8s --buffer_max_failover_duration=10s", Pass, good},
		{"vtgate --enable-buffer", Warn, "--buffer-window is 10s"},
		{"vtgate --enable-buffer --buffer-window=9s", Warn, "--buffer-max-failover-duration is 20s"},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=8s --buffer-min-time-between-failovers=5s", Warn, "--buffer-min-time-between-failovers is 5s"},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=8s --buffer-size=119", Warn, "--buffer-size is 119, fewer than Temporal's 120 connections"},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=8s --buffer-keyspace-shards=temporal/80-,other", Warn, "leaves it out"},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=10s --buffer-keyspace-shards=temporal/80-,temporal/-80", Pass, good},
		{"vtgate --enable-buffer --buffer-window=8s --buffer-max-failover-duration=10s --buffer-keyspace-shards=temporal", Pass, good},
	} {
		b, err := readBuffering(strings.Fields(test.commandLine))
		require.NoError(t, err, test.commandLine)
		seen := newObservations()
		b.judge([]*home{main}, 120, seen)
		found := seen.merged()
		require.Equal(t, test.status, found[0].Status, test.commandLine)
		require.Contains(t, found[0].Text, test.says, test.commandLine)
	}
	_, err := readBuffering([]string{"vtgate", "--buffer-window=soon"})
	require.ErrorContains(t, err, "buffer-window")
}

// The operator sorts its flags together with those of deploy/vitess-operator, as both spell them.
func TestTheOperatorsVTGatesBuffer(t *testing.T) {
	for _, size := range []string{"small", "medium", "large"} {
		file, err := os.ReadFile("../../../deploy/vitess-operator/" + size + ".yaml")
		require.NoError(t, err)
		var cluster struct {
			Spec struct {
				Cells []struct {
					Gateway struct {
						ExtraFlags map[string]string `yaml:"extraFlags"`
					}
				}
			}
		}
		require.NoError(t, yaml.Unmarshal(file, &cluster))
		require.NotEmpty(t, cluster.Spec.Cells)
		for _, cell := range cluster.Spec.Cells {
			// What vitess-operator 2.17 sets (pkg/operator/vtgate/deployment.go).
			flags := map[string]string{
				"enable_buffer": "true", "buffer_min_time_between_failovers": "20s", "buffer_max_failover_duration": "10s", "buffer_size": "1000",
			}
			maps.Copy(flags, cell.Gateway.ExtraFlags)
			commandLine := []string{"vtgate"}
			for _, name := range slices.Sorted(maps.Keys(flags)) {
				commandLine = append(commandLine, "--"+name+"="+flags[name])
			}
			b, err := readBuffering(commandLine)
			require.NoError(t, err)
			seen := newObservations()
			b.judge(nil, 960, seen) // of the large size
			require.Equal(t, []Observation{{Status: Pass, Text: "vtgate holds a statement for 8s at most, and those of a Vitess shard that fails over for 10s"}}, seen.merged(), size)
		}
	}
}

func TestAPlaceIsNamedOnce(t *testing.T) {
	main, err := expectedStructure(vschema.Main)
	require.NoError(t, err)
	require.Equal(t, []index{
		{name: primaryKey, unique: true, columns: []string{"id", "shard_id"}},
		{name: "id", columns: upstreamKey},
	}, main[bufferedEvents].keys, "each once")

	seen := newObservations()
	for range 2 {
		seen.at("temporal/-80").fail("a key is missing")
	}
	seen.at("temporal/80-").fail("a key is missing")
	require.Equal(t, []Observation{{Status: Fail, Text: "a key is missing", Where: []string{"temporal/-80", "temporal/80-"}}}, seen.merged())
}

// What the other values of sql_mode change, no statement of Temporal's has: PIPES_AS_CONCAT (||), ANSI_QUOTES (strings in
// double quotes), REAL_AS_FLOAT, IGNORE_SPACE (a function's name and a space).
func TestStatementsDoWithoutWhatSQLModesChange(t *testing.T) {
	keyspaces := map[vschema.Role]string{vschema.Main: "main", vschema.Global: "global", vschema.Visibility: "visibility"}
	changed := regexp.MustCompile(`(?i)\|\||"|\breal\b|\b(count|max|cast|coalesce|now|json_\w+|utc_timestamp) \(`)
	for _, profile := range vschema.Profiles() {
		calls, err := inventory.Of(keyspaces, profile)
		require.NoError(t, err)
		for _, call := range calls {
			for _, statement := range call.Statements {
				require.NotRegexp(t, changed, statement.SQL, call.Name)
			}
		}
	}
}
