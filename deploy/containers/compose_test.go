//go:build containers

package containers

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stack is a running deploy/compose, on the development image in the place of vitess/vttestserver.
type stack struct{ command, files, environment []string }

// newStack builds the images, and removes the stack after the test.
func newStack(t *testing.T, files ...string) stack {
	t.Helper()
	build(t, "build-image.sh", serverImage)
	buildDev(t)
	s := stack{
		command:     []string{engineName(), "compose"},
		environment: []string{"TEMPORAL_IMAGE=" + serverImage, "VITESS_IMAGE=" + devImage, "TEMPORAL_PORT=127.0.0.1:"},
	}
	if exec.Command(engineName(), "compose", "version").Run() != nil {
		s.command = []string{engineName() + "-compose"}
	}
	for _, file := range files {
		s.files = append(s.files, "--file", "../compose/"+file)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.compose(t, "logs", "--tail", "20"))
		}
		s.compose(t, "down", "--volumes")
	})
	return s
}

// compose runs a command of Compose, which is a part of the engine or a program of its own.
func (s stack) compose(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.Command(s.command[0], slices.Concat(s.command[1:], []string{"--project-name", "temporal-vitess-test"}, s.files, arguments)...)
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
	s := newStack(t, "compose.yaml")
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

func TestComposeOfFourServices(t *testing.T) {
	certificates := t.TempDir()
	_, err := run(exec.Command("../compose/certificates.sh", certificates))
	require.NoError(t, err)
	require.NoError(t, os.Chmod(certificates, 0o755)) // containers have users of their own
	s := newStack(t, "compose.yaml", "services.yaml")
	s.environment = append(s.environment, "CERTIFICATES="+certificates)

	s.up(t)
	past := history{tls: clientTLS(t, certificates)}
	round := func() {
		for _, service := range []string{"temporal", "history", "matching", "worker"} {
			for _, container := range strings.Fields(s.container(t, service)) {
				awaitHealthy(t, container)
			}
		}
		past.round(t, published(t, s.container(t, "temporal"), "7233"))
	}
	round()
	_, err = dial(published(t, s.container(t, "temporal"), "7233"), &tls.Config{RootCAs: past.tls.RootCAs})
	require.Error(t, err, "a client without a certificate")
	for _, service := range []string{"history", "matching"} {
		containers := strings.Fields(s.container(t, service))
		require.Len(t, containers, 2, service)
		engine(t, "restart", "--time", "0", containers[0])
		round()
	}
}

func clientTLS(t *testing.T, certificates string) *tls.Config {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(filepath.Join(certificates, "client.pem"), filepath.Join(certificates, "client.key"))
	require.NoError(t, err)
	authority, err := os.ReadFile(filepath.Join(certificates, "ca.pem"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(authority))
	return &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots}
}
