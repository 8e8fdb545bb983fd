package doctor

import (
	"bytes"
	"encoding/json"
	"net"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
)

// run runs the tool's doctor on a bed.
func (b *bed) run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(b.VTGateAddr())
	require.NoError(t, err)
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	err = app.RunContext(t.Context(), append([]string{
		"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", "temporal", "--vtctld", b.VTCtldAddr(), "doctor",
	}, arguments...))
	return out.String(), err
}

func TestCommandOnAHealthySetUp(t *testing.T) {
	b := healthy(t)
	out, err := b.run(t, "--replicas", "0", "--history-shards", "64", "--vtgate-http", b.HTTPAddr())
	require.NoError(t, err, out)
	require.Contains(t, out, "PASS  isolation: transactions run under READ COMMITTED\n      READ-COMMITTED (temporal/-80, temporal/80-, temporal_global/0, temporal_visibility/-80 and 1 more)\n")
	require.Contains(t, out, ", warned 0, failed 0, could not be seen 0\n")
	require.NotContains(t, out, "Fix: ")
}

func TestCommandOnAFault(t *testing.T) {
	b := meagre(t)
	out, err := b.run(t, "--check", "row-limit", "--check", "tls")
	require.EqualError(t, err, "doctor found what breaks Temporal: row-limit")
	require.Regexp(t, regexp.MustCompile(`(?s)^PASS  tls: .*
FAIL  row-limit: a statement may return the plugin's number of rows
      a statement may return 5000 rows, fewer than the 10000 of vitess_max_rows \(temporal/0, temporal_global/0, temporal_visibility/0\)
      Why: .*
      Fix: .*
      See: https://.*/docs/tool/doctor.md#row-limit

passed 1, warned 0, failed 1, could not be seen 0
$`), out)
}

func TestCommandWritesJSON(t *testing.T) {
	b := meagre(t)
	out, err := b.run(t, "--check", "row-limit", "--output", "json")
	require.EqualError(t, err, "doctor found what breaks Temporal: row-limit")
	var findings []doctor.Finding
	require.NoError(t, json.Unmarshal([]byte(out), &findings))
	require.Len(t, findings, 1)
	require.Equal(t, "row-limit", findings[0].Check)
	require.Equal(t, doctor.Fail, findings[0].Status)
	require.Equal(t, []string{"temporal/0", "temporal_global/0", "temporal_visibility/0"}, findings[0].Found[0].Where)
}

func TestCommandRefusesImpossibleFlags(t *testing.T) {
	b := healthy(t)
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"--output", "yaml"}, `"yaml"`},
		{[]string{"--check", "weather"}, `there is no check "weather"`},
		{[]string{"--services", "0"}, "--services has to be 1 or more"},
		{[]string{"--replicas", "-1"}, "--replicas has to be 0 or more"},
		{[]string{"--history-shards", "-1"}, "--history-shards has to be 0 or more"},
	} {
		_, err := b.run(t, test.arguments...)
		require.ErrorContains(t, err, test.says)
	}
}
