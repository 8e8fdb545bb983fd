package doctor

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/json2"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

var (
	// reads begins what mysqld may be asked while doctor looks.
	reads = regexp.MustCompile(`(?i)^(/\*.*?\*/\s*)*(select|show|set|use|with|begin|start transaction|commit|rollback)\b`)
	// locksRows ends a SELECT that takes locks.
	locksRows = regexp.MustCompile(`(?i)\bfor (update|share)\b|lock in share mode`)
	// reading begins the keys of vtgate's counters for statements that change neither rows nor VSchema.
	reading = regexp.MustCompile(`^(SELECT|SHOW|SET|USE|VEXPLAIN|EXPLAIN)\.`)
)

// TestDoctorOnlyReads listens to mysqld, and compares what vtgate has counted and what the topology holds.
func TestDoctorOnlyReads(t *testing.T) {
	b := healthy(t)
	before, err := b.Vars(t.Context())
	require.NoError(t, err)
	topology := b.topology(t)
	b.exec(t, "SET GLOBAL log_output = 'TABLE'", "TRUNCATE TABLE mysql.general_log", "SET GLOBAL general_log = ON")
	cfg := b.config()
	cfg.Full = true
	err = doctor.Run(t.Context(), cfg, func(doctor.Finding) {})
	b.exec(t, "SET GLOBAL general_log = OFF", "SET GLOBAL log_output = 'NONE'")
	require.NoError(t, err)

	rows, err := b.mysqld.QueryContext(t.Context(), "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE command_type NOT IN ('Connect', 'Quit')")
	require.NoError(t, err)
	defer rows.Close()
	looked := false
	for rows.Next() {
		var statement string
		require.NoError(t, rows.Scan(&statement))
		statement = strings.TrimSpace(statement)
		looked = looked || strings.Contains(statement, "performance_schema.session_variables")
		if strings.Contains(statement, "_vt.") || statement == "" { // vttablet's own, and pings
			continue
		}
		require.Regexp(t, reads, statement)
		require.NotRegexp(t, locksRows, statement)
	}
	require.NoError(t, rows.Err())
	require.True(t, looked, "the log has nothing of doctor")

	after, err := b.Vars(t.Context())
	require.NoError(t, err)
	require.Greater(t, after.Executions["SHOW.Local"], before.Executions["SHOW.Local"])
	for key, count := range after.Executions {
		if count > before.Executions[key] {
			require.Regexp(t, reading, key)
		}
	}
	require.Equal(t, topology, b.topology(t))
}

// topology is what vtctld says of keyspaces and their VSchemas.
func (b *bed) topology(t *testing.T) string {
	t.Helper()
	vitess, err := live.Open(t.Context(), b.connector(nil), b.VTCtldAddr())
	require.NoError(t, err)
	defer vitess.Close()
	keyspaces, err := vitess.VTCtld.GetKeyspaces(t.Context(), &vtctldatapb.GetKeyspacesRequest{})
	require.NoError(t, err)
	var text strings.Builder
	for _, keyspace := range keyspaces.Keyspaces {
		vschema, err := vitess.VSchema(t.Context(), keyspace.Name)
		require.NoError(t, err)
		data, err := json2.MarshalPB(vschema)
		require.NoError(t, err)
		text.WriteString(keyspace.Name + " " + keyspace.Keyspace.DurabilityPolicy + " " + string(data) + "\n")
	}
	return text.String()
}
