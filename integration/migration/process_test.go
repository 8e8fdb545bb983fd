//go:build migratechecks

// `make test-migrate` runs these tests, which take 10 minutes and are not among those of `make test`.

package migration

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/internal/migrate"
)

// states are what migrate status says.
func states(t *testing.T, on vitess) []migrate.State {
	t.Helper()
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	require.NoError(t, app.RunContext(t.Context(), arguments(t, on, "migrate", "status", "--output", "json")))
	var status struct{ Moves []migrate.State }
	require.NoError(t, json.Unmarshal(out.Bytes(), &status))
	return status.Moves
}

// asTool makes this program temporal-vitess-tool.
const asTool = "TEMPORAL_VITESS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		os.Exit(command.Run(context.Background(), os.Args, os.Stderr))
	}
	os.Exit(m.Run())
}

// toolProcess is temporal-vitess-tool as a process of its own.
func toolProcess(t *testing.T, on vitess, more ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	process := exec.Command(program, arguments(t, on, more...)[1:]...)
	process.Env = append(os.Environ(), asTool+"=1")
	return process
}
