//go:build containers

package containers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds how long a container may take to serve, and to stop.
const patience = 2 * time.Minute

func engineName() string { return cmp.Or(os.Getenv("ENGINE"), "docker") }

// engine runs the engine's command, which must succeed, and returns its standard output.
func engine(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := run(exec.Command(engineName(), arguments...))
	require.NoError(t, err, "%s %s", engineName(), strings.Join(arguments, " "))
	return strings.TrimSpace(out)
}

// run returns standard output; the error has what went to standard error.
func run(command *exec.Cmd) (string, error) {
	var out, log bytes.Buffer
	command.Stdout, command.Stderr = &out, &log
	err := command.Run()
	if err != nil {
		return out.String(), &failure{err, log.String()}
	}
	return out.String(), nil
}

type failure struct {
	error
	log string
}

func (f *failure) Error() string { return f.error.Error() + "\n" + f.log }

// build runs a script that builds an image, and returns the image's ID.
func build(t *testing.T, script, tag string, environment ...string) string {
	t.Helper()
	command := exec.Command("../../scripts/"+script, tag)
	command.Env = append(os.Environ(), environment...)
	out, err := run(command)
	require.NoError(t, err)
	t.Log(out)
	return inspect[string](t, tag, "{{json .Id}}")
}

// inspect returns what the engine says of an image or a container.
func inspect[T any](t *testing.T, object, format string) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal([]byte(engine(t, "inspect", "--format", format, object)), &value))
	return value
}

// start runs a container in the background, and removes it with its volumes after the test.
func start(t *testing.T, arguments ...string) string {
	t.Helper()
	container := engine(t, append([]string{"run", "--detach"}, arguments...)...)
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := exec.Command(engineName(), "logs", "--tail", "40", container).CombinedOutput()
			t.Logf("its last words:\n%s", logs)
		}
		engine(t, "rm", "--force", "--volumes", container)
	})
	return container
}

// awaitHealthy returns when the image's own health check passes.
func awaitHealthy(t *testing.T, container string) {
	t.Helper()
	type state struct {
		Status string
		Health *struct{ Status string }
	}
	require.Eventually(t, func() bool {
		now := inspect[state](t, container, "{{json .State}}")
		require.Equal(t, "running", now.Status)
		require.NotNil(t, now.Health, "the image has no health check")
		return now.Health.Status == "healthy"
	}, patience, 200*time.Millisecond)
}
