//go:build containers

package containers

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stack is a running deploy/compose, on the development image in the place of vitess/vttestserver.
type stack struct{ command, environment []string }

// compose runs a command of Compose, which is a part of the engine or a program of its own.
func (s stack) compose(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.Command(s.command[0], append(append(s.command[1:], "--project-name", "temporal-vitess-test", "--file", "../compose/compose.yaml"), arguments...)...)
	command.Env = append(os.Environ(), s.environment...)
	out, err := run(command)
	require.NoError(t, err)
	return strings.TrimSpace(out)
}

// container returns the container of a service, also one that has ended.
func (s stack) container(t *testing.T, service string) string {
	t.Helper()
	return s.compose(t, "ps", "--all", "--quiet", service)
}

// up starts what is not up, and returns when namespace default is there.
func (s stack) up(t *testing.T) {
	t.Helper()
	s.compose(t, "up", "--detach", "namespace") // and what it depends on, so all but the web UI: its image would have to be pulled
	require.Eventually(t, func() bool {
		return inspect[string](t, s.container(t, "namespace"), "{{json .State.Status}}") == "exited"
	}, patience, 200*time.Millisecond)
	require.Zero(t, inspect[int](t, s.container(t, "namespace"), "{{json .State.ExitCode}}"))
}

func TestCompose(t *testing.T) {
	build(t, "build-image.sh", serverImage)
	buildDev(t)
	s := stack{
		command:     []string{engineName(), "compose"},
		environment: []string{"TEMPORAL_IMAGE=" + serverImage, "VITESS_IMAGE=" + devImage, "TEMPORAL_PORT=127.0.0.1:"},
	}
	if exec.Command(engineName(), "compose", "version").Run() != nil {
		s.command = []string{engineName() + "-compose"}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.compose(t, "logs", "--tail", "20"))
		}
		s.compose(t, "down", "--volumes")
	})
	var past history
	round := func() {
		awaitHealthy(t, s.container(t, "vitess"))
		awaitHealthy(t, s.container(t, "temporal"))
		past.round(t, published(t, s.container(t, "temporal"), "7233"))
	}

	s.up(t)
	round()
	for _, service := range []string{"vitess", "temporal"} {
		s.compose(t, "restart", service)
		round()
	}
	// An upgrade: other containers on the same volume, and the one-shot services once more.
	s.compose(t, "down")
	s.up(t)
	round()
}
